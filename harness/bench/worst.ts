import type { Inode } from '../../device/filesystems/memory/inode.ts';
import * as C from '../../device/fuse/constants.ts';
import { OPERATIONS } from '../../device/fuse/opcodes.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { MemoryFileSystem } from '../../device/index.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import { FlatMemory } from '../../test/support/flat-memory.ts';
import { message } from '../../test/support/fuse-call.ts';
import { type Buffer, MockDriver } from '../../test/support/mock-driver.ts';
import type { BenchRow } from './report.ts';

export const WORST = ['worst', 'median'] as const;

const RAM = 64 << 20;
const QUEUE = 1024;
const MIB = 1 << 20;
const PAGE = 4096;
/** Entries of a large directory, and levels of a deep one. */
const ENTRIES = 300_000;
const DEPTH = 50_000;
/** Chunks of a file that is scattered, and of one that is full. */
const SCATTERED = 200_000;
const FULL = 512 * MIB;
const F_WRLCK = 1,
  F_UNLCK = 2;
const OWNER = { uid: 0, gid: 0 };

type Body = (number | bigint | string | Uint8Array)[];
type Send = (opcode: number, nodeid: number, ...body: Body) => DataView;

/** One guest on one filesystem. */
class Subject {
  readonly filesystem = new MemoryFileSystem();
  readonly driver: MockDriver;
  /** Milliseconds of processor time of each request of an opcode, by its name and what it was sent to. */
  readonly times = new Map<string, number[]>();
  readonly #memory = new FlatMemory(RAM);
  readonly #at: number;
  readonly #out: number;
  #unique = 0n;
  /** What the requests are sent to. */
  what = '';

  constructor() {
    const session = new FuseSession({ filesystem: this.filesystem, locks: 'shared' });
    this.driver = new MockDriver(new VirtioFs(session, { tag: 'w', requestQueues: 1, queueSize: QUEUE }), {
      memory: this.#memory,
    }).start();
    this.#at = this.driver.allocate(MIB + PAGE);
    this.#out = this.driver.allocate(2 * MIB);
    this.init();
  }

  init(): void {
    this.send(C.FUSE_INIT, 0, 7, 41, 0x20000, 0xffffffff & ~(1 << 29), 0xffffffff, ...Array<number>(11).fill(0));
  }

