import { expect } from 'chai';
import type { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { Vm } from '../../harness/node/vm.ts';
import { contend, Lines, SuspendMachine, type Waker } from './suspend-machine.ts';

const ENOTCONN = 'Transport endpoint is not connected';
const DISK_SIZE = 128 << 20;

describe('suspend-to-idle', function () {
  this.timeout(600_000);
  let machine: SuspendMachine;
  before(async () => {
    machine = await SuspendMachine.mounted({ acpi: true, share: { locks: 'shared' } });
    await machine.sh('echo enabled > /sys/class/tty/ttyS0/power/wakeup; echo none > /sys/power/pm_test; dmesg -n 7');
  });
  after(() => machine?.stop());

  for (const waker of ['serial', 'keyboard'] satisfies Waker[]) {
    it(`lasts until the ${waker} wakes the guest, with files open and locks held and waited for`, async () => {
      const [holder, waiter] = await contend(machine, 'posix');
      const { resets } = machine;
      const from = machine.console.length;
      const asleep = machine.run(
        `exec 5<> ${waker}; echo before >&5; rm ${waker}; echo freeze > /sys/power/state && echo after >&5 && cat /proc/self/fd/5`,
      );
      await machine.says('remaining freezable tasks completed', from);
      await machine.untilReset(resets);
      expect(machine.device.session.number).not.to.equal(0);
      await machine.untilIdle();
      // A key on the way to sleep wakes nobody, so more of them follow.
      const knocking = setInterval(() => machine.wake(waker), 500);
      try {
        expect(await asleep).to.deep.include({ code: 0, stdout: 'before\nafter\n' });
      } finally {
        clearInterval(knocking);
      }
      await machine.untilWaiting(1);
      await holder.process.write('\n');
      await waiter.until('locked');
      await waiter.process.write('\n');
      expect(await waiter.process.exited).to.equal(0);
    });
  }
});

for (const driver of ['stock', 'fast'] as const) {
  describe(`suspend-to-idle with the ${driver} driver on Linux 6.12`, function () {
    this.timeout(1_200_000);

    it('needs no reset, by No_Soft_Reset of the PCI power management, and keeps files open and locks held and waited for', async () => {
      const vm = await Vm.boot({ kernel: 'minimal', driver, acpi: true, shares: [{ tag: 'share', locks: 'shared' }] });
      try {
        await vm.mount('share');
        const { device } = vm.share();
        const resets: string[] = [];
        device.transport.onTrace(({ type }) => {
          if (type === 'reset') resets.push(type);
        });
        const lock = () => vm.spawn(['locker', 'posix', '/mnt/share/lock', 'wait']);
        const holder = lock();
        await new Lines(holder).until('locked');
        const waiter = lock();
        await vm.exec(
          'echo kept > /mnt/share/f; exec 5</mnt/share/f; rm /mnt/share/f; (sleep 5; cat <&5 > /mnt/share/g) > /dev/null 2>&1 &',
        );
        const { fs } = vm.share();
        const writeAll = (text: string) => {
          for (let n = 0; n < 100; n++) fs.writeFileSync(`/told-${n}`, `${text}\n`);
        };
        const readAll = async () => (await vm.exec('cat /mnt/share/told-* | sort -u')).stdout;
        writeAll('old');
        expect(await readAll()).to.equal('old\n');
        await vm.suspend();
        // More than there is room for. The stock driver is not told.
        if (driver === 'fast') writeAll('new');
        await vm.wake();
        expect(await readAll()).to.equal(driver === 'fast' ? 'new\n' : 'old\n');
        expect(
          (
            await vm.exec(
              'until [ -s /mnt/share/g ]; do sleep 0.1; done; cat /mnt/share/g; dmesg | grep -c "PM: suspend exit"',
            )
          ).stdout,
        ).to.equal('kept\n1\n');
        expect(resets).to.deep.equal([]);
        await vm.agent.attach(holder.id).write('\n');
        await new Lines(vm.agent.attach(waiter.id)).until('locked');
        const awake = await vm.save();
        await vm.suspend();
        await vm.restore(awake);
        expect((await vm.exec('cat /mnt/share/g')).stdout).to.equal('kept\n');
      } finally {
        await vm.stop();
      }
    });
  });
}

describe('hibernation in one emulator, and resume in another', function () {
  this.timeout(600_000);

  it('goes on with open and unlinked files, half-read directories, and locks held and waited for', async () => {
    const first = await bootWithDisk();
    await first.sh(
      'dd if=/dev/urandom of=book bs=64k count=4 2>/dev/null; mkdir chapters; for i in $(seq 60); do echo $i > chapters/$i; done',
    );
    const undisturbed = first.spawn(['holder', '/mnt/share']);
    await undisturbed.until('ready');
    await undisturbed.process.write('go on\n');
    await undisturbed.until('done');

    const holder = first.spawn(['holder', '/mnt/share']);
    await holder.until('ready');
    const contenders = await contend(first, 'flock');
    const second = await hibernate(first);
    try {
      await resume(second);
      const [again, locked, waiting] = [holder, ...contenders].map(
        ({ process }) => new Lines(second.agent.attach(process.id)),
      );
      await again!.process.write('go on\n');
      await again!.until('done');
      expect([...holder.lines, ...again!.lines]).to.deep.equal(undisturbed.lines);
      await second.untilWaiting(1);
      await locked!.process.write('\n');
      await waiting!.until('locked');
      await second.sh('echo on > and && grep -q on and');
    } finally {
      await second.stop();
    }
  });

  it('believes nothing that it was told before', async () => {
    const first = await bootWithDisk();
    await first.sh(
      'echo old > changed; echo old > removed; cat changed removed > /dev/null; ls missing 2> /dev/null || true',
    );
    const second = await hibernate(first);
    try {
      const { volume } = second.device;
      volume.writeFileSync('/changed', 'new\n');
      volume.rmSync('/removed');
      volume.writeFileSync('/missing', 'here\n');
      await resume(second);
      expect((await second.run('cat changed removed missing')).stdout).to.equal('new\nhere\n');
    } finally {
      await second.stop();
    }
  });

  it('gives the filesystem up when it was mounted in between: ENOTCONN, and it can be mounted again', async () => {
    const first = await bootWithDisk();
    await first.sh('echo content > file');
    const second = await hibernate(first);
    try {
      await second.sh(
        'mkdir -p /mnt/share && mount -t virtiofs share /mnt/share && cat /mnt/share/file && umount /mnt/share',
        '/',
      );
      await resume(second);
      expect((await second.run('cat /mnt/share/file', '/')).stderr).to.include(ENOTCONN);
      expect(
        await second.sh('umount /mnt/share && mount -t virtiofs share /mnt/share && cat /mnt/share/file', '/'),
      ).to.equal('content\n');
    } finally {
      await second.stop();
    }
  });
});

async function bootWithDisk(): Promise<SuspendMachine> {
  const machine = await SuspendMachine.mounted({ disk: new ArrayBuffer(DISK_SIZE), share: { locks: 'shared' } });
  await machine.loadDiskDrivers();
  await machine.sh(
    'dmesg -n 7; mkswap /dev/sda >/dev/null && swapon /dev/sda && echo 8:0 > /sys/power/resume && echo shutdown > /sys/power/disk',
    '/',
  );
  return machine;
}

/** Hibernates `machine`, boots another one with its disk, filesystem and session, and ends the first, which would give up what its guest holds before. */
async function hibernate(machine: SuspendMachine): Promise<SuspendMachine> {
  const from = machine.console.length;
  const { stderr, code } = await Promise.race([
    machine.run('echo disk > /sys/power/state', '/'),
    machine.says('System halted', from).then(() => ({ stderr: '', code: 0 })),
  ]);
  expect(code, stderr + machine.console.slice(from)).to.equal(0);
  const {
    disk,
    device: { filesystem, session },
  } = machine;
  const state = session.state();
  try {
    return await SuspendMachine.boot({
      disk,
      share: { locks: 'shared', filesystem },
      prepare: (device) =>
        device.session.restore(FuseSession.checkState(state, filesystem as MemoryFileSystem), () => undefined),
    });
  } finally {
    await machine.stop();
  }
}

async function resume(machine: SuspendMachine): Promise<void> {
  await machine.loadDiskDrivers();
  await machine.sh('dmesg -n 7', '/');
  const from = machine.console.length;
  // When this ends, the guest that began it is no more.
  machine.agent.exec('echo 8:0 > /sys/power/resume; echo no image > /dev/ttyS0').catch(() => {});
  await Promise.race([
    machine.says('hibernation exit', from),
    machine.says('no image', from).then(() => Promise.reject(new Error(machine.console.slice(from)))),
  ]);
  await machine.agent.ready();
}
