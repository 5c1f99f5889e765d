import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Lines } from '../../harness/demo/lines.ts';
import { Vm } from '../../harness/vm.ts';
import { useGuest } from '../support/guest.ts';
import { freezeUnderLoad } from '../support/load.ts';

describe('freeze and restore of a guest at work', function () {
  this.timeout(240_000);

  for (const packed of [false, true]) {
    it(`loses nothing and does nothing twice, ${packed ? 'packed' : 'split'} ring`, () => freezeUnderLoad({ share: { offer: { packed } }, rounds: 12, seed: 1 }));
  }

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
        while (!vm.share().device.session.state().waiters.length) await new Promise((resolve) => setTimeout(resolve, 20));
        const { id } = await vm.freeze(store);

        // Configured differently: what was negotiated holds.
        const other = await Vm.thaw(store, id, { shares: [{ tag: 'share', locks: 'guest', cache: 'never', maxWrite: 65536 }] });
        try {
          expect((await other.exec(['locker', kind, '/mnt/share/locked', 'try'])).stdout).to.match(/^failed/);
          const waiting = other.agent.attach(waiter.id);
          const lines = new Lines(waiting);
          await other.agent.attach(holder.id).write('\n');
          await lines.until('locked');
          expect(other.share().device.session.state().waiters).to.deep.equal([]);
          await waiting.write('\n');
          expect(await waiting.exited).to.equal(0);
          expect((await other.exec(['locker', kind, '/mnt/share/locked', 'try'], { stdin: '\n' })).stdout).to.match(/^locked/);
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

  it('the CPU’s floating point and flags in flight', async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    try {
      const program = 'BEGIN { x = 0.3; for (n = 0; n < 150000; n++) { x = 3.9 * x * (1 - x); if (x > 0.5) y += x * x; else y -= x / 3 } printf "%.15g %.15g\\n", x, y }';
      const expected = (await vm.exec(['awk', program])).stdout;
      const running = vm.spawn(['awk', program]);
      for (let round = 0; round < 12; round++) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        await vm.thaw(store, (await vm.freeze(store)).id);
      }
      const again = vm.agent.attach(running.id);
      let told = '';
      again.onStdout = (data) => {
        told += new TextDecoder().decode(data);
      };
      expect(await again.exited).to.equal(0);
      expect(told).to.equal(expected);
    } finally {
      await vm.stop();
    }
  });
});
