import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Lines } from '../../harness/node/demo/lines.ts';
import { Vm } from '../../harness/node/vm.ts';
import { useGuest } from '../support/guest.ts';
import { freezeUnderLoad } from '../support/load.ts';

describe('freeze and restore of a guest at work', function () {
  this.timeout(240_000);

  for (const packed of [false, true]) {
    it(`loses nothing and does nothing twice, ${packed ? 'packed ring @long' : 'split ring'}`, () =>
      freezeUnderLoad({ share: { offer: { packed } }, rounds: 12, seed: 1 }));
  }

  it('does neither with one request in each turn of the event loop @long', () =>
    freezeUnderLoad({ share: { turnBudget: 0 }, rounds: 8, seed: 2 }));

  describe('locks of mode `shared`', () => {
    const guest = useGuest({ shares: [{ tag: 'share', locks: 'shared' }] });

    for (const kind of ['posix', 'ofd', 'flock']) {
      it(`a ${kind} lock stays, and who waits for it gets it after the restore`, async () => {
        const { vm, sh } = guest;
        const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
        await sh('touch locked');
        const holder = vm.spawn(['locker', kind, '/mnt/share/locked', 'wait']);
        await new Lines(holder).until('locked');
        const waiter = vm.spawn(['locker', kind, '/mnt/share/locked', 'wait']);
        while (!vm.share().device.session.state().waiters.length)
          await new Promise((resolve) => setTimeout(resolve, 20));
        const { id } = await vm.freeze(store);

        // Configured differently: what was negotiated holds.
        const other = await Vm.thaw(store, id, {
          shares: [{ tag: 'share', locks: 'guest', cache: 'never', maxWrite: 65536 }],
        });
        try {
          expect((await other.exec(['locker', kind, '/mnt/share/locked', 'try'])).stdout).to.match(/^failed/);
          const waiting = other.agent.attach(waiter.id);
          const lines = new Lines(waiting);
          await other.agent.attach(holder.id).write('\n');
          await lines.until('locked');
          expect(other.share().device.session.state().waiters).to.deep.equal([]);
          await waiting.write('\n');
          expect(await waiting.exited).to.equal(0);
          expect((await other.exec(['locker', kind, '/mnt/share/locked', 'try'], { stdin: '\n' })).stdout).to.match(
            /^locked/,
          );
        } finally {
          await other.stop();
        }
        await vm.thaw(store, id);
        const waiting = vm.agent.attach(waiter.id);
        const lines = new Lines(waiting);
        await vm.agent.attach(holder.id).write('\n');
        await lines.until('locked');
        await waiting.write('\n');
        expect(await waiting.exited).to.equal(0);
      });
    }
  });

  describe('the CPU’s registers in flight, from one new machine to the next', () => {
    interface Registers {
      /** Compiled code is left at few points; interpreted code at each jump. */
      set_jit_config(index: 0, isDisabled: 1): void;
      instruction_pointer: Int32Array;
      flags_changed: Int32Array;
      fpu_status_word: Uint16Array;
      mxcsr: Int32Array;
    }
    const ALL_BY_ADDITION = 0x8d5;
    const MAX_PROGRAMS = 20;
    /** `place`: where the program is while it leaves its registers alone. */
    const moments: { name: string; isNow: (cpu: Registers, place: number) => boolean }[] = [
      {
        name: 'arithmetic flags that v86 has not worked out yet @long',
        isNow: ({ instruction_pointer, flags_changed }, place) =>
          instruction_pointer[0] === place && flags_changed[0] === ALL_BY_ADDITION,
      },
      { name: 'the x87’s status word', isNow: ({ fpu_status_word }) => fpu_status_word[0] !== 0 },
      { name: 'a rounding mode of SSE @long', isNow: ({ mxcsr }) => mxcsr[0] === 0x7f80 },
    ];
    const cpuOf = ({ emulator }: Vm) => (emulator as unknown as { v86: { cpu: Registers } }).v86.cpu;

    /** The machine goes on in a new one, without compiled code. */
    async function goOnIn(store: SnapshotStore, vm: Vm): Promise<Vm> {
      const { id } = await vm.freeze(store);
      await vm.stop();
      const next = await Vm.prepare(store, id);
      cpuOf(next).set_jit_config(0, 1);
      await next.start();
      return next;
    }

    for (const { name, isNow } of moments) {
      it(name, async () => {
        const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
        let vm = await Vm.boot();
        try {
          const program = ['cpu', '40000'];
          const expected = (await vm.exec(program)).stdout;
          const place = parseInt((await vm.exec(['cpu'])).stdout, 16);
          vm = await goOnIn(store, vm);
          /** Of the machine that there is now. */
          const follow = (id: number) => {
            const running = vm.agent.attach(id);
            const followed = { running, told: '', isOver: false };
            running.onStdout = (data) => void (followed.told += new TextDecoder().decode(data));
            const end = () => void (followed.isOver = true);
            running.exited.then(end, end);
            return followed;
          };
          // On a busy machine it may come to its end before all these moments were seen: then once more.
          for (let frozen = 0, programs = 0; frozen < 3; programs++) {
            if (programs === MAX_PROGRAMS) throw new Error('there was no such moment');
            const { id } = vm.spawn(program);
            let followed = follow(id);
            while (!followed.isOver) {
              await new Promise((resolve) => setImmediate(resolve));
              if (frozen === 3 || !isNow(cpuOf(vm), place)) continue;
              vm = await goOnIn(store, vm);
              frozen++;
              followed = follow(id);
            }
            expect(await followed.running.exited).to.equal(0);
            expect(followed.told).to.equal(expected);
          }
        } finally {
          await vm.stop();
        }
      });
    }
  });
});
