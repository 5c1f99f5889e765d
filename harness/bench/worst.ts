import {
  answerOf,
  type Body,
  forgets,
  INIT_NEWEST,
  message,
  type OperationName,
  type Out,
} from '../../device/conformance/message.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { FlatMemory } from '../../device/flat-memory.ts';
import { F_UNLCK, F_WRLCK, SEEK_DATA, SEEK_HOLE } from '../../device/fs/constants.ts';
import { LOCK_END_MAX } from '../../device/fs/lock.ts';
import * as C from '../../device/fuse/constants.ts';
import { fuse_in_header } from '../../device/fuse/layouts.ts';
import { OPERATIONS } from '../../device/fuse/opcodes.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { MemoryFileSystem } from '../../device/index.ts';
import { VirtioFs } from '../../device/virtio-fs.ts';
import type { Buffer } from '../../test/support/driver-queue.ts';
import { MockDriver } from '../../test/support/mock-driver.ts';
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
const OWNER = { uid: 0, gid: 0 };

type Send = <O extends OperationName>(operation: O, nodeid: number, ...body: Body<O>) => Out<O>;

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
    this.send('INIT', 0, { ...INIT_NEWEST, flags: INIT_NEWEST.flags & ~(1 << 29) });
  }

  /** One request in one kick, its message and the room for its answer in as many descriptors as there may be. */
  readonly send: Send = (operation, nodeid, ...body) => {
    const bytes = message(operation, { unique: (this.#unique += 2n), nodeid }, ...body);
    return answerOf(operation, this.#kick(bytes, bytes.length));
  };

  /** A WRITE or BATCH_FORGET whose data is whatever lies in RAM. */
  sendLong<O extends OperationName>(operation: O, nodeid: number, length: number, ...body: Body<O>): void {
    const bytes = message(operation, { unique: (this.#unique += 2n), nodeid }, ...body);
    new DataView(bytes.buffer).setUint32(0, bytes.length + length, true);
    this.#kick(bytes, bytes.length + length);
  }

  #kick(bytes: Uint8Array, length: number): DataView {
    const { driver } = this;
    this.#memory.write(this.#at, bytes, 0, bytes.length);
    const operation = OPERATIONS.get(fuse_in_header.at(new DataView(bytes.buffer), 0).opcode)!;
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
}

/** Each shape that a filesystem is brought into, and what is asked of it then. */
const SHAPES: Record<string, (subject: Subject) => void> = {
  [`a directory of ${ENTRIES} entries`]: (subject) => {
    const { filesystem, send } = subject;
    const dir = filesystem.mknod(filesystem.root, 'large', { mode: 0o40755, ...OWNER });
    const nodeid = dir.ino;
    send('LOOKUP', 1, 'large');
    const long = 'n'.repeat(240);
    for (let n = 0; n < ENTRIES; n++) filesystem.mknod(dir, `${n}`, { mode: 0o100644, ...OWNER });
    const fh = send('OPENDIR', nodeid).fh;
    for (const operation of ['READDIR', 'READDIRPLUS'] as const) {
      for (const offset of [0, ENTRIES, 5, ENTRIES / 2, 2 ** 31, 2 ** 53])
        send(operation, nodeid, { fh, offset, size: MIB });
    }
    for (let n = 0; n < 20; n++) {
      send('LOOKUP', nodeid, `${n}`);
      send('LOOKUP', nodeid, long);
      send('CREATE', nodeid, { flags: 2, mode: 0o644 }, `${long}${n}`);
      send('MKDIR', nodeid, { mode: 0o755 }, `dir ${long}${n}`.slice(0, 250));
      send('RENAME', nodeid, { newdir: nodeid }, `${n}`, `new ${n}`);
      send('UNLINK', nodeid, `new ${n}`);
      send('GETATTR', nodeid);
      send('STATFS', 1);
    }
    send('RELEASEDIR', nodeid, { fh });
  },
  [`a tree ${DEPTH} levels deep`]: (subject) => {
    const { filesystem, send } = subject;
    let dir: Inode = filesystem.root;
    for (let n = 0; n < DEPTH; n++) dir = filesystem.mknod(dir, 'd', { mode: 0o40755, ...OWNER });
    const top = send('LOOKUP', 1, 'd').nodeid;
    filesystem.mknod(dir, 'f', { mode: 0o40755, ...OWNER });
    // The deepest one, by its number: `open_by_handle_at` looks "." up like this.
    send('LOOKUP', dir.ino, '.');
    for (let n = 0; n < 5; n++) {
      send('RENAME', 1, { newdir: dir.ino }, 'd', 'within itself');
      send('RENAME', dir.ino, { newdir: 1 }, 'f', 'g');
      send('RENAME', 1, { newdir: dir.ino }, 'g', 'f');
      send('MKNOD', dir.ino, { mode: 0o100644 }, `${n}`);
      send('LINK', dir.ino, { oldnodeid: top }, 'linked');
    }
  },
  [`a file of ${FULL / MIB} MiB`]: (subject) => {
    const { send } = subject;
    const created = send('CREATE', 1, { flags: 2, mode: 0o644 }, 'full');
    const { nodeid } = created.entry;
    const { fh } = created.open;
    for (let at = 0; at < FULL; at += MIB) subject.sendLong('WRITE', nodeid, MIB, { fh, offset: at, size: MIB });
    for (let at = 0; at < 20 * MIB; at += MIB) send('READ', nodeid, { fh, offset: at, size: MIB });
    const fallocate = (offset: number, length: number, mode: number) =>
      send('FALLOCATE', nodeid, { fh, offset, length, mode });
    const other = send('CREATE', 1, { flags: 2, mode: 0o644 }, 'copy');
    const copy = (off_in: number, off_out: number) =>
      send('COPY_FILE_RANGE', nodeid, {
        fh_in: fh,
        off_in,
        nodeid_out: other.entry.nodeid,
        fh_out: other.open.fh,
        off_out,
        len: 0x7ffff000,
      });
    copy(0, 0);
    copy(1, 5);
    for (let n = 0; n < 2; n++) {
      fallocate(0, PAGE, 32);
      fallocate(0, PAGE, 8);
      send('LSEEK', nodeid, { fh, whence: SEEK_HOLE });
      send('LSEEK', nodeid, { fh, whence: SEEK_DATA });
    }
    fallocate(0, FULL, 16);
    fallocate(0, FULL, 3);
    fallocate(0, FULL, 0);
    fallocate(0, PAGE, 32);
    send('SETATTR', nodeid, { valid: C.FATTR_SIZE });
  },
  [`a file of ${SCATTERED} pages, each far from the next`]: (subject) => {
    const { filesystem, send } = subject;
    const created = send('CREATE', 1, { flags: 2, mode: 0o644 }, 'scattered');
    const { nodeid } = created.entry;
    const { fh } = created.open;
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
      subject.sendLong('WRITE', nodeid, PAGE, { fh, offset: (SCATTERED + 2 * n) * 65536, size: PAGE });
      send('LSEEK', nodeid, { fh, offset: 1, whence: SEEK_DATA });
      send('LSEEK', nodeid, { fh, offset: 2 ** 45, whence: SEEK_HOLE });
      send('READ', nodeid, { fh, offset: n * 65536, size: MIB });
    }
    send('FALLOCATE', nodeid, { fh, length: PAGE, mode: 32 });
    send('FALLOCATE', nodeid, { fh, length: PAGE, mode: 8 });
    send('FALLOCATE', nodeid, { fh, length: SCATTERED * 65536, mode: 3 });
    send('SETATTR', nodeid, { valid: C.FATTR_SIZE });
  },
  'a file with as many attributes as there may be': (subject) => {
    const { send } = subject;
    const nodeid = send('CREATE', 1, { flags: 2, mode: 0o644 }, 'attributes').entry.nodeid;
    for (let n = 0; n < 6000; n++) send('SETXATTR', nodeid, `user.${n}`);
    const value = new Uint8Array(65536);
    for (let n = 0; n < 5; n++) {
      send('SETXATTR', nodeid, { size: value.length }, 'user.1', value);
      send('GETXATTR', nodeid, { size: value.length }, 'user.1');
      send('LISTXATTR', nodeid, { size: 65536 });
      send('REMOVEXATTR', nodeid, 'user.1');
    }
    const target = 'é'.repeat(2047);
    for (let n = 0; n < 5; n++) {
      const link = send('SYMLINK', 1, `link ${n}`, target).nodeid;
      send(
        'SYMLINK',
        1,
        `bytes ${n}`,
        Uint8Array.from({ length: 4090 }, (_, at) => (at % 2 ? 0xff : 0x41)),
        '',
      );
      send('READLINK', link);
    }
  },
  '4,096 locks and 256 waiters': (subject) => {
    const { send } = subject;
    const created = send('CREATE', 1, { flags: 2, mode: 0o644 }, 'locked');
    const { nodeid } = created.entry;
    const { fh } = created.open;
    const lock = (
      operation: 'GETLK' | 'SETLK' | 'SETLKW',
      owner: number,
      type: number,
      start: number,
      end: number | bigint,
    ) => send(operation, nodeid, { fh, owner, lk: { start, end, type, pid: owner } });
    for (let n = 0; n < 3800; n++) lock('SETLK', 1, F_WRLCK, 10 + 2 * n, 10 + 2 * n);
    lock('SETLK', 2, F_WRLCK, 0, 0);
    for (let n = 0; n < 128; n++) lock('SETLKW', 2, F_WRLCK, 5, LOCK_END_MAX);
    for (let n = 0; n < 128; n++) lock('SETLKW', 100 + n, F_WRLCK, n % 2 ? 0 : 20_000 + n, LOCK_END_MAX);
    lock('GETLK', 900, F_WRLCK, 0, LOCK_END_MAX);
    lock('SETLK', 900, F_UNLCK, 0, LOCK_END_MAX);
    send('INTERRUPT', 0, { unique: 1 });
    lock('SETLK', 1, F_UNLCK, 0, LOCK_END_MAX);
    send('FLUSH', nodeid, { fh, lock_owner: 2 });
    send('RELEASE', nodeid, { fh });
  },
  [`${ENTRIES} nodes looked up`]: (subject) => {
    const { filesystem, send } = subject;
    const dir = filesystem.mknod(filesystem.root, 'nodes', { mode: 0o40755, ...OWNER });
    for (let n = 0; n < ENTRIES; n++) filesystem.mknod(dir, `${n}`, { mode: 0o100644, ...OWNER });
    send('LOOKUP', 1, 'nodes');
    const fh = send('OPENDIR', dir.ino).fh;
    const lookUpAll = () => {
      for (let offset = 0, last = -1; offset !== last; ) {
        last = offset;
        send('READDIRPLUS', dir.ino, { fh, offset, size: 65536 });
        offset = Math.min(ENTRIES + 3, offset + 350);
      }
    };
    lookUpAll();
    const first = dir.ino + 1;
    for (let batch = 0; batch < 10; batch++) {
      const pairs = Array.from({ length: 8000 }, (_, n) => [first + batch * 8000 + n, 2n ** 63n] as [number, bigint]);
      send('BATCH_FORGET', 0, { count: pairs.length }, ...forgets(...pairs));
    }
    send('FORGET', first + 90_000, { nlookup: 2n ** 64n - 1n });
    lookUpAll();
    send('DESTROY', 0);
    subject.init();
    send('LOOKUP', 1, 'nodes');
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
