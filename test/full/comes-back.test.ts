import { expect } from 'chai';
import { fromMilliseconds } from '../../device/fs/clock.ts';
import { loadCodec, MemoryFileSystem, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { ensureUserland } from '../../guest-images/userland.ts';
import { Vm, VmError } from '../../harness/index.ts';
import { PANIC } from '../support/panic.ts';

const WEEK = 7 * 24 * 60 * 60 * 1000;
const ROOT = '/mnt/debian';
/** Sources on the share, objects in the guest's memory. */
const MAKEFILE =
  'OUT = /dev/shm/out\nall: $(OUT)/prog\n$(OUT)/prog: a.c b.h | $(OUT)\n\tcat a.c b.h > $@\n$(OUT):\n\tmkdir -p $@\n';

describe('make, across a week in which the guest was frozen', function () {
  this.timeout(600_000);
  let snapshots: SnapshotStore;
  let base: string;
  let vm: Vm | undefined;

  async function make(machine: Vm, before = 'true'): Promise<string> {
    const script = `export PATH=/usr/bin:/bin LC_ALL=C; cd /work; ${before}; make 2>&1`;
    const { stdout, stderr, code } = await machine.exec(['chroot', ROOT, '/bin/sh', '-c', script]);
    expect(code, stdout + stderr).to.equal(0);
    return stdout;
  }

  before(async () => {
    const aWeekAgo = () => Date.now() - WEEK;
    const filesystem = new MemoryFileSystem({ clock: () => fromMilliseconds(aWeekAgo()) });
    vm = await Vm.boot({
      shares: [{ tag: 'debian', source: await ensureUserland(['make']), filesystem }],
      clock: aWeekAgo,
    });
    await vm.mount('debian');
    await vm.exec(
      `cd ${ROOT} && mkdir -p dev work && mount -o bind /dev dev && mkdir -p dev/shm && mount -o bind /dev/shm dev/shm && cd work && cat > Makefile && echo 1 > a.c && echo 1 > b.h`,
      { stdin: MAKEFILE },
    );
    expect(await make(vm)).to.match(/^mkdir .*\ncat .*\n$/);
    expect(await make(vm)).to.contain('Nothing to be done');
    snapshots = await SnapshotStore.open(new MemoryStore(), loadCodec());
    base = (await vm.freeze(snapshots)).id;
    await vm.stop();
  });
  afterEach(() => vm?.stop());

  it('builds what has changed since, once, and complains of nothing', async () => {
    vm = await Vm.thaw(snapshots, base);
    expect(await make(vm)).to.equal("make: Nothing to be done for 'all'.\n");
    for (const change of [
      async (machine: Vm) => make(machine, 'echo 2 > a.c'),
      async (machine: Vm) => {
        machine.share().fs.writeFileSync('/work/b.h', '2\n');
        return make(machine, 'sleep 2');
      },
    ]) {
      expect(await change(vm)).to.match(/^cat .*\n$/);
      expect(await make(vm)).to.equal("make: Nothing to be done for 'all'.\n");
    }
  });

  it('would build again and again with the clock kept', async () => {
    vm = await Vm.thaw(snapshots, base, { clock: 'keep' });
    for (const before of ['echo 2 > a.c', 'true'])
      expect(await make(vm, before))
        .to.match(/cat /)
        .and.to.match(/Clock skew detected/);
  });
});

describe('a guest that ends while it boots', function () {
  this.timeout(600_000);

  for (const [name, cmdline, kind] of [
    ['without init', 'rdinit=/no/such root=/dev/nothing', 'crashed'],
    ['with an init that fails', 'rdinit=/bin/false', 'crashed'],
    ['with one that halts', 'rdinit=/sbin/halt -- -f', 'halted'],
    ['with one that turns the power off', 'rdinit=/sbin/poweroff -- -f', 'halted'],
    ['with one that reboots', 'rdinit=/sbin/reboot -- -f', 'rebooted'],
  ] as const) {
    for (const bootMethod of ['direct', 'bios'] as const) {
      it(`is told of, ${name}, on the ${bootMethod} road`, async () => {
        const error = await Vm.boot({ cmdline, bootMethod, cache: false }).then(
          async (vm) => vm.stop(),
          (caught: Error) => caught,
        );
        expect(error).to.be.instanceOf(VmError).with.property('kind', kind);
      });
    }
  }
});

describe('a guest with ACPI', function () {
  this.timeout(600_000);

  for (const [command, kind] of [
    ['poweroff -f', 'halted'],
    ['poweroff', 'halted'],
    ['halt -f', 'halted'],
    ['reboot -f', 'rebooted'],
    [PANIC, 'crashed'],
  ] as const) {
    it(`is seen to end by ${command}`, async () => {
      const vm = await Vm.boot({ acpi: true });
      try {
        const error = await vm
          .exec(command)
          .then(
            () => vm.exec('sleep 1000'),
            (caught: Error) => caught,
          )
          .catch((caught: Error) => caught);
        expect(error).to.be.instanceOf(VmError).with.property('kind', kind);
      } finally {
        await vm.stop();
      }
    });
  }
});
