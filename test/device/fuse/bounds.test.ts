import { expect } from 'chai';
import {
  answerOf,
  type Body,
  forgets,
  INIT_NEWEST,
  message,
  type OperationName,
} from '../../../device/conformance/message.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import { partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import * as C from '../../../device/fuse/constants.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { Volume } from '../../../device/index.ts';
import { VirtioFs } from '../../../device/virtio-fs.ts';
import { CountingMemory } from '../../support/counting-memory.ts';
import type { SplitDriverQueue } from '../../support/driver-queue.ts';
import { MockDriver } from '../../support/mock-driver.ts';

const RAM = 64 << 20;
const QUEUE = 1024;
const MIB = 1 << 20;
/** Descriptors, ring and header of one chain. */
const CHAIN = 20 * QUEUE;
const EINVAL = -22;

/** A driver whose buffers overlap, on a device whose every access to RAM is counted. */
function start({ maxWrite = MIB, init = true } = {}) {
  const filesystem = filesystemOf(new Volume());
  const session = new FuseSession({ filesystem, maxWrite });
  const memory = new CountingMemory(RAM);
  const driver = new MockDriver(new VirtioFs(session, { tag: 's', requestQueues: 1, queueSize: QUEUE }), {
    memory,
  }).start();
  const at = driver.allocate(1 << 16);
  const out = driver.allocate(1 << 16);
  const room = { address: out, length: 4096, writable: true };
  let unique = 0n;
  /** One request of header and body, `claimed` bytes in all of which the rest is anywhere; what it cost, and its answer. */
  const send = <O extends OperationName>(
    operation: O,
    nodeid: number,
    body: Body<O>,
    { readable = 0, writable = 0, claimed = 0 } = {},
  ) => {
    const bytes = message(operation, { unique: (unique += 2n), nodeid }, ...body);
    if (claimed) new DataView(bytes.buffer).setUint32(0, claimed, true);
    memory.write(at, bytes, 0, bytes.length);
    const anywhere = { address: 0, length: RAM - 4096 };
    const queue = driver.queues[1]!;
    const id = queue.add([
      { address: at, length: bytes.length, writable: false },
      ...Array.from({ length: readable }, () => ({ ...anywhere, writable: false })),
      ...(operation === 'BATCH_FORGET' ? [] : [room]),
      ...Array.from({ length: writable }, () => ({ address: 32 * MIB, length: 16 * MIB, writable: true })),
    ]);
    memory.accesses = memory.copied = 0;
    driver.kick(1);
    const { accesses, copied } = memory;
    const used = queue.collect().find((entry) => entry.id === id)!;
    const answer = new DataView(memory.bytes.buffer, out);
    return {
      accesses,
      copied,
      length: used.length,
      error: answer.getInt32(4, true),
      payload: new DataView(memory.bytes.slice(out + 16, out + 4096).buffer),
    };
  };
  const open = () => {
    const { payload } = send('CREATE', 1, [{ flags: 2, mode: 0o644 }, 'f']);
    const { entry, open: opened } = answerOf('CREATE', payload);
    return { nodeid: entry.nodeid, fh: opened.fh };
  };
  if (init) send('INIT', 0, [INIT_NEWEST]);
  return { filesystem, send, open, driver, memory };
}

