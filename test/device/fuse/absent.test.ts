import { expect } from 'chai';
import { BytesSource } from '../../../device/bytes.ts';
import { INIT, INIT_NEWEST } from '../../../device/conformance/message.ts';
import { MemoryFileSystem, partsOf } from '../../../device/filesystems/memory/filesystem.ts';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  O_TRUNC,
} from '../../../device/fs/constants.ts';
import { EINTR, EIO } from '../../../device/fs/errno.ts';
import { FATTR_SIZE } from '../../../device/fuse/constants.ts';
import { FuseSession, type FuseSessionOptions } from '../../../device/fuse/session.ts';
import { checkTree } from '../../support/check-tree.ts';
import { ChunkOrigin, empty } from '../../support/chunk-origin.ts';
import { call } from '../../support/fuse-call.ts';
import { lateFileSystem } from '../../support/late-filesystem.ts';

const CHUNK = 65_536;
const NODE = { mode: 0o100644, uid: 0, gid: 0 };

/** A file of three chunks and a page, all of it elsewhere, opened by a session. */
function start(options: Partial<FuseSessionOptions> = {}, maxContent?: number) {
  const pending: (() => void)[] = [];
  const origin = new ChunkOrigin({ schedule: (answer) => void pending.push(answer) });
  const filesystem = new MemoryFileSystem({ origin, maxContent });
  const bytes = Buffer.alloc(3 * CHUNK + 4096).map((_, at) => (at * 7 + (at >> 9) + (at >> 16)) & 0xff);
  const inode = filesystem.mknod(filesystem.root, 'file', NODE);
  filesystem.write(inode, 0, bytes.length, new BytesSource(bytes));
  const whole = filesystem.state();
  empty(filesystem, origin);
  const { session, nodeid, fh } = open(filesystem, options);
  /** Lets what is on its way arrive, the last first, and what comes of it. */
  const arrive = async () => {
    while (pending.length) {
      pending.pop()!();
      await settled();
    }
  };
  const content = () => {
    const plain = new MemoryFileSystem({ origin });
    plain.restore(plain.checkState(filesystem.state()));
    return plain;
  };
  return { origin, pending, filesystem, inode, bytes, whole, session, nodeid, fh, arrive, content };
}

function open(filesystem: MemoryFileSystem, options: Partial<FuseSessionOptions> = {}) {
  const session = new FuseSession({ filesystem, ...options });
  call(session, 'INIT', 0, INIT_NEWEST);
  const { nodeid } = call(session, 'LOOKUP', 1, 'file').out;
  const { fh } = call(session, 'OPEN', nodeid, { flags: 2 }).out;
  return { session, nodeid, fh };
}

