import type { ByteSink, ByteSource } from '../../device/bytes.ts';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import * as C from '../../device/fuse/constants.ts';
import { OPERATIONS } from '../../device/fuse/opcodes.ts';
import type { Operation } from '../../device/fuse/operation.ts';
import { DEFERRED, type FuseRequest } from '../../device/fuse/request.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { Volume } from '../../device/index.ts';
import { checkTree } from './check-tree.ts';
import { randomNumbers } from './hostile-driver.ts';
import { lateFileSystem, type Pending } from './late-filesystem.ts';
import { restored } from './restored.ts';

const HEADER = 40;
const OUT_HEADER = 16;
const EBADF = 9,
  ESTALE = 116;
const MESSAGE = 300_000;
/** What one request may read or write: 1 MiB of data, headers and structs. */
const DATA_MAX = 2 ** 20 + 256;
const LIMITS = { size: 32 << 20, inodes: 3000, maxHandles: 300, maxLocks: 200, maxWaiters: 30 };
/** Between two counts of everything, at most. */
const CHECK_EVERY = 20_000;

const NUMBERS = [
  0n,
  1n,
  2n,
  3n,
  8n,
  100n,
  4095n,
  4096n,
  65536n,
  2n ** 20n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 40n,
  2n ** 53n - 4096n,
  2n ** 53n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];
const NAMES = [
  'a',
  'b',
  'c',
  'd',
  'e',
  'f',
  'g',
  'h',
  '',
  '.',
  '..',
  'x/y',
  '/',
  'nul\0inside',
  'l'.repeat(255),
  'l'.repeat(256),
  'l'.repeat(5000),
  '\xff\xfe',
  '\xed\xa0\x80',
  'user.x',
  'trusted.y',
  'security.capability',
  'system.posix_acl_access',
  `user.${'n'.repeat(260)}`,
].map((name) => Uint8Array.from(name, (character) => character.charCodeAt(0)));

const GOOD_NAMES = NAMES.slice(0, 8);
const ATTRIBUTES = NAMES.slice(-5, -1);

/** Requests that wait for the filesystem at once. */
const MAX_PENDING = 60;

export interface Outcome {
  /** Messages by opcode and answer. */
  answers: Map<string, number>;
  deferred: number;
}

/** Keeps account of what a session writes: never more than there is room for, and nowhere else. */
class Room implements ByteSink {
  capacity = 0;
  /** Bytes that were written, in all. */
  written = 0;
  readonly head = new Uint8Array(HEADER + 200);
  readonly view = new DataView(this.head.buffer);
  reach = 0;

  writeAt(position: number, src: Uint8Array, offset: number, length: number): number {
    if (!(position >= 0 && length >= 0 && offset >= 0) || offset + length > src.length)
      throw new Error(`writeAt(${position}, ${src.length} bytes, ${offset}, ${length})`);
    const count = Math.max(0, Math.min(length, this.capacity - position));
    this.reach = Math.max(this.reach, position + count);
    this.written += count;
    if (position < this.head.length)
      this.head.set(src.subarray(offset, offset + Math.min(count, this.head.length - position)), position);
    return count;
  }
}

/** Longer than its bytes it can be, as with descriptors that overlap: the rest is nothing in particular. */
class Message implements ByteSource {
  readonly bytes = new Uint8Array(MESSAGE);
  readonly view = new DataView(this.bytes.buffer);
  length = 0;
  /** Bytes that were read, in all. */
  taken = 0;
  #at = 0;

  get remaining(): number {
    return this.length - this.#at;
  }

  rewind(): void {
    this.#at = 0;
  }

  /** As it is now, for whoever reads on later. */
  copy(): Message {
    const copy = new Message();
    copy.bytes.set(this.bytes);
    copy.length = this.length;
    copy.#at = this.#at;
    return copy;
  }

