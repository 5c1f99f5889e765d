import { expect } from 'chai';
import { BytesSource } from '../../../device/bytes.ts';
import { INIT_NEWEST } from '../../../device/conformance/message.ts';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import * as C from '../../../device/fuse/constants.ts';
import { fuse_lk_out } from '../../../device/fuse/layouts.ts';
import type { FuseRequest } from '../../../device/fuse/request.ts';
import { FuseSession, type FuseSessionOptions } from '../../../device/fuse/session.ts';
import { Volume } from '../../../device/index.ts';
import { type Answer, call } from '../../support/fuse-call.ts';

const F_RDLCK = 0,
  F_WRLCK = 1,
  F_UNLCK = 2;
const EAGAIN = -11,
  EINTR = -4,
  ENOSYS = -38,
  EBADF = -9;

function start(volume = new Volume(), locks: 'guest' | 'shared' = 'shared', options: Partial<FuseSessionOptions> = {}) {
  const filesystem = filesystemOf(volume);
  const session = new FuseSession({ filesystem, locks, ...options });
  call(session, 'INIT', 0, INIT_NEWEST);
  const open = () => {
    const { entry, open: opened } = call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, 'f').out;
    return { nodeid: entry.nodeid, fh: opened.fh };
  };
  const ask = (
    operation: 'GETLK' | 'SETLK' | 'SETLKW',
    { nodeid, fh }: ReturnType<typeof open>,
    owner: number,
    type: number,
    { flags = 0, start: from = 0n, end = 2n ** 63n - 1n } = {},
  ): Answer =>
    call(session, operation, nodeid, { fh, owner, lk: { start: from, end, type, pid: 4711 }, lk_flags: flags });
  return { session, open, ask };
}

