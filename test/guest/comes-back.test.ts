import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import { loadCodec, MemoryStore, makeToken, type PortLike, portChannel, SnapshotStore } from '../../device/index.ts';
import { Vm, type VmOptions, VmPool, writeSnapshot } from '../../harness/index.ts';
import { runShell } from '../support/guest.ts';

const WEEK = 7 * 24 * 60 * 60 * 1000;
const HOUR = 60 * 60 * 1000;
const aWeekAgo = () => Date.now() - WEEK;
/** Milliseconds that a loaded machine may take between two instructions of which one reads the guest's clock and the other tells it. */
const SLACK = 250;
const TOKEN = makeToken();

/** Milliseconds since 1970. */
async function guestTime(vm: Vm): Promise<number> {
  const lines = await runShell(vm, 'busybox adjtimex');
  const [, seconds] = /tv_sec: *(\d+)/.exec(lines)!;
  const [, micros] = /tv_usec: *(\d+)/.exec(lines)!;
  return Number(seconds) * 1000 + Number(micros) / 1000;
}

async function expectTime(vm: Vm, clock: () => number): Promise<void> {
  const before = clock();
  const told = await guestTime(vm);
  expect(told, 'the guest’s clock').to.be.within(before - SLACK, clock() + SLACK);
  const rtc = 1000 * Number(await runShell(vm, 'cat /sys/class/rtc/rtc0/since_epoch'));
  expect(rtc, 'the real-time clock').to.be.within(before - 1000, clock() + 1000);
}

/** What the guest's kernel draws. */
const draw = (vm: Vm) => runShell(vm, 'cat /proc/sys/kernel/random/uuid; head -c 64 /dev/urandom | md5sum');