  read(dst: Uint8Array, offset: number, length: number): number {
    const count = Math.min(length, this.remaining);
    dst.set(this.bytes.subarray(this.#at, this.#at + count), offset);
    this.#at += count;
    this.taken += count;
    return count;
  }
}

/**
 * Sends a session messages that no kernel would send, between some that one could: short, long and false
 * ones of every opcode. At random points, and at the end, all is saved, restored elsewhere and compared.
 * Throws at the first thing that is not as it must be.
 */
export async function sendWildly(seed: number, messages: number, { isLate = false } = {}): Promise<Outcome> {
  const random = randomNumbers(seed);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)]!;
  const filesystem = filesystemOf(new Volume(), { size: LIMITS.size, inodes: LIMITS.inodes, locks: LIMITS });
  const pending: Pending[] = [];
  const late =
    isLate &&
    lateFileSystem(filesystem, { atOnceOneIn: 3, failsOneIn: 60, seed, schedule: (one) => pending.push(one) });
  const session = new FuseSession({
    filesystem: late || filesystem,
    maxHandles: LIMITS.maxHandles,
    locks: 'shared',
    posixAcl: random(2) === 1,
  });
  let fault: unknown;
  session.onError((error) => {
    fault = error;
  });
  const operations = [...OPERATIONS.values()];
  const outcome: Outcome = { answers: new Map(), deferred: 0 };
  const message = new Message();
  const room = new Room();
  const waiting = new Map<bigint, FuseRequest>();
  /** What the session has told the guest, and some that it has not. */
  const nodeids = [1n];
  const handles: { nodeid: bigint; fh: bigint; isDirectory: boolean }[] = [];
  let unique = 0n;
  /** The second file of a COPY_FILE_RANGE. */
  let other: { nodeid: bigint; fh: bigint } | undefined;

  /** A number for a field, by its name: mostly one that means something. */
  const numberFor = (field: string, size: number, handle: { nodeid: bigint; fh: bigint } | undefined): bigint => {
    if (random(12) === 0) return pick(NUMBERS);
    if (/_out$/.test(field) && other && random(10))
      return field === 'fh_out' ? other.fh : field === 'nodeid_out' ? other.nodeid : BigInt(random(200_000));
    if (/^fh/.test(field)) return handle && random(10) ? handle.fh : BigInt(random(400));
    if (/^(newdir|oldnodeid|nodeid)/.test(field)) return pick(nodeids);
    if (/^(off|offset|start|off_in|off_out)$/.test(field)) return random(3) ? BigInt(random(200_000)) : pick(NUMBERS);
    if (/^(size|len|length|end)$/.test(field)) return random(3) ? BigInt(random(20_000)) : pick(NUMBERS);
    if (field === 'owner' || field === 'lock_owner') return BigInt(random(6));
    if (field === 'type') return BigInt(random(4));
    if (field === 'flags' && random(2)) return BigInt(pick([0, 0, 1, 2, 4]));
    if (field === 'whence') return BigInt(random(6));
    if (field === 'unique') return unique - BigInt(random(200));
    if (field === 'nlookup') return BigInt(random(4));
    if (field === 'major') return 7n;
    if (field === 'minor') return BigInt(random(50));
    if (field === 'mode')
      return BigInt(pick([0o100644, 0o40755, 0o120777, 0o10600, 0o20600, 0o644, 0, 1, 3, 8, 16, 32, 0o177777]));
    return BigInt(random(2) ? random(256) : random(2 ** 31)) & ((1n << BigInt(8 * size)) - 1n);
  };