describe('locks that are kept here (locks `shared`)', () => {
  it('POSIX locks end with FLUSH of their owner, OFD locks with RELEASE, flock with its owner’s', () => {
    const { session, open, ask } = start();
    const [a, b] = [open(), open()];
    ask('SETLK', a, 1, F_WRLCK);
    call(session, 'FLUSH', a.nodeid, { fh: a.fh, lock_owner: 2n });
    expect(ask('SETLK', b, 2, F_WRLCK).error, 'FLUSH of another').to.equal(EAGAIN);
    call(session, 'FLUSH', a.nodeid, { fh: a.fh, lock_owner: 1n });
    expect(ask('SETLK', b, 2, F_WRLCK).error).to.equal(0);
    expect(ask('SETLK', a, 1, F_WRLCK, { flags: C.FUSE_LK_FLOCK }).error, 'flock is another space').to.equal(0);
    call(session, 'RELEASE', b.nodeid, { fh: b.fh });
    expect(ask('SETLK', a, 3, F_WRLCK).error, 'taken through b').to.equal(0);
    const c = open();
    expect(ask('SETLK', c, 5, F_RDLCK, { flags: C.FUSE_LK_FLOCK }).error).to.equal(EAGAIN);
    call(session, 'RELEASE', a.nodeid, { fh: a.fh, release_flags: C.FUSE_RELEASE_FLOCK_UNLOCK, lock_owner: 1n });
    expect(ask('SETLK', c, 5, F_RDLCK, { flags: C.FUSE_LK_FLOCK }).error).to.equal(0);
  });

  it('GETLK tells range, kind and pid; of another guest’s, pid 0', () => {
    const volume = new Volume();
    const [one, two] = [start(volume), start(volume)];
    const told = ({ payload }: Answer) => fuse_lk_out.at(payload, 0).lk;
    one.ask('SETLK', one.open(), 1, F_WRLCK, { start: 10n, end: 19n });
    expect(told(one.ask('GETLK', one.open(), 2, F_RDLCK))).to.include({
      type: F_WRLCK,
      start: 10n,
      end: 19n,
      pid: 4711,
    });
    expect(told(two.ask('GETLK', two.open(), 1, F_RDLCK))).to.include({
      type: F_WRLCK,
      start: 10n,
      end: 19n,
      pid: 0,
    });
    expect(told(two.ask('GETLK', two.open(), 1, F_RDLCK, { start: 20n }))).to.include({
      type: F_UNLCK,
    });
  });

  it('SETLKW waits across guests, and is answered when the other one gives up, or ends', () => {
    for (const end of ['unlock', 'close'] as const) {
      const volume = new Volume();
      const [one, two] = [start(volume), start(volume)];
      const file = one.open();
      one.ask('SETLK', file, 1, F_WRLCK);
      const answer = two.ask('SETLKW', two.open(), 1, F_WRLCK);
      expect([answer.error, answer.later]).to.deep.equal([undefined, undefined]);
      if (end === 'unlock') one.ask('SETLK', file, 1, F_UNLCK);
      else one.session.close();
      expect(answer.later).to.equal(0);
    }
  });

  it('who gets one while his machine is stopped is told when it runs, wherever that is then', () => {
    const volume = new Volume();
    let isRunning = true;
    const late: (() => void)[] = [];
    const deliver = (action: () => void) => (isRunning ? action() : void late.push(action));
    const [one, two] = [start(volume), start(volume, 'shared', { deliver })];
    const [file, theirs] = [one.open(), two.open()];
    const waitingState = () => FuseSession.checkState(structuredClone(two.session.state()), filesystemOf(volume));
    one.ask('SETLK', file, 1, F_WRLCK);
    const answer = two.ask('SETLKW', theirs, 1, F_WRLCK);
    const before = waitingState();
    isRunning = false;
    one.ask('SETLK', file, 1, F_UNLCK);
    expect(answer.later).to.equal(undefined);
    expect(one.ask('SETLK', file, 1, F_WRLCK).error, 'it has the lock').to.equal(EAGAIN);
    const after = waitingState();
    expect(after.waiters).to.deep.equal([{ ...before.waiters[0], waiter: 0 }]);

    const answers: number[] = [];
    const request: FuseRequest = {
      source: new BytesSource(new Uint8Array(0)),
      sink: { capacity: 16, writeAt: (_, bytes) => answers.push(new DataView(bytes.buffer).getInt32(4, true)) },
      isAwaited: true,
      complete: () => {},
    };
    two.session.restore(after, () => request);
    for (const action of late.splice(0)) action();
    expect([answer.later, answers]).to.deep.equal([undefined, [0]]);
  });

  it('a machine that goes back while it is stopped is not told of what came after', () => {
    const volume = new Volume();
    let isRunning = true;
    const late: (() => void)[] = [];
    const deliver = (action: () => void) => (isRunning ? action() : void late.push(action));
    const [one, two] = [start(volume), start(volume, 'shared', { deliver })];
    const [file, theirs] = [one.open(), two.open()];
    one.ask('SETLK', file, 1, F_WRLCK);
    const answer = two.ask('SETLKW', theirs, 1, F_WRLCK);
    const before = FuseSession.checkState(structuredClone(two.session.state()), filesystemOf(volume));
    isRunning = false;
    one.ask('SETLK', file, 1, F_UNLCK);
    const { locks } = filesystemOf(volume);
    const [lock] = [...locks.locks()];
    const others = new Set([two.session.id]);
    locks.replace(others, [], [{ ...lock!, session: one.session.id, owner: 5n }]);
    const numbers = locks.replace(new Set(), [], [], [{ id: before.waiters[0]!.waiter, lock: lock! }]);
    const waiters = before.waiters.map(({ unique, waiter }) => ({ unique, waiter: numbers.get(waiter)! }));
    const request = { isAwaited: true, complete: () => (answer.later = 0) } as unknown as FuseRequest;
    two.session.restore({ ...before, waiters }, () => request);
    isRunning = true;
    for (const action of late.splice(0)) action();
    expect(answer.later).to.equal(undefined);
    expect([...locks.waiters()]).to.have.length(1);
  });

  it('INTERRUPT cancels who waits, and nobody else', () => {
    const { session, open, ask } = start();
    const uniques: bigint[] = [];
    session.onTrace(({ unique }) => uniques.push(unique));
    const [a, b] = [open(), open()];
    ask('SETLK', a, 1, F_WRLCK);
    const answer = ask('SETLKW', b, 2, F_WRLCK);
    const waits = uniques.at(-1)!;
    call(session, 'INTERRUPT', 0, { unique: waits - 2n });
    expect(answer.later).to.equal(undefined);
    call(session, 'INTERRUPT', 0, { unique: waits });
    expect(answer.later).to.equal(EINTR);
    ask('SETLK', a, 1, F_UNLCK);
    expect(ask('SETLK', a, 3, F_WRLCK).error, 'the cancelled one has not got it').to.equal(0);
    answer.later = undefined;
    call(session, 'INTERRUPT', 0, { unique: waits });
    expect(answer.later, 'answered once').to.equal(undefined);
  });

  it('through a file that is not open there is none, and none at all in mode `guest`', () => {
    const shared = start();
    const file = shared.open();
    expect(shared.ask('SETLK', { ...file, fh: 99 }, 1, F_WRLCK).error).to.equal(EBADF);
    const guest = start(new Volume(), 'guest');
    const own = guest.open();
    for (const operation of ['GETLK', 'SETLK', 'SETLKW'] as const)
      expect(guest.ask(operation, own, 1, F_WRLCK).error).to.equal(ENOSYS);
    expect(call(guest.session, 'FLUSH', own.nodeid, { fh: own.fh, lock_owner: 1n }).error).to.equal(ENOSYS);
  });
});