describe('what one request costs is bounded by what INIT has settled, whatever its descriptors say', () => {
  it('BATCH_FORGET over gigabytes is ignored, and one of as many as fit is done', () => {
    const { send } = start();
    const { copied } = send('BATCH_FORGET', 0, [{ count: 0xffffffff }], {
      readable: 60,
      claimed: 48 + 60 * (RAM - 4096),
    });
    expect(copied).to.be.lessThan(CHAIN);
    const list = forgets(...Array.from({ length: 2000 }, () => [9, 1] as [number, number]));
    expect(send('BATCH_FORGET', 0, [{ count: 0xffffffff }, ...list]).copied).to.be.within(2000 * 16, 2000 * 16 + CHAIN);
  });

  for (const maxWrite of [4096, MIB]) {
    it(`WRITE and READ carry up to ${maxWrite} bytes where that is max_write, and no more than that or 128 KiB`, () => {
      const most = Math.max(maxWrite, 128 * 1024);
      const { send, open, filesystem } = start({ maxWrite });
      const { nodeid, fh } = open();
      const full = send('WRITE', nodeid, [{ fh, size: maxWrite }], { readable: 1, claimed: 80 + maxWrite });
      expect(full.error).to.equal(0);
      expect(full.copied).to.be.within(maxWrite, maxWrite + CHAIN);
      const huge = send('WRITE', nodeid, [{ fh, size: 0x7f000000 }], { readable: 60, claimed: 80 + 0x7f000000 });
      expect(huge).to.include({ error: EINVAL });
      expect(huge.copied).to.be.lessThan(CHAIN);
      expect(filesystem.inode(nodeid)).to.include({ size: maxWrite });

      send('SETATTR', nodeid, [{ valid: C.FATTR_SIZE, size: 2 ** 40 }]);
      const read = (size: number) => send('READ', nodeid, [{ fh, size }], { writable: 60 });
      expect(read(maxWrite)).to.include({ error: 0, length: 16 + maxWrite });
      expect(read(most).copied).to.be.within(most, most + CHAIN);
      const hole = read(0xffffffff);
      expect(hole).to.include({ error: EINVAL });
      expect(hole.copied).to.be.lessThan(CHAIN);
    });
  }

  it('before INIT a message has 8 KiB at most', () => {
    const { send } = start({ init: false });
    expect(send('INIT', 0, [INIT_NEWEST], { readable: 1, claimed: 8193 })).to.include({ error: EINVAL });
    expect(send('INIT', 0, [INIT_NEWEST], { readable: 1, claimed: 8192 })).to.include({ error: 0 });
  });

  it('a ring full of indirect tables that are one table costs so much and no more', () => {
    const { driver, memory } = start();
    const queue = driver.queues[1] as SplitDriverQueue;
    const address = driver.allocate(64);
    const buffers = Array.from({ length: QUEUE }, (_, n) => ({ address, length: 64, writable: n > QUEUE / 2 }));
    const head = queue.add(buffers, { indirectFrom: 0 });
    const descriptor = memory.bytes.slice(queue.desc + 16 * head, queue.desc + 16 * head + 16);
    for (let n = 0; n < QUEUE; n++) memory.bytes.set(descriptor, queue.desc + 16 * n);
    for (let n = 1; n < QUEUE; n++) queue.makeAvailable(n);
    const { requests } = driver.transport.statistics[1]!;
    memory.accesses = 0;
    driver.kick(1);
    expect(driver.transport.statistics[1]!.requests - requests).to.equal(QUEUE);
    expect(memory.accesses / QUEUE).to.be.within(QUEUE, 7 * QUEUE);
  });

  it('a chain of more than 2^32 bytes breaks the ring', () => {
    const { driver } = start();
    driver.queues[1]!.add(Array.from({ length: 65 }, () => ({ address: 0, length: RAM, writable: false })));
    driver.kick(1);
    expect(driver.errors.map(({ kind, message: says }) => `${kind}: ${says}`).join()).to.match(/^chain: .*2\^32 bytes/);
  });

  it('the end of a session with many nodes lets go of them in later turns', async () => {
    const { filesystem, send } = start();
    const count = 50_000;
    for (let n = 0; n < count; n++) {
      const name = `${n}`;
      filesystem.mknod(filesystem.root, name, { mode: 0o100644, uid: 0, gid: 0 });
    }
    for (let n = 0; n < count; n++) send('LOOKUP', 1, [`${n}`]);
    for (let n = 0; n < count; n++) filesystem.unlink(filesystem.root, `${n}`);
    const files = () => partsOf(filesystem).table.space.inodes;
    expect(files()).to.equal(count + 1);
    send('DESTROY', 0, []);
    expect(files(), 'some at once').to.be.within(count / 2, count);
    while (files() > 1) await new Promise((resolve) => setTimeout(resolve, 0));
  });

  it('security labels beyond what fuse.h knows are refused', () => {
    const { send } = start();
    const label = (n: number) => {
      const name = `security.x${n}\0`;
      const size = Math.ceil((8 + name.length) / 8) * 8;
      const bytes = new Uint8Array(size);
      bytes.set(new TextEncoder().encode(name), 8);
      return bytes;
    };
    const labels = (count: number) => {
      const list = Array.from({ length: count }, (_, n) => label(n));
      const body = Uint8Array.from(list.flatMap((bytes) => [...bytes]));
      const header = new Uint8Array(8);
      new DataView(header.buffer).setUint32(0, 8 + body.length, true);
      new DataView(header.buffer).setUint32(4, count, true);
      return [header, body];
    };
    expect(send('MKNOD', 1, [{ mode: 0o100644 }, 'few', ...labels(31)])).to.include({ error: 0 });
    expect(send('MKNOD', 1, [{ mode: 0o100644 }, 'many', ...labels(31), ...labels(31)])).to.include({
      error: EINVAL,
    });
  });
});