  const compose = (operation: Operation | undefined, opcode: number) => {
    const { view, bytes } = message;
    const isDirectory = /DIR/.test(operation?.name ?? '');
    const candidates = random(10) ? handles.filter((handle) => handle.isDirectory === isDirectory) : handles;
    const handle = candidates.length && random(8) ? pick(candidates) : undefined;
    other = handles.length ? pick(handles) : undefined;
    let at = HEADER;
    if (operation?.input) {
      const { fields, offsets, size } = operation.input;
      bytes.fill(0, at, at + size);
      for (const [field, type] of Object.entries(fields)) {
        const offset = at + offsets[field]!;
        if ('fields' in type) {
          const start = random(200);
          view.setBigUint64(offset, BigInt(start), true);
          view.setBigUint64(offset + 8, random(8) ? BigInt(start + random(200)) : pick(NUMBERS), true);
          view.setUint32(offset + 16, random(20) ? random(3) : random(2 ** 31), true);
        } else if (type.size === 8) view.setBigUint64(offset, BigInt.asUintN(64, numberFor(field, 8, handle)), true);
        else if (type.size === 4) view.setUint32(offset, Number(BigInt.asUintN(32, numberFor(field, 4, handle))), true);
      }
      at +=
        random(30) === 0
          ? random(size + 1)
          : operation.inputSize && random(2)
            ? opcode === C.FUSE_SETXATTR
              ? 8
              : 16
            : size;
    }
    if (opcode === C.FUSE_INIT && random(4)) view.setUint32(HEADER + 12, 0xffffffff, true);
    for (const _ of operation?.strings ?? []) {
      const name = random(4) ? pick(operation!.strings[0] === 'xattr' ? ATTRIBUTES : GOOD_NAMES) : pick(NAMES);
      bytes.set(name, at);
      at += name.length;
      bytes[at++] = random(40) ? 0 : 1;
    }
    if (operation?.tail !== 'none' || random(20) === 0) at += random(20) ? random(6000) : random(250_000);
    if (opcode === C.FUSE_WRITE && at >= HEADER + 40 && random(8)) view.setUint32(HEADER + 16, at - HEADER - 40, true);
    message.length = random(40) ? at : random(at + 1);
    view.setUint32(0, random(40) ? message.length : random(2 ** 31), true);
    view.setUint32(4, opcode, true);
    view.setBigUint64(8, (unique += 2n), true);
    view.setBigUint64(16, random(30) ? (handle?.nodeid ?? pick(nodeids)) : pick(NUMBERS), true);
    view.setUint32(24, random(3) ? 0 : random(2000), true);
    view.setUint32(28, random(3) ? 0 : random(2000), true);
    view.setUint32(32, random(100), true);
    if (random(60) === 0) {
      message.length = 2 ** 20 + random(2 ** 32 - 2 ** 20);
      view.setUint32(0, random(3) ? message.length : 2 ** 17 + random(2 ** 21), true);
      if (opcode === C.FUSE_WRITE) view.setUint32(HEADER + 16, random(message.length), true);
    }
    room.capacity =
      operation?.noReply && random(10)
        ? 0
        : random(60) === 0
          ? 2 ** 32
          : random(6)
            ? 1 << 20
            : pick([0, 8, 16, 24, 80, 160, 400, 4096, 70_000]);
    if (opcode === C.FUSE_READ && random(8) === 0) {
      view.setUint32(HEADER + 16, random(2 ** 24), true);
      room.capacity = 2 ** 32;
    }
  };

  /** What the answer tells a guest to go on with. */
  const learn = (operation: Operation, length: number) => {
    const { view } = room;
    const remember = (nodeid: bigint) =>
      nodeids.length < 100 ? nodeids.push(nodeid) : (nodeids[1 + random(99)] = nodeid);
    const open = (nodeid: bigint, fh: bigint) => {
      handles[handles.length < 60 ? handles.length : random(60)] = {
        nodeid,
        fh,
        isDirectory: operation.opcode === C.FUSE_OPENDIR,
      };
    };
    const asked = message.view.getBigUint64(16, true);
    if (operation.output?.name === 'fuse_entry_out') remember(view.getBigUint64(OUT_HEADER, true));
    if (operation.output?.name === 'fuse_create_out' && length >= OUT_HEADER + 144)
      open(view.getBigUint64(OUT_HEADER, true), view.getBigUint64(OUT_HEADER + 128, true));
    if (operation.output?.name === 'fuse_open_out') open(asked, view.getBigUint64(OUT_HEADER, true));
  };

  /** What the session doesn't know any more is tried seldom. */
  const unlearn = () => {
    const asked = message.view.getBigUint64(16, true);
    const node = nodeids.indexOf(asked, 1);
    if (node > 0) nodeids.splice(node, 1);
    const handle = handles.findIndex(({ nodeid }) => nodeid === asked);
    if (handle >= 0) handles.splice(handle, 1);
  };

