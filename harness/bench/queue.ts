import { FuseSession } from '../../device/fuse/session.ts';
import { MemoryFileSystem } from '../../device/index.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import { EchoDevice } from '../../test/support/echo-device.ts';
import { MockDriver } from '../../test/support/mock-driver.ts';
import { type BenchRow, Collector } from './report.ts';

export const RINGS = ['split', 'packed'] as const;
const REQUESTS = 200_000;
/** Few enough that no garbage is collected meanwhile. */
const COUNTED = 2000;

/** `fuse_in_header` and a body, in one buffer. */
function message(opcode: number, nodeid: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(40 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint32(4, opcode, true);
  view.setBigUint64(8, 2n, true);
  view.setBigUint64(16, BigInt(nodeid), true);
  bytes.set(body, 40);
  return bytes;
}

const INIT = 26;
const GETATTR = 3;

function fuseDriver(packed: boolean): MockDriver {
  const filesystem = new MemoryFileSystem();
  const session = new FuseSession({ filesystem });
  const driver = new MockDriver(new VirtioFs(session, { tag: 'bench', requestQueues: 1, queueSize: 128 }), {
    offer: { packed },
  }).start();
  const init = new Uint8Array(64);
  new DataView(init.buffer).setUint32(0, 7, true);
  new DataView(init.buffer).setUint32(4, 38, true);
  driver.request(1, [message(INIT, 0, init)], [16, 64]);
  return driver;
}

/** Requests a second through the queue: of a device that only echoes, and of FUSE; one kick each, and in batches. */
export function benchQueue(rounds: number, onProgress: (message: string) => void): BenchRow[] {
  const collector = new Collector(RINGS);
  for (let round = 0; round <= rounds; round++) {
    for (const ring of RINGS) {
      onProgress(`round ${round} of ${rounds}: ${ring}`);
      const packed = ring === 'packed';
      const cases = [
        {
          name: 'echo 64 bytes',
          driver: new MockDriver(new EchoDevice([128, 128]), { offer: { packed } }).start(),
          sent: new Uint8Array(64),
          room: [64],
        },
        {
          name: 'FUSE GETATTR',
          driver: fuseDriver(packed),
          sent: message(GETATTR, 1, new Uint8Array(16)),
          room: [16, 104],
        },
      ];
      for (const { name, driver, sent, room } of cases) {
        const buffers = driver.buffers([sent], room);
        for (const batch of [1, 16]) {
          const run = (count: number) => {
            for (let n = 0; n < count; n += batch) {
              for (let k = 0; k < batch; k++) driver.queues[1]!.add(buffers);
              driver.kick(1);
              driver.queues[1]!.collect();
              if (driver.irq) driver.readIsr();
            }
          };
          const before = { ...driver.transport.statistics[1]! };
          const started = performance.now();
          run(REQUESTS);
          const seconds = (performance.now() - started) / 1000;
          const { kicks, interrupts } = driver.transport.statistics[1]!;
          if (round === 0) continue;
          const label = `${name}, ${batch} a kick`;
          collector.add(ring, { name: label, unit: 'requests/s', isRate: true }, REQUESTS / seconds);
          collector.add(
            ring,
            { name: `${label}: kicks`, unit: 'per request', isRate: false },
            (kicks - before.kicks) / REQUESTS,
          );
          collector.add(
            ring,
            { name: `${label}: interrupts`, unit: 'per request', isRate: false },
            (interrupts - before.interrupts) / REQUESTS,
          );
          collector.add(
            ring,
            { name: `${label}: garbage`, unit: 'bytes per request, the mock driver’s too', isRate: false },
            allocated(() => run(COUNTED)) / COUNTED,
          );
        }
      }
    }
  }
  return collector.rows();
}

function allocated(action: () => void): number {
  globalThis.gc?.();
  const before = process.memoryUsage().heapUsed;
  action();
  return Math.max(0, process.memoryUsage().heapUsed - before);
}