  /** One request in one kick, its message and the room for its answer in as many descriptors as there may be. */
  readonly send: Send = (opcode, nodeid, ...body) => {
    const bytes = message(opcode, (this.#unique += 2n), nodeid, ...body);
    return this.#kick(opcode, bytes, bytes.length);
  };

  /** A WRITE or BATCH_FORGET whose data is whatever lies in RAM. */
  sendLong(opcode: number, nodeid: number, length: number, ...body: Body): DataView {
    const bytes = message(opcode, (this.#unique += 2n), nodeid, ...body);
    new DataView(bytes.buffer).setUint32(0, bytes.length + length, true);
    return this.#kick(opcode, bytes, bytes.length + length);
  }

  #kick(opcode: number, bytes: Uint8Array, length: number): DataView {
    const { driver } = this;
    this.#memory.write(this.#at, bytes, 0, bytes.length);
    const operation = OPERATIONS.get(opcode)!;
    const pieces = (address: number, size: number, count: number, writable: boolean): Buffer[] => {
      const step = Math.max(1, Math.ceil(size / count));
      return Array.from({ length: Math.ceil(size / step) }, (_, n) => ({
        address: address + n * step,
        length: Math.min(step, size - n * step),
        writable,
      }));
    };
    const queue = driver.queues[1]!;
    queue.add(
      [...pieces(this.#at, length, 500, false), ...(operation.noReply ? [] : pieces(this.#out, MIB + PAGE, 500, true))],
      { indirectFrom: 0 },
    );
    const before = process.cpuUsage();
    driver.kick(1);
    const { user, system } = process.cpuUsage(before);
    queue.collect();
    const key = `${operation.name}: ${this.what}`;
    const list = this.times.get(key);
    if (list) list.push((user + system) / 1000);
    else this.times.set(key, [(user + system) / 1000]);
    return new DataView(this.#memory.bytes.slice(this.#out + 16, this.#out + 16 + PAGE).buffer);
  }

  open(nodeid: number): bigint {
    return this.send(C.FUSE_OPEN, nodeid, 2, 0).getBigUint64(0, true);
  }
}

/** Each shape that a filesystem is brought into, and what is asked of it then. */
const SHAPES: Record<string, (subject: Subject) => void> = {
  [`a directory of ${ENTRIES} entries`]: (subject) => {
    const { filesystem, send } = subject;
    const dir = filesystem.mknod(filesystem.root, 'large', { mode: 0o40755, ...OWNER });
    const nodeid = dir.ino;
    send(C.FUSE_LOOKUP, 1, 'large');
    const long = 'n'.repeat(240);
    for (let n = 0; n < ENTRIES; n++) filesystem.mknod(dir, `${n}`, { mode: 0o100644, ...OWNER });
    const fh = send(C.FUSE_OPENDIR, nodeid, 0, 0).getBigUint64(0, true);
    for (const opcode of [C.FUSE_READDIR, C.FUSE_READDIRPLUS]) {
      for (const offset of [0n, BigInt(ENTRIES), 5n, BigInt(ENTRIES / 2), 2n ** 31n, 2n ** 53n])
        send(opcode, nodeid, fh, offset, MIB, 0, 0n, 0, 0);
    }
    for (let n = 0; n < 20; n++) {
      send(C.FUSE_LOOKUP, nodeid, `${n}`);
      send(C.FUSE_LOOKUP, nodeid, long);
      send(C.FUSE_CREATE, nodeid, 2, 0o644, 0, 0, `${long}${n}`);
      send(C.FUSE_MKDIR, nodeid, 0o755, 0, `dir ${long}${n}`.slice(0, 250));
      send(C.FUSE_RENAME, nodeid, BigInt(nodeid), `${n}`, `new ${n}`);
      send(C.FUSE_UNLINK, nodeid, `new ${n}`);
      send(C.FUSE_GETATTR, nodeid, 0, 0, 0n);
      send(C.FUSE_STATFS, 1);
    }
    send(C.FUSE_RELEASEDIR, nodeid, fh, 0, 0, 0n);
  },
  [`a tree ${DEPTH} levels deep`]: (subject) => {
    const { filesystem, send } = subject;
    let dir: Inode = filesystem.root;
    for (let n = 0; n < DEPTH; n++) dir = filesystem.mknod(dir, 'd', { mode: 0o40755, ...OWNER });
    const top = Number(send(C.FUSE_LOOKUP, 1, 'd').getBigUint64(0, true));
    filesystem.mknod(dir, 'f', { mode: 0o40755, ...OWNER });
    // The deepest one, by its number: `open_by_handle_at` looks "." up like this.
    send(C.FUSE_LOOKUP, dir.ino, '.');
    for (let n = 0; n < 5; n++) {
      send(C.FUSE_RENAME, 1, BigInt(dir.ino), 'd', 'within itself');
      send(C.FUSE_RENAME, dir.ino, 1n, 'f', 'g');
      send(C.FUSE_RENAME, 1, BigInt(dir.ino), 'g', 'f');
      send(C.FUSE_MKNOD, dir.ino, 0o100644, 0, 0, 0, `${n}`);
      send(C.FUSE_LINK, dir.ino, BigInt(top), 'linked');
    }
  },
  [`a file of ${FULL / MIB} MiB`]: (subject) => {
    const { send } = subject;
    const created = send(C.FUSE_CREATE, 1, 2, 0o644, 0, 0, 'full');
    const nodeid = Number(created.getBigUint64(0, true));
    const fh = created.getBigUint64(128, true);
    for (let at = 0; at < FULL; at += MIB)
      subject.sendLong(C.FUSE_WRITE, nodeid, MIB, fh, BigInt(at), MIB, 0, 0n, 0, 0);
    for (let at = 0; at < 20 * MIB; at += MIB) send(C.FUSE_READ, nodeid, fh, BigInt(at), MIB, 0, 0n, 0, 0);
    const fallocate = (offset: number, length: number, mode: number) =>
      send(C.FUSE_FALLOCATE, nodeid, fh, BigInt(offset), BigInt(length), mode, 0);
    const other = send(C.FUSE_CREATE, 1, 2, 0o644, 0, 0, 'copy');
    const copy = (from: bigint, to: bigint) =>
      send(
        C.FUSE_COPY_FILE_RANGE,
        nodeid,
        fh,
        from,
        other.getBigUint64(0, true),
        other.getBigUint64(128, true),
        to,
        0x7ffff000n,
        0n,
      );
    copy(0n, 0n);
    copy(1n, 5n);
    for (let n = 0; n < 2; n++) {
      fallocate(0, PAGE, 32);
      fallocate(0, PAGE, 8);
      send(C.FUSE_LSEEK, nodeid, fh, 0n, 4, 0);
      send(C.FUSE_LSEEK, nodeid, fh, 0n, 3, 0);
    }
    fallocate(0, FULL, 16);
    fallocate(0, FULL, 3);
    fallocate(0, FULL, 0);
    fallocate(0, PAGE, 32);
    send(C.FUSE_SETATTR, nodeid, C.FATTR_SIZE, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0);
  },
  [`a file of ${SCATTERED} pages, each far from the next`]: (subject) => {
    const { filesystem, send } = subject;
    const created = send(C.FUSE_CREATE, 1, 2, 0o644, 0, 0, 'scattered');
    const nodeid = Number(created.getBigUint64(0, true));
    const fh = created.getBigUint64(128, true);
    const inode = filesystem.inode(nodeid)!;
    let left = 0;
    for (let n = 0; n < SCATTERED; n++) {
      left = 1;
      filesystem.write(inode, n * 65536, 1, {
        get remaining() {
          return left;
        },
        read: (dst, offset) => ((dst[offset] = 1), (left = 0), 1),
      });
    }
    for (let n = 0; n < 5; n++) {
      subject.sendLong(C.FUSE_WRITE, nodeid, PAGE, fh, BigInt((SCATTERED + 2 * n) * 65536), PAGE, 0, 0n, 0, 0);
      send(C.FUSE_LSEEK, nodeid, fh, 1n, 3, 0);
      send(C.FUSE_LSEEK, nodeid, fh, BigInt(2 ** 45), 4, 0);
      send(C.FUSE_READ, nodeid, fh, BigInt(n * 65536), MIB, 0, 0n, 0, 0);
    }
    send(C.FUSE_FALLOCATE, nodeid, fh, 0n, 4096n, 32, 0);
    send(C.FUSE_FALLOCATE, nodeid, fh, 0n, 4096n, 8, 0);
    send(C.FUSE_FALLOCATE, nodeid, fh, 0n, BigInt(SCATTERED * 65536), 3, 0);
    send(C.FUSE_SETATTR, nodeid, C.FATTR_SIZE, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, 0, 0, 0, 0, 0);
  },
  'a file with as many attributes as there may be': (subject) => {
    const { send } = subject;
    const nodeid = Number(send(C.FUSE_CREATE, 1, 2, 0o644, 0, 0, 'attributes').getBigUint64(0, true));
    for (let n = 0; n < 6000; n++) send(C.FUSE_SETXATTR, nodeid, 0, 0, 0, 0, `user.${n}`, new Uint8Array(0));
    const value = new Uint8Array(65536);
    for (let n = 0; n < 5; n++) {
      send(C.FUSE_SETXATTR, nodeid, value.length, 0, 0, 0, 'user.1', value);
      send(C.FUSE_GETXATTR, nodeid, value.length, 0, 'user.1');
      send(C.FUSE_LISTXATTR, nodeid, 65536, 0);
      send(C.FUSE_REMOVEXATTR, nodeid, 'user.1');
    }
    const target = 'é'.repeat(2047);
    for (let n = 0; n < 5; n++) {
      const link = Number(send(C.FUSE_SYMLINK, 1, `link ${n}`, target).getBigUint64(0, true));
      send(
        C.FUSE_SYMLINK,
        1,
        `bytes ${n}`,
        Uint8Array.from({ length: 4090 }, (_, at) => (at % 2 ? 0xff : 0x41)),
        '',
      );
      send(C.FUSE_READLINK, link);
    }
  },
  '4,096 locks and 256 waiters': (subject) => {
    const { send } = subject;
    const created = send(C.FUSE_CREATE, 1, 2, 0o644, 0, 0, 'locked');
    const nodeid = Number(created.getBigUint64(0, true));
    const fh = created.getBigUint64(128, true);
    const lock = (opcode: number, owner: number, type: number, start: number, end: bigint) =>
      send(opcode, nodeid, fh, BigInt(owner), BigInt(start), end, type, owner, 0, 0);
    const LAST = 2n ** 63n - 1n;
    for (let n = 0; n < 3800; n++) lock(C.FUSE_SETLK, 1, F_WRLCK, 10 + 2 * n, BigInt(10 + 2 * n));
    lock(C.FUSE_SETLK, 2, F_WRLCK, 0, 0n);
    for (let n = 0; n < 128; n++) lock(C.FUSE_SETLKW, 2, F_WRLCK, 5, LAST);
    for (let n = 0; n < 128; n++) lock(C.FUSE_SETLKW, 100 + n, F_WRLCK, n % 2 ? 0 : 20_000 + n, LAST);
    lock(C.FUSE_GETLK, 900, F_WRLCK, 0, LAST);
    lock(C.FUSE_SETLK, 900, F_UNLCK, 0, LAST);
    send(C.FUSE_INTERRUPT, 0, 1n);
    lock(C.FUSE_SETLK, 1, F_UNLCK, 0, LAST);
    send(C.FUSE_FLUSH, nodeid, fh, 0, 0, 2n);
    send(C.FUSE_RELEASE, nodeid, fh, 0, 0, 0n);
  },
  [`${ENTRIES} nodes looked up`]: (subject) => {
    const { filesystem, send } = subject;
    const dir = filesystem.mknod(filesystem.root, 'nodes', { mode: 0o40755, ...OWNER });
    for (let n = 0; n < ENTRIES; n++) filesystem.mknod(dir, `${n}`, { mode: 0o100644, ...OWNER });
    send(C.FUSE_LOOKUP, 1, 'nodes');
    const fh = send(C.FUSE_OPENDIR, dir.ino, 0, 0).getBigUint64(0, true);
    const lookUpAll = () => {
      for (let offset = 0n, last = -1n; offset !== last; ) {
        last = offset;
        send(C.FUSE_READDIRPLUS, dir.ino, fh, offset, 65536, 0, 0n, 0, 0);
        offset = BigInt(Math.min(ENTRIES + 3, Number(offset) + 350));
      }
    };
    lookUpAll();
    const first = dir.ino + 1;
    for (let batch = 0; batch < 10; batch++) {
      subject.send(
        C.FUSE_BATCH_FORGET,
        0,
        8000,
        0,
        ...Array.from({ length: 8000 }, (_, n) => [BigInt(first + batch * 8000 + n), 2n ** 63n]).flat(),
      );
    }
    send(C.FUSE_FORGET, first + 90_000, 2n ** 64n - 1n);
    lookUpAll();
    send(C.FUSE_DESTROY, 0);
    subject.init();
    send(C.FUSE_LOOKUP, 1, 'nodes');
    subject.init();
  },
};

/** Looks for the request of each opcode that takes the most processor time. Rounds are taken by their best, as machines are shared. */
export function benchWorst(rounds: number, onProgress: (message: string) => void): BenchRow[] {
  const best = new Map<string, { worst: number; median: number }>();
  for (const [shape, run] of Object.entries(SHAPES)) {
    for (let round = 1; round <= rounds; round++) {
      onProgress(`round ${round} of ${rounds}: ${shape}`);
      const subject = new Subject();
      subject.what = shape;
      run(subject);
      for (const [key, times] of subject.times) {
        times.sort((a, b) => a - b);
        const found = { worst: times.at(-1)!, median: times[times.length >> 1]! };
        const before = best.get(key) ?? found;
        best.set(key, { worst: Math.min(before.worst, found.worst), median: Math.min(before.median, found.median) });
      }
    }
  }
  const byOpcode = new Map<string, { name: string; worst: number; median: number }>();
  for (const [name, times] of best) {
    const opcode = name.split(':')[0]!;
    if (times.worst >= (byOpcode.get(opcode)?.worst ?? -1)) byOpcode.set(opcode, { name, ...times });
  }
  return [...byOpcode.values()]
    .sort((a, b) => b.worst - a.worst)
    .map(({ name, worst, median }) => ({
      name,
      unit: 'ms',
      isRate: false,
      values: { worst: [worst], median: [median] },
      medians: { worst, median },
      ratios: {},
    }));
}
