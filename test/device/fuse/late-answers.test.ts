import { expect } from 'chai';
import { BytesSink, BytesSource } from '../../../device/bytes.ts';
import { type Body, INIT_NEWEST, message, type OperationName } from '../../../device/conformance/message.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import { EINTR, EIO } from '../../../device/fs/errno.ts';
import type { Watcher } from '../../../device/fs/filesystem.ts';
import * as C from '../../../device/fuse/constants.ts';
import { fuse_direntplus } from '../../../device/fuse/layouts.ts';
import { DEFERRED, type FuseRequest } from '../../../device/fuse/request.ts';
import { FuseSession, type FuseSessionOptions } from '../../../device/fuse/session.ts';
import { checkTree } from '../../support/check-tree.ts';
import { type Answer, call } from '../../support/fuse-call.ts';
import { lateFileSystem, type Pending } from '../../support/late-filesystem.ts';

const NODE = { uid: 0, gid: 0 };

function start(options: Partial<FuseSessionOptions> = {}) {
  const files = new MemoryFileSystem();
  const pending: Pending[] = [];
  const filesystem = lateFileSystem(files, { schedule: (one) => pending.push(one) });
  const session = new FuseSession({ filesystem, ...options });
  const begin = () => call(session, 'INIT', 0, INIT_NEWEST);
  begin();
  /** Performs what was asked for first, or is of this name, and lets its answer arrive. */
  const perform = async (name?: string) => {
    const at = name === undefined ? 0 : pending.findIndex((one) => one.name === name);
    const [one] = pending.splice(at, 1);
    if (!one) throw new Error(`nothing waits for ${name}`);
    one.perform();
    await arrived();
  };
  const errors: unknown[] = [];
  session.onError((error) => errors.push(error));
  const settled = async <O extends OperationName>(answer: Answer<O>) => {
    if (answer.error === undefined) await perform();
    return answer;
  };
  /** Makes a file and opens it. */
  const create = async (name: string) => {
    const { later, out } = await settled(call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, name));
    expect(later).to.equal(0);
    return { nodeid: out.entry.nodeid, fh: out.open.fh };
  };
  return { files, filesystem, session, pending, perform, begin, create, settled, errors };
}