  const send = (operation: Operation | undefined, opcode: number) => {
    compose(operation, opcode);
    room.reach = room.written = message.taken = 0;
    message.rewind();
    const most = session.negotiated ? DATA_MAX : C.FUSE_MIN_READ_BUFFER;
    const own = unique;
    let [source, sink] = [message, room];
    const request: FuseRequest = {
      get source() {
        return source;
      },
      get sink() {
        return sink;
      },
      isAwaited: true,
      complete: (written) => {
        waiting.delete(own);
        if (written > sink.capacity || sink.written > DATA_MAX)
          throw new Error(`${written} bytes came later, ${sink.written} were written`);
      },
    };
    const length = session.handle(request);
    // The next message takes its place here.
    if (isLate && length === DEFERRED) {
      const { capacity } = room;
      source = message.copy();
      sink = Object.assign(new Room(), { capacity });
    }
    if (fault) throw fault;
    if (message.taken > most || room.written > DATA_MAX)
      throw new Error(`${message.taken} bytes were read and ${room.written} written for one request`);
    if (length === DEFERRED) {
      waiting.set(own, request);
      outcome.deferred++;
      if (!isLate && waiting.size > LIMITS.maxWaiters) throw new Error(`${waiting.size} requests wait`);
      return;
    }
    const { capacity, view } = room;
    if (!(length >= 0 && length <= capacity)) throw new Error(`a reply of ${length} bytes where ${capacity} have room`);
    let answer = 'no reply';
    if (length > 0) {
      const error = view.getInt32(4, true);
      if (view.getUint32(0, true) !== length || room.reach < length)
        throw new Error(
          `fuse_out_header.len is ${view.getUint32(0, true)}, the reply ${length} bytes, ${room.reach} were written`,
        );
      if (error > 0 || error < -4095 || (error && length !== OUT_HEADER))
        throw new Error(`fuse_out_header.error is ${error} in ${length} bytes`);
      const cut = message.length < 16;
      if (view.getBigUint64(8, true) !== (cut ? view.getBigUint64(8, true) : own))
        throw new Error('fuse_out_header.unique is another request’s');
      answer = String(error);
      if (!error && operation) learn(operation, length);
      else if (error === -ESTALE || error === -EBADF) unlearn();
    } else if (operation && !operation.noReply && capacity >= OUT_HEADER)
      throw new Error('no reply where there is room for one');
    const key = `${operation?.name ?? 'unknown'} ${answer}`;
    outcome.answers.set(key, (outcome.answers.get(key) ?? 0) + 1);
  };

  const init = () => {
    waiting.clear();
    do send(OPERATIONS.get(C.FUSE_INIT), C.FUSE_INIT);
    while (!session.negotiated);
  };

  /** Some of what waits for the filesystem is answered, in any order; or all of it. */
  const answer = async (isAll = false) => {
    do {
      for (let count = isAll ? pending.length : random(pending.length + 1); count > 0; count--)
        pending.splice(random(pending.length), 1)[0]!.perform();
      await new Promise((resolve) => setImmediate(resolve));
      if (fault) throw fault;
    } while (isAll && pending.length);
  };

  let nextCheck = random(CHECK_EVERY);
  for (let n = 0; n < messages; n++) {
    try {
      if (!session.negotiated && random(5)) init();
      const operation = random(50) ? pick(operations) : undefined;
      // What ends a session, or a file's life in it, comes rarely, so that others get far.
      if (operation?.noReply && random(6)) continue;
      if ((operation?.opcode === C.FUSE_INIT || operation?.opcode === C.FUSE_DESTROY) && random(300)) continue;
      if (operation?.opcode === C.FUSE_INIT || operation?.opcode === C.FUSE_DESTROY) waiting.clear();
      send(operation, operation?.opcode ?? (random(2) ? random(64) : random(2 ** 32)));
      if (pending.length > MAX_PENDING || (pending.length && random(30) === 0)) await answer();
      if (n === nextCheck) {
        nextCheck += 1 + random(CHECK_EVERY);
        if (isLate) await answer(true);
        checkTree(filesystem, [session]);
        restored(filesystem, [session]);
        session.restore(FuseSession.checkState(structuredClone(session.state()), filesystem), (request) =>
          waiting.get(request),
        );
        const { handles: open, nodes } = session.state();
        if (open.handles.length > LIMITS.maxHandles || nodes.ino.length > LIMITS.inodes)
          throw new Error(`${open.handles.length} handles, ${nodes.ino.length} nodes`);
        if ([...filesystem.locks.locks()].length > LIMITS.maxLocks) throw new Error('too many locks');
      }
    } catch (error) {
      throw new Error(
        `seed ${seed}, message ${n} (opcode ${message.view.getUint32(4, true)}): ${(error as Error).message}`,
        { cause: error },
      );
    }
  }
  if (isLate) await answer(true);
  restored(filesystem, [session]);
  session.end();
  checkTree(filesystem, [session]);
  return outcome;
}
