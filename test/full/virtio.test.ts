import { expect } from 'chai';
import { VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, VIRTIO_F_RING_PACKED } from '../../device/virtio/constants.ts';
import type { GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { Lines } from '../../harness/node/demo/lines.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { runShell } from '../support/guest.ts';

const MOUNT = '/mnt/share';

/** Boots a machine with one share, mounted, and stops it in the end. */
async function withGuest(share: Omit<ShareOptions, 'tag'>, use: (vm: Vm) => Promise<void>): Promise<void> {
  const vm = await Vm.boot({ shares: [{ tag: 'share', ...share }] });
  const errors: Error[] = [];
  try {
    vm.share().device.transport.onError((error) => errors.push(error));
    await vm.mount('share');
    await use(vm);
    expect(errors).to.deep.equal([]);
  } finally {
    await vm.stop();
  }
}

/** Some of everything: small files, a large one with odd block sizes, links, a tree copied and compared. */
const WORKLOAD = `set -e
mkdir w && cd w
i=0; while [ $i -lt 60 ]; do echo "file $i" > f$i; i=$((i+1)); done
i=0; while [ $i -lt 60 ]; do read line < f$i; [ "$line" = "file $i" ]; i=$((i+1)); done
dd if=/dev/urandom of=/tmp/data bs=64k count=40 2>/dev/null
dd if=/tmp/data of=big bs=3333 2>/dev/null; cmp /tmp/data big
dd if=big of=/tmp/back bs=1M 2>/dev/null; cmp /tmp/data /tmp/back
mkdir t; for d in a b c; do mkdir t/$d; cp f1 f2 f3 big t/$d; ln t/$d/f1 t/$d/hard; ln -s f2 t/$d/soft; done
cp -a t u; for d in a b c; do cmp t/$d/big u/$d/big; [ "$(readlink u/$d/soft)" = f2 ]; done
rm -r t u; [ $(ls | wc -l) = 61 ]
cd .. && rm -r w && echo done`;

describe('the real driver with every set of ring features', function () {
  this.timeout(300_000);
  for (const packed of [false, true]) {
    for (const indirect of [true, false]) {
      for (const eventIdx of [true, false]) {
        const name = `${packed ? 'packed' : 'split'}, ${indirect ? 'with' : 'without'} INDIRECT_DESC, ${eventIdx ? 'with' : 'without'} EVENT_IDX`;
        it(name, () =>
          withGuest({ offer: { packed, indirect, eventIdx } }, async (vm) => {
            const { accepted } = vm.share().device.transport.features;
            const has = (n: number) => (accepted & (1n << BigInt(n))) !== 0n;
            expect([has(VIRTIO_F_RING_PACKED), has(VIRTIO_F_INDIRECT_DESC), has(VIRTIO_F_EVENT_IDX)]).to.deep.equal([
              packed,
              indirect,
              eventIdx,
            ]);
            expect(await runShell(vm, WORKLOAD, { timeoutMs: 120_000 })).to.equal('done\n');
          }),
        );
      }
    }
  }

  for (const queueSize of [8, 16, 64, 256, 1024]) {
    it(`a queue of ${queueSize}, and three request queues`, () =>
      withGuest({ queueSize, requestQueues: 3 }, async (vm) => {
        expect(await runShell(vm, WORKLOAD, { timeoutMs: 120_000 })).to.equal('done\n');
      }));
  }
});

describe('full virtqueues', function () {
  this.timeout(600_000);

  /** Writes, reads back and checks a file of its own until the time is up; tells how often. */
  const TASK = `n=0; end=$(( $(cut -d. -f1 /proc/uptime) + $2 )); f=${MOUNT}/task$1
while [ $(cut -d. -f1 /proc/uptime) -lt $end ]; do
  dd if=/tmp/data of=$f bs=16k count=4 skip=$((n % 4)) conv=fsync 2>/dev/null
  dd if=/tmp/data bs=16k count=4 skip=$((n % 4)) 2>/dev/null | cmp - $f || { echo task $1 round $n differs; exit 1; }
  n=$((n+1)); [ $((n % 5)) = 0 ] && rm $f
done; echo $n`;

  for (const options of [{}, { offer: { packed: true } }, { writeback: true }] satisfies Omit<ShareOptions, 'tag'>[]) {
    it(`64 tasks through a queue of 8 for a minute (${JSON.stringify(options)})`, () =>
      withGuest({ queueSize: 8, ...options }, async (vm) => {
        await vm.exec(
          ['/bin/sh', '-c', 'cat > /tmp/task; dd if=/dev/urandom of=/tmp/data bs=64k count=2 2>/dev/null'],
          { stdin: TASK },
        );
        const results = await Promise.all(
          Array.from({ length: 64 }, (_, n) => vm.exec(`sh /tmp/task ${n} 60`, { timeoutMs: 300_000 })),
        );
        expect(results.filter(({ code }) => code !== 0).map(({ stdout, stderr }) => stdout + stderr)).to.deep.equal([]);
        expect(
          Math.min(...results.map(({ stdout }) => Number(stdout))),
          'rounds of the slowest task',
        ).to.be.greaterThan(0);
        expect(vm.share().device.transport.statistics.at(-1)!.deepest).to.be.at.most(8);
      }));
  }
});

describe('blocked lock waiters that hold descriptors', function () {
  this.timeout(300_000);

  it('six wait in a queue of 8, others do I/O past them, and each gets the lock in its turn', () =>
    withGuest({ queueSize: 8, locks: 'shared' }, async (vm) => {
      const file = `${MOUNT}/locked`;
      const holder = vm.spawn(['locker', 'flock', file, 'wait']);
      await new Lines(holder).until('locked');
      const { session, transport } = vm.share().device;
      const waiters: { process: GuestProcess; lines: Lines }[] = [];
      // One after the other: their turns are in the order in which they ask.
      while (waiters.length < 6) {
        const process = vm.spawn(['locker', 'flock', file, 'wait']);
        waiters.push({ process, lines: new Lines(process) });
        while (session.state().waiters.length < waiters.length) await new Promise((resolve) => setTimeout(resolve, 20));
      }
      expect(transport.queues.at(-1)!.inFlight.size).to.equal(6);
      const hiprio = transport.statistics[0]!.requests;
      expect(await runShell(vm, WORKLOAD, { timeoutMs: 120_000 })).to.equal('done\n');
      expect(transport.statistics[0]!.requests, 'FORGETs went through').to.be.greaterThan(hiprio);
      await holder.write('\n');
      for (const { lines, process } of waiters) {
        await lines.until('locked');
        await process.write('\n');
        expect(await process.exited).to.equal(0);
      }
      expect(transport.queues.at(-1)!.inFlight.size).to.equal(0);
    }));
});