/** Everything that promises do next. */
async function arrived(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('answers that come later', () => {
  it('in any order: each goes to its own request', async () => {
    const { files, session, pending, perform } = start();
    for (const name of ['a', 'b', 'c']) files.mknod(files.root, name, { mode: 0o100644, ...NODE });
    const answers = ['a', 'b', 'c', 'd'].map((name) => call(session, 'LOOKUP', 1, name));
    expect(answers.map(({ error }) => error)).to.deep.equal([undefined, undefined, undefined, undefined]);
    pending.reverse();
    for (let n = 0; n < 4; n++) await perform();
    expect(answers.map(({ later }) => later)).to.deep.equal([0, 0, 0, -2]);
    for (const [n, name] of ['a', 'b', 'c'].entries())
      expect(answers[n]!.out.nodeid).to.equal(files.lookup(files.root, name)!.ino);
    checkTree(files, [session]);
  });

  describe('while the guest is told of changes', () => {
    const FOREVER = 2 ** 32;
    /** Answers wait in `late` while it is there, as those of a stopped machine. */
    function watched() {
      const stopped: { late?: (() => void)[] } = {};
      const all = start({ deliver: (action) => void (stopped.late?.push(action) ?? action()) });
      Object.assign(all.filesystem, { watch: (watcher: Watcher) => all.files.watch(watcher) });
      all.session.notifies = true;
      const { files, session, perform } = all;
      const file = files.mknod(files.root, 'file', { mode: 0o100644, ...NODE });
      const change = () => files.setattr(file, { size: file.size + 1 });
      const ask = async <O extends OperationName>(meanwhile: () => void, operation: O, ...body: Body<O>) => {
        const answer = call(session, operation, 1, ...body);
        while (answer.later === undefined) {
          all.pending.shift()!.perform();
          meanwhile();
          await arrived();
        }
        return answer;
      };
      return { ...all, stopped, change, ask, perform };
    }

    it('are believed for good when nothing has changed meanwhile', async () => {
      const { change, ask } = watched();
      change();
      for (let n = 0; n < 2; n++)
        expect((await ask(() => {}, 'LOOKUP', 'file')).out).to.include({ attr_valid: FOREVER, entry_valid: FOREVER });
      expect((await ask(() => {}, 'LOOKUP', 'none')).out).to.include({ nodeid: 0, entry_valid: FOREVER });
    });

    for (const [what, act] of [
      ['a file that the guest does not know yet', ({ change }) => change()],
      ['a name', ({ files }) => files.mknod(files.root, `new ${files.root.directory!.length}`, { mode: 0, ...NODE })],
      ['everything', ({ files }) => files.restore(files.checkState(structuredClone(files.state())))],
    ] as [string, (of: ReturnType<typeof watched>) => void][])
      it(`are not believed when ${what} has changed meanwhile, and the next ones are`, async () => {
        const all = watched();
        const { ask } = all;
        for (const [meanwhile, timeout] of [
          [() => act(all), 0],
          [() => {}, FOREVER],
        ] as const) {
          const valid = { attr_valid: timeout, entry_valid: timeout };
          expect((await ask(meanwhile, 'LOOKUP', 'none')).out).to.include({ nodeid: 0, entry_valid: timeout });
          expect((await ask(meanwhile, 'LOOKUP', 'file')).out).to.include(valid);
          expect((await ask(meanwhile, 'GETATTR', {})).out.attr_valid).to.equal(timeout);
          const { fh } = (await ask(() => {}, 'OPENDIR', {})).out;
          const seen: number[] = [];
          for (let offset = 0, isOver = false; !isOver; ) {
            const { payload } = await ask(meanwhile, 'READDIRPLUS', { fh, offset, size: 1000 });
            isOver = payload.byteLength === 0;
            for (let at = 0; at < payload.byteLength; ) {
              const { entry_out, dirent } = fuse_direntplus.at(payload, at);
              if (entry_out.nodeid) seen.push(entry_out.entry_valid, entry_out.attr_valid);
              offset = dirent.off;
              at += Math.ceil((fuse_direntplus.size + dirent.namelen) / 8) * 8;
            }
          }
          expect(new Set(seen)).to.deep.equal(new Set([timeout]));
        }
        checkTree(all.files, [all.session]);
      });

    it('are not believed either when it has changed while they waited for the machine to run', async () => {
      const { session, stopped, perform, change } = watched();
      const answer = call(session, 'LOOKUP', 1, 'file');
      stopped.late = [];
      await perform();
      change();
      expect(answer.later).to.equal(undefined);
      const { late } = stopped;
      delete stopped.late;
      for (const action of late) action();
      expect(answer.out).to.include({ attr_valid: 0, entry_valid: 0 });
    });
  });

  it('do not keep others waiting', async () => {
    const { session, create, perform } = start({ locks: 'shared' });
    const { nodeid, fh } = await create('f');
    const read = call(session, 'READ', nodeid, { fh, size: 100 });
    expect(call(session, 'SETLK', nodeid, { fh, owner: 1n, lk: { end: 9n, type: 1, pid: 1 } }).error).to.equal(0);
    await perform();
    expect(read.later).to.equal(0);
  });

  it('INTERRUPT takes back what changes nothing, and its answer is dropped', async () => {
    const { files, session, pending, perform } = start();
    files.mknod(files.root, 'a', { mode: 0o100644, ...NODE });
    const uniques: bigint[] = [];
    session.onTrace(({ unique }) => uniques.push(unique));
    const answer = call(session, 'LOOKUP', 1, 'a');
    call(session, 'INTERRUPT', 0, { unique: uniques.at(-1)! });
    expect(answer.later).to.equal(-EINTR);
    await perform();
    expect(session.state().nodes.ino).to.have.length(0);
    const written = call(session, 'MKDIR', 1, { mode: 0o755 }, 'd');
    call(session, 'INTERRUPT', 0, { unique: uniques.at(-1)! });
    expect(written.later, 'MKDIR').to.equal(undefined);
    expect(session.changing).to.deep.equal(['MKDIR']);
    await perform();
    expect(written.later).to.equal(0);
    expect(pending).to.deep.equal([]);
    checkTree(files, [session]);
  });

  it('FORGET lets go of what a request works on, when that is done', async () => {
    const { files, session, create, perform } = start();
    const { nodeid, fh } = await create('f');
    const read = call(session, 'READ', nodeid, { fh, size: 100 });
    call(session, 'RELEASE', nodeid, { fh });
    call(session, 'FORGET', nodeid, { nlookup: 1 });
    files.unlink(files.root, 'f');
    expect(files.inode(nodeid)).not.to.equal(undefined);
    await perform('read');
    expect(read.later).to.equal(0);
    expect(files.inode(nodeid)).to.equal(undefined);
    checkTree(files, [session]);
  });

  for (const [what, end] of [
    ['DESTROY', (session: FuseSession) => void call(session, 'DESTROY', 0)],
    ['the end of the session', (session: FuseSession) => session.end()],
    ['another INIT', (_session: FuseSession, begin: () => void) => begin()],
  ] as const) {
    it(`after ${what} nothing is answered, and nothing is held`, async () => {
      const { files, session, pending, begin, create } = start();
      const closed: number[] = [];
      const { nodeid, fh } = await create('f');
      Object.assign(session.filesystem, { close: (_: unknown, flags: number) => closed.push(flags) });
      const sink: Pick<Answer, 'later'>[] = [
        call(session, 'LOOKUP', 1, 'f'),
        call(session, 'OPEN', nodeid),
        call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'g'),
        call(session, 'TMPFILE', 1, { flags: 2, mode: 0o100644 }, ''),
        call(session, 'OPENDIR', 1),
        call(session, 'READ', nodeid, { fh, size: 10 }),
        call(session, 'WRITE', nodeid, { fh, size: 3 }, Uint8Array.of(1, 2, 3)),
      ];
      end(session, begin);
      for (const { perform } of pending.splice(0)) perform();
      await arrived();
      expect(sink.map(({ later }) => later)).to.deep.equal(sink.map(() => undefined));
      expect(session.changing).to.deep.equal([]);
      // One handle was there, and three answers have opened what nobody wants any more.
      expect(closed).to.have.members([2, 0, 2, 2]);
      expect([...files.inodes()].map(({ ino, nlink }) => nlink > 0 || ino)).to.not.include.members([3]);
      checkTree(files, [session]);
    });
  }

  it('a request that was abandoned is not read or written any more', async () => {
    const { session, create, pending, errors } = start();
    const { nodeid, fh } = await create('f');
    let touched = 0;
    const request = {
      source: {
        remaining: 100,
        read: (dst: Uint8Array, offset: number, length: number) => {
          touched++;
          const part = sent.subarray(at, at + length);
          dst.set(part, offset);
          at += part.length;
          return part.length;
        },
        rewind: () => void (at = 0),
      },
      sink: {
        capacity: 4096,
        writeAt: (_: number, __: Uint8Array, ___: number, length: number) => (touched++, length),
      },
      isAwaited: true,
      complete: () => touched++,
    };
    const sent = new Uint8Array(120);
    const view = new DataView(sent.buffer);
    let at = 0;
    view.setUint32(0, 100, true);
    view.setUint32(4, C.FUSE_WRITE, true);
    view.setBigUint64(16, BigInt(nodeid), true);
    view.setBigUint64(40, BigInt(fh), true);
    view.setUint32(56, 20, true);
    session.handle(request);
    session.abandon(request);
    touched = 0;
    pending[0]!.perform();
    await arrived();
    expect(touched).to.equal(0);
    expect(errors).to.deep.equal([]);
  });

  it('what fails is an errno, and what should not is EIO and told', async () => {
    const { session, pending, errors, filesystem, perform } = start();
    const answer = call(session, 'LOOKUP', 1, 'a');
    pending.shift()!.fail();
    await arrived();
    expect(answer.later).to.equal(-EIO);
    expect(errors).to.deep.equal([]);
    const fault = new Error('the disk is on fire');
    Object.assign(filesystem, { lookup: () => Promise.reject(fault) });
    const other = call(session, 'LOOKUP', 1, 'a');
    await arrived();
    expect([other.later, errors]).to.deep.equal([-EIO, [fault]]);
    expect(perform).to.be.a('function');
  });

  it('thousands wait, and each keeps a few bytes', async () => {
    const { session, pending } = start();
    const before = process.memoryUsage().arrayBuffers;
    const answers = Array.from({ length: 5000 }, (_, n) => call(session, 'LOOKUP', 1, `name${n}`));
    const grown = (process.memoryUsage().arrayBuffers - before) / answers.length;
    // The replies of this test are 70,000 bytes each; a message of 128 KiB and a reply of 64 KiB would come on top.
    expect(grown).to.be.below(100_000);
    for (const { perform } of pending.splice(0)) perform();
    await arrived();
    expect(answers.every(({ later }) => later === -2)).to.equal(true);
  });

  it('what is read while the machine is stopped does not get into its memory, and is read again when it runs', async () => {
    let isRunning = true;
    const held: (() => void)[] = [];
    const { files, session, pending, perform, create } = start({
      deliver: (action) => (isRunning ? action() : void held.push(action)),
    });
    const { nodeid, fh } = await create('f');
    const file = files.lookup(files.root, 'f')!;
    const write = (text: string) => files.write(file, 0, text.length, new BytesSource(new TextEncoder().encode(text)));
    write('first');
    const room = new Uint8Array(100);
    let length = 0;
    const request: FuseRequest = {
      source: new BytesSource(message('READ', { unique: 9998n, nodeid }, { fh, size: 50 })),
      sink: new BytesSink(room),
      isAwaited: true,
      complete: (written) => void (length = written),
    };
    expect(session.handle(request)).to.equal(DEFERRED);
    isRunning = false;
    await perform('read');
    expect([room.every((byte) => byte === 0), length, pending.length]).to.deep.equal([true, 0, 0]);
    write('other');
    isRunning = true;
    for (const action of held.splice(0)) action();
    await arrived();
    expect(length).to.equal(0);
    await perform('read');
    expect(new TextDecoder().decode(room.subarray(16, length))).to.equal('other');
    checkTree(files, [session]);
  });

  it('come when the machine runs', async () => {
    let isRunning = true;
    const held: (() => void)[] = [];
    const { session, perform } = start({ deliver: (action) => (isRunning ? action() : void held.push(action)) });
    const answer = call(session, 'MKDIR', 1, { mode: 0o755 }, 'd');
    isRunning = false;
    await perform();
    expect([answer.later, session.changing]).to.deep.equal([undefined, ['MKDIR']]);
    for (const action of held) action();
    expect([answer.later, session.changing]).to.deep.equal([0, []]);
  });
});
