import { expect } from 'chai';
import { type Body, INIT, message, type OperationName } from '../../device/conformance/message.ts';
import { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import { EINTR } from '../../device/fs/errno.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import { lateFileSystem, type Pending } from '../support/late-filesystem.ts';
import { MockDriver } from '../support/mock-driver.ts';

/** Each request is an indirect table, which takes one place. */
const SIZE = 8;

function start(packed: boolean) {
  const files = new MemoryFileSystem();
  for (let n = 0; n < SIZE; n++) files.mknod(files.root, `f${n}`, { mode: 0o100644, uid: 0, gid: 0 });
  const pending: Pending[] = [];
  const filesystem = lateFileSystem(files, { schedule: (one) => pending.push(one) });
  const session = new FuseSession({ filesystem });
  const device = new VirtioFs(session, { tag: 'late', requestQueues: 1, queueSize: SIZE });
  const driver = new MockDriver(device, { offer: { packed, inOrder: true } }).start();
  let unique = 0n;
  const send = <O extends OperationName>(queue: number, operation: O, nodeid: number, ...body: Body<O>) => {
    const bytes = message(operation, { unique: (unique += 2n), nodeid }, ...body);
    const buffers = driver.buffers([bytes], queue === 0 ? [] : [16, 200]);
    const id = driver.queues[queue]!.add(buffers, { indirectFrom: 0 });
    driver.kick(queue);
    return { id, unique, error: () => new DataView(driver.written(buffers).slice().buffer).getInt32(4, true) };
  };
  const init = send(1, 'INIT', 0, INIT);
  expect(driver.queues[1]!.collect().map(({ id }) => id)).to.deep.equal([init.id]);
  /** As many requests as there is room for, none of them answered. */
  const fill = () => {
    driver.readIsr();
    const sent = Array.from({ length: SIZE }, (_, n) => send(1, 'LOOKUP', 1, `f${n}`));
    expect(driver.queues[1]!.collect()).to.deep.equal([]);
    expect(pending).to.have.length(SIZE);
    return sent;
  };
  const perform = async () => {
    for (const one of pending.splice(0)) one.perform();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { files, session, device, driver, pending, send, fill, perform };
}

for (const packed of [false, true]) {
  describe(`a queue full of requests that wait for their filesystem, ${packed ? 'packed' : 'split'} ring`, () => {
    it('is answered when the answers come, and takes more then', async () => {
      const { driver, fill, perform } = start(packed);
      for (let round = 0; round < 3; round++) {
        const sent = fill();
        await perform();
        expect(driver.queues[1]!.collect().map(({ id }) => id)).to.have.members(sent.map(({ id }) => id));
        expect(sent.map(({ error }) => error())).to.deep.equal(sent.map(() => 0));
      }
      expect(driver.errors).to.deep.equal([]);
    });

    it('leaves the hiprio queue free: INTERRUPT and FORGET are served meanwhile', async () => {
      const { driver, session, send, fill, perform } = start(packed);
      const [first, ...others] = fill();
      const forget = send(0, 'FORGET', 2, { nlookup: 1 });
      const interrupt = send(0, 'INTERRUPT', 0, { unique: first!.unique });
      expect(driver.queues[0]!.collect().map(({ id }) => id)).to.have.members([forget.id, interrupt.id]);
      expect(driver.queues[1]!.collect().map(({ id }) => id)).to.deep.equal([first!.id]);
      expect(first!.error()).to.equal(-EINTR);
      await perform();
      expect(driver.queues[1]!.collect().map(({ id }) => id)).to.have.members(others.map(({ id }) => id));
      expect(session.state().nodes.ino).to.have.length(others.length);
    });

    for (const [what, reset] of [
      ['device', (driver: MockDriver) => driver.write('device_status', 0)],
      [
        'queue',
        (driver: MockDriver) => {
          driver.write('queue_select', 1);
          driver.write('queue_reset', 1);
        },
      ],
    ] as const) {
      it(`that is taken back by a reset of the ${what} is not answered, and no memory is touched`, async () => {
        const { driver, fill, perform, session } = start(packed);
        fill();
        reset(driver);
        const before = driver.memory.bytes.slice();
        await perform();
        expect(Buffer.compare(before, driver.memory.bytes)).to.equal(0);
        expect(driver.irq).to.equal(false);
        expect(session.changing).to.deep.equal([]);
        if (what === 'device') expect(session.state().nodes.ino).to.have.length(0);
      });
    }

    it('does not promise to answer in order', () => {
      const { device, driver } = start(packed);
      expect(device.answersInOrder).to.equal(false);
      expect(driver.offered & (1n << 35n)).to.equal(0n);
    });
  });
}
