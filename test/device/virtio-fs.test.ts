import { expect } from 'chai';
import { Volume } from 'memfs';
import { answerOf, type Body, INIT, message, type OperationName, type Out } from '../../device/conformance/message.ts';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import { LOCK_END_MAX } from '../../device/fs/lock.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { BAR } from '../../device/virtio/pci-config-space.ts';
import { PciTransport } from '../../device/virtio/pci-transport.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import { MockDriver } from '../support/mock-driver.ts';

const F_WRLCK = 1,
  F_UNLCK = 2;
const O_RDWR = 2;
const ROOT = 1;
const ENOSYS = -38;

describe('virtio-fs device', () => {
  let driver: MockDriver;
  let unique: bigint;

  function start({ tag = 'share', requestQueues = 1, locks = 'guest' as 'guest' | 'shared' } = {}): void {
    const filesystem = filesystemOf(new Volume());
    const session = new FuseSession({ filesystem, locks });
    driver = new MockDriver(new VirtioFs(session, { tag, requestQueues, queueSize: 8 })).start();
    unique = 2n;
  }

  /** Sends a request and returns its answer's error and payload. */
  function call<O extends OperationName>(
    queue: number,
    operation: O,
    nodeid: number,
    ...body: Body<O>
  ): { error: number; out: Out<O> } {
    const sent = message(operation, { unique: (unique += 2n), nodeid }, ...body);
    const reply = driver.request(queue, [sent], [16, 200]);
    const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength);
    expect(view.getUint32(0, true), 'fuse_out_header.len').to.equal(reply.length);
    expect(view.getBigUint64(8, true), 'fuse_out_header.unique').to.equal(unique);
    return {
      error: view.getInt32(4, true),
      out: answerOf(operation, new DataView(reply.buffer, reply.byteOffset + 16, reply.byteLength - 16)),
    };
  }

  const init = (queue = 1) => call(queue, 'INIT', 0, INIT);
  const getattr = (queue = 1) => call(queue, 'GETATTR', ROOT);

  it('5.11.4: virtio_fs_config has the tag, NUL-padded, unterminated when full, and num_request_queues', () => {
    const config = () => Uint8Array.from({ length: 40 }, (_, n) => driver.transport.readBar(BAR.device.offset + n, 1));
    start({ tag: 'mühle', requestQueues: 3 });
    expect(new TextDecoder().decode(config().subarray(0, 36))).to.equal(`mühle${'\0'.repeat(30)}`);
    expect(new DataView(config().buffer).getUint32(36, true)).to.equal(3);
    expect(driver.read('num_queues')).to.equal(4);
    start({ tag: 'x'.repeat(36) });
    expect(new TextDecoder().decode(config().subarray(0, 36))).to.equal('x'.repeat(36));
  });

  it('5.11.6: one session over all request queues', () => {
    start({ requestQueues: 3 });
    expect(init(2).error).to.equal(0);
    for (const queue of [1, 2, 3]) expect(getattr(queue).error, `queue ${queue}`).to.equal(0);
  });

  it('5.11.6: a new INIT ends the old session', () => {
    start();
    init();
    const { entry, open } = call(1, 'CREATE', ROOT, { flags: O_RDWR, mode: 0o100644 }, 'file').out;
    const { nodeid } = entry;
    const { fh } = open;
    expect(call(1, 'READ', nodeid, { fh, size: 10 }).error).to.equal(0);
    init();
    expect(call(1, 'READ', nodeid, { fh, size: 10 }).error).to.be.lessThan(0);
  });

  it('5.11.6.1: FORGET on hiprio has no reply, and a used length of 0', () => {
    start();
    init();
    expect(driver.request(0, [message('FORGET', { nodeid: ROOT })], [])).to.have.length(0);
  });

  describe('FORGET, which nobody waits for', () => {
    const forget = () => {
      driver.queues[0]!.add(driver.buffers([message('FORGET', { nodeid: ROOT })], []));
      driver.kick(0);
    };

    it('interrupts together with the next answer', () => {
      start();
      init();
      driver.readIsr();
      const before = driver.interrupts;
      forget();
      forget();
      expect(driver.interrupts, 'before').to.equal(before);
      driver.queues[1]!.wantInterruptAfter(0);
      getattr();
      expect(driver.interrupts, 'with the answer').to.equal(before + 1);
      expect(driver.queues[0]!.collect()).to.have.length(2);
    });

    it('interrupts soon where no answer comes, in a restored device too', async () => {
      start();
      init();
      driver.readIsr();
      forget();
      driver.transport.restoreState(
        PciTransport.checkState(structuredClone(driver.transport.state()), driver.transport),
      );
      for (const end = Date.now() + 10_000; !driver.irq && Date.now() < end; )
        await new Promise((resolve) => setTimeout(resolve, 1));
      expect(driver.irq).to.equal(true);
      expect(driver.queues[0]!.collect()).to.have.length(1);
    });
  });

  it('5.11.2: hiprio is answered while the request queue is full of waiting requests', () => {
    start({ requestQueues: 2, locks: 'shared' });
    init();
    const { entry, open } = call(1, 'CREATE', ROOT, { flags: O_RDWR, mode: 0o100644 }, 'file').out;
    const { nodeid } = entry;
    const { fh } = open;
    const lock = (owner: number, type: number) => ({ fh, owner, lk: { end: LOCK_END_MAX, type, pid: 100 + owner } });
    expect(call(1, 'SETLK', nodeid, lock(1, F_WRLCK)).error).to.equal(0);
    const queue = driver.queues[1]!;
    for (let owner = 2; owner < 10; owner++) {
      queue.add(driver.buffers([message('SETLKW', { unique: (unique += 2n), nodeid }, lock(owner, F_WRLCK))], [16]), {
        indirectFrom: 0,
      });
    }
    driver.kick(1);
    expect(queue.collect(), 'all eight wait').to.deep.equal([]);
    expect(driver.request(0, [message('FORGET', { nodeid: ROOT })], [])).to.have.length(0);
    expect(getattr(2).error, 'the other request queue goes on').to.equal(0);
    expect(call(2, 'SETLK', nodeid, lock(1, F_UNLCK)).error).to.equal(0);
    expect(queue.collect(), 'one has the lock now').to.have.length(1);
    expect(driver.errors).to.deep.equal([]);
  });

  it('serves nothing before INIT but tells so', () => {
    start();
    expect(getattr().error).to.be.lessThan(0).and.not.equal(ENOSYS);
  });
});