describe('a guest that comes back', () => {
  const store = new MemoryStore();
  let snapshots: SnapshotStore;
  let base: string;
  let saved: Awaited<ReturnType<Vm['save']>>;
  let directory: string;
  const made: Vm[] = [];
  const keep = (vm: Vm) => (made.push(vm), vm);

  before(async function () {
    this.timeout(300_000);
    directory = await mkdtemp(join(tmpdir(), 'comes-back-'));
    snapshots = await SnapshotStore.open(store, loadCodec());
    const vm = await Vm.boot({ shares: [{ tag: 'share' }], clock: aWeekAgo });
    await vm.mount('share');
    await expectTime(vm, aWeekAgo);
    await vm.exec('cut -d. -f1 /proc/uptime > /tmp/uptime; (sleep 2; date +%s > /tmp/woken) &');
    base = (await vm.freeze(snapshots, 'base')).id;
    saved = await vm.save();
    await writeSnapshot(join(directory, 'saved'), saved);
    await vm.stop();
  });
  afterEach(() => Promise.all(made.splice(0).map((vm) => vm.stop())));
  after(() => rm(directory, { recursive: true }));

  const ways: Record<string, (options: VmOptions) => Promise<Vm>> = {
    'as a new machine from a store': (options) => Vm.thaw(snapshots, base, options),
    'to an earlier moment, in place': async (options) => {
      const vm = keep(await Vm.thaw(snapshots, base, options));
      await draw(vm);
      await vm.thaw(snapshots, base);
      return vm;
    },
    'from a file': (options) => Vm.restore(join(directory, 'saved'), options),
    'from a whole snapshot, in place': async (options) => {
      const vm = keep(await Vm.thaw(snapshots, base, options));
      await vm.restore(saved);
      return vm;
    },
    'from a pool': async (options) => {
      const pool = new VmPool(snapshots, base, options);
      try {
        return keep(await pool.take());
      } finally {
        await pool.close();
      }
    },
    'by migration': async (options) => {
      const { port1, port2 } = new MessageChannel();
      const source = keep(await Vm.thaw(snapshots, base, { clock: 'keep', reseed: false }));
      const served = Vm.takeOver(TOKEN, options).serve(portChannel(port2 as unknown as PortLike));
      await source.migrate(portChannel(port1 as unknown as PortLike), { token: TOKEN });
      port1.close();
      return (await served)!.vm;
    },
    'from the cache of booted machines': (options) => Vm.boot(options),
  };

  for (const [name, comeBack] of Object.entries(ways)) {
    describe(name, () => {
      it('has the time of now, and random numbers of its own', async () => {
        const drawn: string[] = [];
        for (let n = 0; n < 2; n++) {
          const vm = keep(await comeBack({}));
          drawn.push(await draw(vm));
          await expectTime(vm, Date.now);
        }
        expect(drawn[0]).not.to.equal(drawn[1]);
      }).timeout(120_000);

      it('can be told the time', async () => {
        const vm = keep(await comeBack({ clock: () => Date.now() + WEEK }));
        await expectTime(vm, () => Date.now() + WEEK);
      }).timeout(120_000);

      if (name.includes('cache')) return;
      it('can keep its clocks', async () => {
        const vm = keep(await comeBack({ clock: 'keep' }));
        expect(await guestTime(vm)).to.be.within(Date.now() - WEEK - HOUR, Date.now() - WEEK + SLACK);
        expect(1000 * Number(await runShell(vm, 'cat /sys/class/rtc/rtc0/since_epoch'))).to.be.within(
          Date.now() - WEEK - HOUR,
          Date.now() - WEEK + 1000,
        );
      }).timeout(120_000);
    });
  }

  it('draws what another one from that moment has drawn, when it is asked not to be reseeded @long', async () => {
    // The kernel mixes in something new by itself: every second after a boot, and the longer it runs, the less often.
    const source = await Vm.thaw(snapshots, base);
    let areSame = false;
    try {
      for (let n = 0; n < 8 && !areSame; n++) {
        await draw(source);
        const { id } = await source.freeze(snapshots, 'moment');
        const drawn: string[] = [];
        for (let copy = 0; copy < 2; copy++) {
          const vm = await Vm.thaw(snapshots, id, { reseed: false });
          drawn.push(await draw(vm));
          await vm.stop();
        }
        areSame = drawn[0] === drawn[1];
      }
    } finally {
      await source.stop();
    }
    expect(areSame).to.equal(true);
  }).timeout(120_000);

  it('goes on with CLOCK_MONOTONIC, and with sleeps that are under way', async () => {
    const vm = keep(await Vm.thaw(snapshots, base));
    const uptime = Number(
      await runShell(vm, 'while [ ! -s /tmp/woken ]; do sleep 0.1; done; cut -d. -f1 /proc/uptime'),
    );
    expect(uptime).to.be.within(
      Number(await runShell(vm, 'cat /tmp/uptime')),
      Number(await runShell(vm, 'cat /tmp/uptime')) + HOUR / 1000,
    );
    expect(1000 * Number(await runShell(vm, 'cat /tmp/woken'))).to.be.within(Date.now() - HOUR, Date.now() + SLACK);
  }).timeout(120_000);

  for (const [clock, isRight] of [
    ['host', true],
    ['keep', false],
  ] as const) {
    it(`${isRight ? 'builds what has changed' : 'would build it each time with its clock kept'}: files of the share and its own have comparable times`, async () => {
      const vm = keep(await Vm.thaw(snapshots, base, { clock }));
      const build =
        'if [ ! -e /tmp/object ] || [ source -nt /tmp/object ]; then cp source /tmp/object; echo built; else echo up to date; fi';
      await runShell(vm, 'echo 1 > source; sleep 1');
      expect(await runShell(vm, build)).to.equal('built\n');
      expect(await runShell(vm, build)).to.equal(isRight ? 'up to date\n' : 'built\n');
      // This shell compares seconds.
      await runShell(vm, 'sleep 1');
      vm.share().fs.writeFileSync('/source', '2');
      await runShell(vm, 'sleep 2');
      expect(await runShell(vm, `cat source > /dev/null; ${build}`)).to.equal('built\n');
      expect(await runShell(vm, build)).to.equal(isRight ? 'up to date\n' : 'built\n');
    }).timeout(120_000);
  }
});
