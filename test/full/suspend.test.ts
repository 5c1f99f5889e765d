import { expect } from 'chai';
import { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import { VIRTIO_CONFIG_S_DRIVER_OK } from '../../device/virtio/constants.ts';
import { defaultKernel } from '../../harness/node/image.ts';
import { recordedRefusal, recordRefusal } from '../../scripts/record-refusal.ts';
import { lateFileSystem, type Pending } from '../support/late-filesystem.ts';
import { contend, SuspendMachine, type SuspendMachineOptions } from './suspend-machine.ts';

const SIGINT = 2;
const SIGKILL = 9;
/** VIRTIO_F_RING_PACKED. */
const RING_PACKED = 34;
const LOCKS = ['posix', 'ofd', 'flock'] as const;
/** In the device configuration. */
const SESSION = 44;
const ENOTCONN = 'Transport endpoint is not connected';

/** The virtqueue. */
const NOTIFICATIONS = 1;

const mounted = (options: SuspendMachineOptions = {}) =>
  SuspendMachine.mounted({ kernel: defaultKernel(), ...options });

describe('suspend with the driver of guest-images/driver', function () {
  this.timeout(900_000);

  describe('of a guest at rest', () => {
    let machine: SuspendMachine;
    before(async () => {
      machine = await mounted({ share: { locks: 'shared' } });
    });
    after(() => machine?.stop());

    it('negotiates VIRTIO_FS_F_SESSION_KEEP', async () => {
      expect((await machine.sh('cat /sys/bus/virtio/devices/virtio0/features'))[22]).to.equal('1');
    });

    it('keeps open files and offsets, unlinked files, half-read directories and locks', async () => {
      await machine.sh(
        'dd if=/dev/urandom of=book bs=64k count=4 2>/dev/null; mkdir chapters; for i in $(seq 60); do echo $i > chapters/$i; done',
      );
      const undisturbed = await hold(machine, async () => {});
      const suspended = await hold(machine, async () => {
        expect(await machine.suspend()).to.deep.include({ code: 0 });
      });
      expect(suspended).to.deep.equal(undisturbed);
      expect(suspended.filter((line) => line.startsWith('entry ')).length).to.equal(62);
    });

    it('keeps the working directory, and mapped files', async () => {
      await machine.sh('mkdir -p here && cp /bin/busybox here/busybox');
      const shell = machine.spawn([
        '/mnt/share/here/busybox',
        'sh',
        '-c',
        'cd here; echo started; read line; pwd; ls | wc -l; echo done',
      ]);
      await shell.until('started');
      expect(await machine.suspend()).to.deep.include({ code: 0 });
      await machine.sh('echo 3 > /proc/sys/vm/drop_caches');
      await shell.process.write('\n');
      await shell.until('done');
      expect(shell.lines).to.deep.equal(['started', '/mnt/share/here', '1', 'done']);
    });

    for (const kind of LOCKS) {
      it(`keeps a ${kind} lock, and who waits for it`, async () => {
        const [holder, waiter] = await contend(machine, kind);
        expect(await machine.suspend()).to.deep.include({ code: 0 });
        await machine.untilWaiting(1);
        expect((await machine.run(`locker ${kind} ${kind} try < /dev/null`)).stdout).to.match(/^failed/);
        expect(waiter.lines).to.deep.equal([]);
        await holder.process.write('\n');
        await waiter.until('locked');
        await waiter.process.write('\n');
        expect(await waiter.process.exited).to.equal(0);
      });

      for (const [name, signal] of [
        ['SIGINT', SIGINT],
        ['SIGKILL', SIGKILL],
      ] as const) {
        it(`lets ${name} end who waits for a ${kind} lock`, async () => {
          const [holder, waiter] = await contend(machine, kind);
          waiter.process.kill(signal);
          expect(await waiter.process.exited).to.equal(128 + signal);
          expect(machine.waiting).to.equal(0);
          await holder.process.write('\n');
          expect(await holder.process.exited).to.equal(0);
        });
      }
    }

    it('does what docs/virtio-spec-proposal.md asks of drivers, 18 to 20', async () => {
      const { transport, session } = machine.device;
      const opcodes: string[] = [];
      const resets: number[] = [];
      const afterDriverOk: string[] = [];
      let underWay = 0;
      let isUp = true;
      const endTransport = transport.onTrace((event) => {
        const note = (what: string) => isUp && resets.length && afterDriverOk.push(what);
        if ('queue' in event && event.queue === NOTIFICATIONS) return;
        if (event.type === 'chain') underWay++;
        if (event.type === 'chain') note('request');
        if (event.type === 'used') underWay--;
        if (event.type === 'reset') {
          resets.push(underWay);
          isUp = false;
        }
        if (event.type !== 'register') return;
        if (event.field === 'device_status' && event.access === 'write')
          isUp = (event.value & VIRTIO_CONFIG_S_DRIVER_OK) !== 0;
        if (event.region === 'device' && event.offset === SESSION && event.access === 'read') note('session');
      });
      const end = session.onTrace(({ opcode }) => opcodes.push(opcode));
      try {
        const { accepted } = transport.features;
        expect(await machine.suspend()).to.deep.include({ code: 0 });
        await machine.sh('ls > /dev/null');
        expect(transport.features.accepted, '19: the same features').to.equal(accepted);
        expect(resets, '18: nothing is under way')
          .to.have.length.above(0)
          .and.satisfy((all: number[]) => all.every((count) => count === 0));
        expect(afterDriverOk.slice(0, 2), '19: session is read before the first request').to.deep.equal([
          'session',
          'request',
        ]);
        expect(opcodes, '20').to.not.include('INIT');
      } finally {
        endTransport();
        end();
      }
    });

    it('believes nothing that it was told before: N7', async () => {
      const { volume, session } = machine.device;
      for (let n = 0; n < 100; n++) volume.writeFileSync(`/told-${n}`, 'old\n');
      volume.writeFileSync('/removed', '');
      expect(await machine.sh('cat told-* | sort -u; ls removed; ls missing 2>/dev/null || true')).to.equal(
        'old\nremoved\n',
      );
      const end = machine.device.transport.onTrace(({ type }) => {
        if (type !== 'reset') return;
        // While the driver is not there, and more than would find room.
        for (let n = 0; n < 100; n++) volume.writeFileSync(`/told-${n}`, 'new\n');
        volume.rmSync('/removed', { force: true });
        volume.writeFileSync('/missing', '');
      });
      try {
        expect(await machine.suspend()).to.deep.include({ code: 0 });
      } finally {
        end();
      }
      expect(session.state()).not.to.have.property('notices');
      expect(await machine.sh('cat told-* | sort -u; ls removed 2>/dev/null; ls missing')).to.equal('new\nmissing\n');
      await machine.sh('rm told-* missing');
      volume.writeFileSync('/told-again', 'old\n');
      expect(await machine.sh('cat told-again')).to.equal('old\n');
      volume.writeFileSync('/told-again', 'new\n');
      expect(await machine.sh('cat told-again; rm told-again'), 'and is told again').to.equal('new\n');
    });

    it('suspends again and again', async () => {
      for (let round = 0; round < 5; round++) expect(await machine.suspend()).to.deep.include({ code: 0 });
      await machine.sh('echo still > here/there && grep -q still here/there');
    });
  });

  it('ends its session when it does not need it any more: the proposal, 21', async () => {
    const machine = await mounted();
    try {
      const opcodes: string[] = [];
      machine.device.session.onTrace(({ opcode }) => opcodes.push(opcode));
      await machine.sh('umount /mnt/share', '/');
      expect(opcodes).to.include('DESTROY');
      expect(machine.device.session.number).to.equal(0);
    } finally {
      await machine.stop();
    }
  });

  it('gives up a session that the host has dropped: ENOTCONN, and it can be mounted again', async () => {
    const machine = await mounted({ share: { locks: 'shared' } });
    try {
      const [, waiter] = await contend(machine, 'posix');
      const from = machine.console.length;
      await machine.sh('dmesg -n 7', '/');
      const suspended = machine.suspend(1);
      await machine.says('suspend debug', from);
      machine.device.session.end();
      expect(await suspended).to.deep.include({ code: 0 });
      expect(await waiter.process.exited).not.to.equal(0);
      expect((await machine.run('ls /mnt/share', '/')).stderr).to.include(ENOTCONN);
      await machine.sh(
        'killall locker; umount /mnt/share && mount -t virtiofs share /mnt/share && ls /mnt/share/posix',
        '/',
      );
      expect(await machine.suspend()).to.deep.include({ code: 0 });
      await machine.sh('ls posix');
    } finally {
      await machine.stop();
    }
  });

  it('holds back what the kernel writes while the device is away, and sends it then', async () => {
    const machine = await mounted({ share: { writeback: true } });
    try {
      await machine.sh(
        'echo 0 > /sys/power/sync_on_suspend; for name in /sys/class/bdi/0:*; do echo 100 > $name/max_ratio; echo 50 > $name/min_ratio; done',
      );
      await machine.sh(
        'cd /proc/sys/vm; echo 1000 > dirty_expire_centisecs; echo 50 > dirty_writeback_centisecs; dmesg -n 7',
        '/',
      );
      // Nothing but builtins: the end of a child would close the file, and so write it back.
      const writer = machine.spawn([
        '/bin/sh',
        '-c',
        'echo started; read line; exec > file; for i in 1 2 3 4 5 6 7 8 9; do echo line $i; done; read line',
      ]);
      await writer.until('started');
      let writes = 0;
      machine.device.session.onTrace(({ opcode }) => {
        if (opcode === 'WRITE') writes++;
      });
      const from = machine.console.length;
      await writer.process.write('\n');
      await machine.sh('until [ -s file ]; do :; done');
      // Longer than that, which is longer than it takes to get there.
      const suspended = machine.suspend(15);
      await machine.says('suspend debug', from);
      expect(writes).to.equal(0);
      expect(await suspended).to.deep.include({ code: 0 });
      expect(writes).to.be.above(0);
      expect(machine.device.volume.readFileSync('/file', 'utf8')).to.equal(
        Array.from({ length: 9 }, (_, n) => `line ${n + 1}\n`).join(''),
      );
    } finally {
      await machine.stop();
    }
  });

  for (const [ring, cycles] of [
    ['split', 50],
    ['packed', 10],
  ] as const)
    it(`survives ${cycles} cycles under load, on ${ring} queues of 8, with all data as it was`, async () => {
      const machine = await mounted({
        share: { queueSize: 8, requestQueues: 2, offer: { packed: ring === 'packed' } },
      });
      try {
        expect((await machine.sh('cat /sys/bus/virtio/devices/virtio0/features'))[RING_PACKED]).to.equal(
          ring === 'packed' ? '1' : '0',
        );
        const load = `i=0
while [ ! -e stop ]; do
  dd if=/tmp/data of=w$1.$i bs=$((1000 + $i % 7 * 777)) 2>/dev/null; cmp /tmp/data w$1.$i || echo "differs $i"
  mkdir d$1; echo $i > d$1/f; mv d$1/f d$1/g; read line < d$1/g; [ "$line" = $i ] || echo "wrong $i"; rm -r d$1 w$1.$i; i=$(($i + 1))
done; echo "done $i"`;
        await machine.sh('dd if=/dev/urandom of=/tmp/data bs=50k count=1 2>/dev/null');
        const workers = [1, 2].map((number) => machine.spawn(['/bin/sh', '-c', load, 'sh', String(number)]));
        for (let cycle = 0; cycle < cycles; cycle++)
          expect(await machine.suspend(), `cycle ${cycle}`).to.deep.include({ code: 0 });
        await machine.sh('echo > stop');
        for (const { process, lines } of workers) {
          expect(await process.exited).to.equal(0);
          expect(lines).to.have.length(1);
          expect(Number(/^done (\d+)$/.exec(lines[0]!)?.[1])).to.be.above(0);
        }
        expect(await machine.sh('dmesg | grep -cE "WARNING|BUG|Oops" || true', '/')).to.equal('0\n');
      } finally {
        await machine.stop();
      }
    });

  it('is refused while the device has a READ that nobody waits for any more, and works when that is answered', async () => {
    const files = new MemoryFileSystem();
    let read: Pending | undefined;
    const schedule = (pending: Pending) => {
      if (pending.name === 'read' && !read) read = pending;
      else pending.perform();
    };
    const machine = await mounted({ share: { filesystem: lateFileSystem(files, { schedule }) } });
    try {
      await machine.sh('echo content > file; sync; echo 3 > /proc/sys/vm/drop_caches');
      const reader = machine.spawn(['cat', 'file']);
      while (!read) await new Promise((resolve) => setTimeout(resolve, 10));
      reader.process.kill(SIGKILL);
      expect(await reader.process.exited).to.equal(128 + SIGKILL);
      const { code, stderr } = await machine.suspend();
      expect(code).not.to.equal(0);
      expect(stderr).to.match(/busy/i);
      expect(await machine.sh('dmesg')).to.match(/tag <share>: \S+ is busy/);
      read.perform();
      expect(await machine.suspend()).to.deep.include({ code: 0 });
      expect(await machine.sh('cat file')).to.equal('content\n');
    } finally {
      await machine.stop();
    }
  });

  it('is refused where the device does not offer VIRTIO_FS_F_SESSION_KEEP, unless nothing is mounted', async () => {
    const machine = await mounted({ share: { sessionKeep: false } });
    try {
      await expectNotSupported(machine);
      await machine.sh('umount /mnt/share', '/');
      expect(await machine.suspend()).to.deep.include({ code: 0 });
      await machine.sh('mount -t virtiofs share /mnt/share', '/');
      expect(await machine.sh('cat file')).to.equal('before\n');
    } finally {
      await machine.stop();
    }
  });

  it('is refused by the stock driver, which goes on as before', async () => {
    const machine = await mounted({ driver: 'stock' });
    try {
      await expectNotSupported(machine);
    } finally {
      await machine.stop();
    }
  });
});

describe('the lesson on suspend', function () {
  this.timeout(600_000);

  it('shows what a guest of Linux 6.1 says, whose driver refuses', async () => {
    // Debian mends its kernel now and then.
    const plain = (text: string) => text.replace(/6\.1\.0-\d+-686/, '6.1');
    expect(plain(await recordedRefusal()), 'run `node --import tsx scripts/record-refusal.ts`').to.equal(
      plain(await recordRefusal()),
    );
  });
});

/** Runs the holder, `interrupt`s it in the middle, and returns all that it said. */
async function hold(machine: SuspendMachine, interrupt: () => Promise<void>): Promise<string[]> {
  const holder = machine.spawn(['holder', '/mnt/share']);
  await holder.until('ready');
  await interrupt();
  await holder.process.write('go on\n');
  await holder.until('done');
  return holder.lines;
}

/** Suspend is refused, and the share does what it did before. */
async function expectNotSupported(machine: SuspendMachine): Promise<void> {
  await machine.sh('echo before > file');
  const { code, stderr } = await machine.suspend();
  expect(code).not.to.equal(0);
  expect(stderr).to.match(/not supported/i);
  expect(await machine.sh('cat file')).to.equal('before\n');
}