async function settled(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

const text = new TextEncoder().encode('written');

describe('content that is elsewhere', () => {
  it('is fetched when it is read, and only that', async () => {
    const { session, nodeid, fh, origin, bytes, arrive } = start();
    const read = call(session, 'READ', nodeid, { fh, offset: 100, size: 200 });
    expect(read.error, 'at once').to.equal(undefined);
    expect(call(session, 'GETATTR', nodeid).error, 'meanwhile').to.equal(0);
    await arrive();
    expect(read.later).to.equal(0);
    expect(Buffer.from(read.bytes)).to.deep.equal(bytes.subarray(100, 300));
    expect(origin.fetches).to.deep.equal([1]);
    const again = call(session, 'READ', nodeid, { fh, offset: CHUNK - 100, size: 100 });
    expect(again.error, 'it is here now').to.equal(0);
    const across = call(session, 'READ', nodeid, { fh, offset: CHUNK - 100, size: 200 });
    await arrive();
    expect(Buffer.from(across.bytes)).to.deep.equal(bytes.subarray(CHUNK - 100, CHUNK + 100));
    expect(origin.fetches).to.deep.equal([1, 1]);
  });

  it('is fetched once for all who wait for it, whose answers come in any order', async () => {
    const { session, nodeid, fh, origin, bytes, arrive, filesystem } = start();
    const reads = [0, 1, 1, 2, 0].map((n) => ({
      n,
      answer: call(session, 'READ', nodeid, { fh, offset: n * CHUNK, size: 50 }),
    }));
    const both = call(session, 'READ', nodeid, { fh, offset: 2 * CHUNK - 10, size: 20 });
    expect(origin.fetches).to.deep.equal([1, 1, 1]);
    await arrive();
    for (const { n, answer } of reads)
      expect(Buffer.from(answer.bytes)).to.deep.equal(bytes.subarray(n * CHUNK, n * CHUNK + 50));
    expect(Buffer.from(both.bytes)).to.deep.equal(bytes.subarray(2 * CHUNK - 10, 2 * CHUNK + 10));
    checkTree(filesystem, [session]);
  });

  /** What each takes of three chunks and a page: how many are fetched, and what becomes of the file. */
  type Change = (bytes: Buffer) => Buffer;
  const requests: Record<
    string,
    { ask(of: ReturnType<typeof start>): { error?: number; later?: number }; fetched: number; becomes: Change }
  > = {
    'a write to part of a chunk': {
      ask: ({ session, nodeid, fh }) => call(session, 'WRITE', nodeid, { fh, offset: 10, size: 7 }, text),
      fetched: 1,
      becomes: (bytes) => (bytes.set(text, 10), bytes),
    },
    'a write to whole chunks': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'WRITE', nodeid, { fh, offset: 0, size: CHUNK }, new Uint8Array(CHUNK).fill(1)),
      fetched: 0,
      becomes: (bytes) => bytes.fill(1, 0, CHUNK),
    },
    'a write over the end of the file': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'WRITE', nodeid, { fh, offset: 3 * CHUNK, size: 5000 }, new Uint8Array(5000).fill(1)),
      fetched: 0,
      becomes: (bytes) => Buffer.concat([bytes.subarray(0, 3 * CHUNK), Buffer.alloc(5000, 1)]),
    },
    'truncation between chunks': {
      ask: ({ session, nodeid }) => call(session, 'SETATTR', nodeid, { valid: FATTR_SIZE, size: 2 * CHUNK }),
      fetched: 0,
      becomes: (bytes) => bytes.subarray(0, 2 * CHUNK),
    },
    'truncation within one': {
      ask: ({ session, nodeid }) => call(session, 'SETATTR', nodeid, { valid: FATTR_SIZE, size: CHUNK + 5 }),
      fetched: 1,
      becomes: (bytes) => bytes.subarray(0, CHUNK + 5),
    },
    'truncation to nothing': {
      ask: ({ session, nodeid }) => call(session, 'OPEN', nodeid, { flags: 2 | O_TRUNC }),
      fetched: 0,
      becomes: () => Buffer.alloc(0),
    },
    'a larger size': {
      ask: ({ session, nodeid }) => call(session, 'SETATTR', nodeid, { valid: FATTR_SIZE, size: 4 * CHUNK }),
      fetched: 0,
      becomes: (bytes) => Buffer.concat([bytes, Buffer.alloc(CHUNK - 4096)]),
    },
    'allocation of what is there': {
      ask: ({ session, nodeid, fh }) => call(session, 'FALLOCATE', nodeid, { fh, offset: 0, length: 3 * CHUNK }),
      fetched: 0,
      becomes: (bytes) => bytes,
    },
    'allocation of more': {
      ask: ({ session, nodeid, fh }) => call(session, 'FALLOCATE', nodeid, { fh, offset: 100, length: 4 * CHUNK }),
      fetched: 1,
      becomes: (bytes) => Buffer.concat([bytes, Buffer.alloc(CHUNK - 4096 + 100)]),
    },
    'a hole': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'FALLOCATE', nodeid, {
          fh,
          offset: 5000,
          length: CHUNK,
          mode: FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
        }),
      fetched: 2,
      becomes: (bytes) => bytes.fill(0, 5000, 5000 + CHUNK),
    },
    'zeros in place of whole chunks': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'FALLOCATE', nodeid, { fh, offset: CHUNK, length: CHUNK, mode: FALLOC_FL_ZERO_RANGE }),
      fetched: 0,
      becomes: (bytes) => bytes.fill(0, CHUNK, 2 * CHUNK),
    },
    'zeros within chunks': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'FALLOCATE', nodeid, { fh, offset: CHUNK - 1, length: 2, mode: FALLOC_FL_ZERO_RANGE }),
      fetched: 2,
      becomes: (bytes) => bytes.fill(0, CHUNK - 1, CHUNK + 1),
    },
    'a collapsed range': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'FALLOCATE', nodeid, { fh, offset: 4096, length: CHUNK, mode: FALLOC_FL_COLLAPSE_RANGE }),
      fetched: 2,
      becomes: (bytes) => Buffer.concat([bytes.subarray(0, 4096), bytes.subarray(4096 + CHUNK)]),
    },
    'an inserted range': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'FALLOCATE', nodeid, { fh, offset: 4096, length: CHUNK, mode: FALLOC_FL_INSERT_RANGE }),
      fetched: 1,
      becomes: (bytes) => Buffer.concat([bytes.subarray(0, 4096), Buffer.alloc(CHUNK), bytes.subarray(4096)]),
    },
    'a copy of whole chunks': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'COPY_FILE_RANGE', nodeid, {
          fh_in: fh,
          off_in: 0,
          nodeid_out: nodeid,
          fh_out: fh,
          off_out: CHUNK,
          len: CHUNK,
        }),
      fetched: 0,
      becomes: (bytes) => (bytes.copyWithin(CHUNK, 0, CHUNK), bytes),
    },
    'a copy of parts': {
      ask: ({ session, nodeid, fh }) =>
        call(session, 'COPY_FILE_RANGE', nodeid, {
          fh_in: fh,
          off_in: 0,
          nodeid_out: nodeid,
          fh_out: fh,
          off_out: CHUNK + 1,
          len: 100,
        }),
      fetched: 2,
      becomes: (bytes) => (bytes.copyWithin(CHUNK + 1, 0, 100), bytes),
    },
    'a search for a hole': {
      ask: ({ session, nodeid, fh }) => call(session, 'LSEEK', nodeid, { fh, offset: 0, whence: 4 }),
      fetched: 0,
      becomes: (bytes) => bytes,
    },
  };
  for (const [what, { ask, fetched, becomes }] of Object.entries(requests)) {
    it(`${what} fetches ${fetched || 'nothing'}`, async () => {
      const all = start();
      const { origin, arrive, filesystem, session, bytes, nodeid, fh } = all;
      const answer = ask(all);
      expect(answer.error, 'at once').to.equal(fetched ? undefined : 0);
      expect(session.changing, 'nothing has begun').to.deep.equal([]);
      await arrive();
      if (fetched) expect(answer.later).to.equal(0);
      expect(origin.fetches.reduce((sum, count) => sum + count, 0)).to.equal(fetched);
      const expected = becomes(Buffer.from(bytes));
      const parts: Uint8Array[] = [];
      for (let offset = 0; ; offset += 60_000) {
        const read = call(session, 'READ', nodeid, { fh, offset, size: 60_000 });
        await arrive();
        parts.push(read.bytes);
        if (read.bytes.length < 60_000) break;
      }
      expect(Buffer.compare(Buffer.concat(parts), expected)).to.equal(0);
      checkTree(filesystem, [session]);
    });

    it(`${what}, when nothing can be fetched, ${fetched ? 'is EIO, and changes nothing' : 'works'}`, async () => {
      const all = start();
      const { origin, arrive, filesystem, session } = all;
      origin.fails = () => true;
      const before = JSON.stringify(filesystem.state().ranges.map(({ files, inodes }) => [files, inodes]));
      const answer = ask(all);
      await arrive();
      if (!fetched) return void expect(answer.error).to.equal(0);
      expect(answer.later).to.equal(-EIO);
      expect(JSON.stringify(filesystem.state().ranges.map(({ files, inodes }) => [files, inodes]))).to.equal(before);
      checkTree(filesystem, [session]);
      origin.fails = () => false;
      const again = ask(all);
      await arrive();
      expect(again.later, 'when it can be fetched').to.equal(0);
    });
  }

  it('one that can’t be had fails those who need it, and not those who wait for others of the same fetch', async () => {
    const { session, nodeid, fh, origin, pending, bytes } = start();
    let fails = true;
    origin.fails = () => fails;
    const wide = call(session, 'READ', nodeid, { fh, offset: CHUNK - 10, size: 20 });
    const narrow = call(session, 'READ', nodeid, { fh, offset: CHUNK, size: 20 });
    expect(origin.fetches).to.deep.equal([2]);
    pending.pop()!();
    await settled();
    expect(wide.later).to.equal(-EIO);
    expect(narrow.later).to.equal(undefined);
    expect(origin.fetches).to.deep.equal([2, 1]);
    fails = false;
    pending.pop()!();
    await settled();
    expect(Buffer.from(narrow.bytes)).to.deep.equal(bytes.subarray(CHUNK, CHUNK + 20));
  });

  it('what an origin throws that is no FsError is EIO, and the host is told', async () => {
    const { session, nodeid, fh, origin } = start();
    const errors: unknown[] = [];
    session.onError((error) => errors.push(error));
    const broken = new Error('broken');
    origin.fetch = () => {
      throw broken;
    };
    const read = call(session, 'READ', nodeid, { fh, size: 20 });
    await settled();
    expect(read.later).to.equal(-EIO);
    expect(errors).to.deep.equal([broken]);
    origin.fetch = async (wanted) => wanted.map(() => new Uint8Array(1));
    const short = call(session, 'READ', nodeid, { fh, size: 20 });
    await settled();
    expect(short.later).to.equal(-EIO);
  });

  it('INTERRUPT takes back whatever waits for it', async () => {
    const { session, nodeid, fh, arrive, filesystem, inode } = start();
    const uniques: bigint[] = [];
    session.onTrace(({ unique }) => uniques.push(unique));
    call(session, 'GETATTR', nodeid);
    const write = call(session, 'WRITE', nodeid, { fh, offset: 1, size: 7 }, text);
    call(session, 'INTERRUPT', 0, { unique: uniques[0]! + 2n });
    expect(write.later).to.equal(-EINTR);
    const before = filesystem.getattr(inode).mtime;
    await arrive();
    expect(filesystem.getattr(inode).mtime).to.deep.equal(before);
    checkTree(filesystem, [session]);
  });

  for (const [what, end] of [
    ['the end of the session', (session: FuseSession) => session.end()],
    ['DESTROY', (session: FuseSession) => void call(session, 'DESTROY', 0)],
    ['another INIT', (session: FuseSession) => void call(session, 'INIT', 0, INIT)],
  ] as const) {
    it(`after ${what} nothing is answered or changed`, async () => {
      const { session, nodeid, fh, arrive, origin, filesystem, inode } = start({}, 2 * CHUNK);
      const answers = [
        ...[0, 1, 2].map((n) => call(session, 'WRITE', nodeid, { fh, offset: n * CHUNK + 1, size: 7 }, text)),
        ...[0, 1, 2].map((n) => call(session, 'READ', nodeid, { fh, offset: n * CHUNK + 1, size: 7 })),
      ];
      const { mtime } = filesystem.getattr(inode);
      end(session);
      await arrive();
      for (const { later } of answers) expect(later).to.equal(undefined);
      expect(filesystem.getattr(inode).mtime).to.deep.equal(mtime);
      expect(origin.fetches.length, 'what waited for room is not fetched').to.equal(1);
      checkTree(filesystem, [session]);
    });
  }

  it('hundreds of guests that ask and reset have no more on the way than there may be', async () => {
    const { filesystem, origin, arrive } = start({}, 2 * CHUNK);
    for (let n = 0; n < 200; n++) {
      const { session, nodeid, fh } = open(filesystem);
      for (let chunk = 0; chunk < 3; chunk++) call(session, 'READ', nodeid, { fh, offset: chunk * CHUNK, size: 10 });
      session.close();
    }
    expect(origin.fetches.length).to.be.at.most(2);
    await arrive();
    expect(origin.most).to.be.at.most(2 * CHUNK);
    const { session, nodeid, fh } = open(filesystem);
    const read = call(session, 'READ', nodeid, { fh, offset: 2 * CHUNK, size: 10 });
    await arrive();
    expect(read.error ?? read.later).to.equal(0);
  });

  it('an answer that comes while the machine is paused is given when it runs, and what waits is in snapshots', async () => {
    const late: (() => void)[] = [];
    let isRunning = true;
    const deliver = (action: () => void) => (isRunning ? action() : void late.push(action));
    const { session, nodeid, fh, arrive, filesystem, inode, content, bytes } = start({ deliver }, 2 * CHUNK);
    const write = call(session, 'WRITE', nodeid, { fh, offset: 1, size: 7 }, text);
    isRunning = false;
    await arrive();
    expect(write.later).to.equal(undefined);
    expect(session.changing).to.deep.equal([]);
    const twin = content();
    const other = open(twin);
    isRunning = true;
    for (const action of late.splice(0)) action();
    // It may be here no more.
    await arrive();
    expect(write.later).to.equal(0);
    const read = call(session, 'READ', nodeid, { fh, offset: 0, size: 10 });
    expect(Buffer.from(read.bytes).toString('latin1')).to.contain('written');
    const old = call(other.session, 'READ', other.nodeid, { fh: other.fh, offset: 0, size: 10 });
    await arrive();
    expect(Buffer.from(old.bytes)).to.deep.equal(bytes.subarray(0, 10));
    checkTree(filesystem, [session]);
    expect(filesystem.getattr(inode).size).to.equal(bytes.length);
  });

  it('a guest is not notified about its own changes, however late they are made', async () => {
    const { filesystem, arrive } = start();
    const session = new FuseSession({ filesystem });
    session.notifies = true;
    const told: number[] = [];
    call(session, 'INIT', 0, INIT_NEWEST);
    const { nodeid } = call(session, 'LOOKUP', 1, 'file').out;
    const { fh } = call(session, 'OPEN', nodeid, { flags: 2 }).out;
    session.onNotifications = () => told.push(1);
    const write = call(session, 'WRITE', nodeid, { fh, offset: 1, size: 7 }, text);
    await arrive();
    expect(write.later).to.equal(0);
    await settled();
    expect(told).to.deep.equal([]);
    filesystem.setattr(filesystem.inode(nodeid)!, { size: 0 });
    await settled();
    expect(told, 'but about those of others').to.have.length.above(0);
  });

  it('a filesystem that promises answers may find out later that content is elsewhere', async () => {
    const { filesystem, arrive, bytes, session: other } = start();
    const session = new FuseSession({
      filesystem: lateFileSystem(filesystem, { schedule: ({ perform }) => setImmediate(perform) }),
    });
    const later = async <T extends { error?: number; later?: number }>(answer: T): Promise<T> => {
      while (answer.error === undefined && answer.later === undefined) {
        await settled();
        await arrive();
      }
      return answer;
    };
    await later(call(session, 'INIT', 0, INIT_NEWEST));
    const { nodeid } = (await later(call(session, 'LOOKUP', 1, 'file'))).out;
    const { fh } = (await later(call(session, 'OPEN', nodeid, { flags: 2 }))).out;
    const read = call(session, 'READ', nodeid, { fh, offset: 5, size: 10 });
    const write = call(session, 'WRITE', nodeid, { fh, offset: CHUNK + 1, size: 7 }, text);
    await later(read);
    expect(Buffer.from(read.bytes)).to.deep.equal(bytes.subarray(5, 15));
    expect((await later(write)).later).to.equal(0);
    expect(session.changing).to.deep.equal([]);
    checkTree(filesystem, [session, other]);
  });

  it('stays within its limit while everything is read, and what was used last stays', async () => {
    const { session, nodeid, fh, arrive, origin, filesystem } = start({}, 2 * CHUNK + 2048);
    const { fetched } = partsOf(filesystem).table.space;
    const read = async (chunk: number) => {
      const before = origin.fetches.length;
      call(session, 'READ', nodeid, { fh, offset: chunk * CHUNK, size: 10 });
      await arrive();
      expect(fetched!.bytes).to.be.at.most(2 * CHUNK + 2048);
      return origin.fetches.length - before;
    };
    for (const chunk of [0, 1, 2]) expect(await read(chunk)).to.equal(1);
    expect(await read(2)).to.equal(0);
    expect(await read(1)).to.equal(0);
    expect(await read(0)).to.equal(1);
    expect(await read(1)).to.equal(0);
    const all = call(session, 'READ', nodeid, { fh, offset: 10, size: 65_000 });
    await arrive();
    expect(all.error ?? all.later).to.equal(0);
  });

  it('what is written is never dropped, and snapshots have that alone', async () => {
    const { session, nodeid, fh, arrive, filesystem, inode } = start({}, CHUNK);
    const write = call(session, 'WRITE', nodeid, { fh, offset: CHUNK + 1, size: 7 }, text);
    await arrive();
    expect(write.later).to.equal(0);
    for (const chunk of [0, 2, 3, 0, 2]) {
      call(session, 'READ', nodeid, { fh, offset: chunk * CHUNK, size: 10 });
      await arrive();
    }
    const again = call(session, 'READ', nodeid, { fh, offset: CHUNK, size: 10 });
    expect(again.error).to.equal(0);
    expect(Buffer.from(again.bytes).toString('latin1')).to.contain('written');
    const bytes = filesystem.state().ranges.flatMap(({ chunks }) => chunks?.bytes ?? []);
    expect(bytes.map((own) => own instanceof Uint8Array)).to.deep.equal([false, true, false, false]);
    expect(filesystem.getattr(inode).blocks).to.equal((3 * CHUNK + 4096) / 512);
  });

  it('what a small file has is told to the origin once, when it is read', async () => {
    const { session, nodeid, fh, arrive, origin } = start();
    for (let offset = 0; offset < 3 * CHUNK; offset += 16_384) {
      call(session, 'READ', nodeid, { fh, offset, size: 16_384 });
      await arrive();
    }
    expect(origin.hints[0]!.reduce((sum, length) => sum + length, 0)).to.equal(3 * CHUNK + 4096);
    const count = origin.hints.length;
    for (const offset of [90_000, 10, 150_000]) {
      call(session, 'READ', nodeid, { fh, offset, size: 100 });
      await arrive();
    }
    expect(origin.hints.length, 'at random').to.equal(count);
  });
});
