import { expect } from 'chai';
import { filesystemOf } from '../../../device/filesystems/memfs/volume.ts';
import * as C from '../../../device/fuse/constants.ts';
import { fuse_lk_out } from '../../../device/fuse/layouts.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { Volume } from '../../../device/index.ts';
import { type Answer, call } from '../../support/fuse-call.ts';

const F_RDLCK = 0,
  F_WRLCK = 1,
  F_UNLCK = 2;
const EAGAIN = -11,
  EINTR = -4,
  ENOSYS = -38,
  EBADF = -9;

function start(volume = new Volume(), locks: 'guest' | 'shared' = 'shared') {
  const filesystem = filesystemOf(volume);
  const session = new FuseSession({ filesystem, locks });
  call(session, C.FUSE_INIT, 0, 7, 41, 0x20000, 0xffffffff, 0xffffffff, ...Array<number>(11).fill(0));
  const open = (): { nodeid: number; fh: bigint } => {
    const { payload } = call(session, C.FUSE_CREATE, 1, 2, 0o100644, 0, 0, 'f');
    return { nodeid: Number(payload.getBigUint64(0, true)), fh: payload.getBigUint64(128, true) };
  };
  const ask = (
    opcode: number,
    { nodeid, fh }: ReturnType<typeof open>,
    owner: number,
    type: number,
    { flags = 0, start: from = 0n, end = 2n ** 63n - 1n } = {},
  ): Answer => call(session, opcode, nodeid, fh, BigInt(owner), from, end, type, 4711, flags, 0);
  return { session, open, ask };
}

describe('locks that are kept here (locks `shared`)', () => {
  it('POSIX locks end with FLUSH of their owner, OFD locks with RELEASE, flock with its owner’s', () => {
    const { session, open, ask } = start();
    const [a, b] = [open(), open()];
    ask(C.FUSE_SETLK, a, 1, F_WRLCK);
    call(session, C.FUSE_FLUSH, a.nodeid, a.fh, 0, 0, 2n);
    expect(ask(C.FUSE_SETLK, b, 2, F_WRLCK).error, 'FLUSH of another').to.equal(EAGAIN);
    call(session, C.FUSE_FLUSH, a.nodeid, a.fh, 0, 0, 1n);
    expect(ask(C.FUSE_SETLK, b, 2, F_WRLCK).error).to.equal(0);
    expect(ask(C.FUSE_SETLK, a, 1, F_WRLCK, { flags: C.FUSE_LK_FLOCK }).error, 'flock is another space').to.equal(0);
    call(session, C.FUSE_RELEASE, b.nodeid, b.fh, 0, 0, 0n);
    expect(ask(C.FUSE_SETLK, a, 3, F_WRLCK).error, 'taken through b').to.equal(0);
    const c = open();
    expect(ask(C.FUSE_SETLK, c, 5, F_RDLCK, { flags: C.FUSE_LK_FLOCK }).error).to.equal(EAGAIN);
    call(session, C.FUSE_RELEASE, a.nodeid, a.fh, 0, C.FUSE_RELEASE_FLOCK_UNLOCK, 1n);
    expect(ask(C.FUSE_SETLK, c, 5, F_RDLCK, { flags: C.FUSE_LK_FLOCK }).error).to.equal(0);
  });

  it('GETLK tells range, kind and pid; of another guest’s, pid 0', () => {
    const volume = new Volume();
    const [one, two] = [start(volume), start(volume)];
    const told = ({ payload }: Answer) => fuse_lk_out.at(payload, 0).lk;
    one.ask(C.FUSE_SETLK, one.open(), 1, F_WRLCK, { start: 10n, end: 19n });
    expect(told(one.ask(C.FUSE_GETLK, one.open(), 2, F_RDLCK))).to.include({
      type: F_WRLCK,
      start: 10n,
      end: 19n,
      pid: 4711,
    });
    expect(told(two.ask(C.FUSE_GETLK, two.open(), 1, F_RDLCK))).to.include({
      type: F_WRLCK,
      start: 10n,
      end: 19n,
      pid: 0,
    });
    expect(told(two.ask(C.FUSE_GETLK, two.open(), 1, F_RDLCK, { start: 20n }))).to.include({ type: F_UNLCK });
  });

  it('SETLKW waits across guests, and is answered when the other one gives up, or ends', () => {
    for (const end of ['unlock', 'close'] as const) {
      const volume = new Volume();
      const [one, two] = [start(volume), start(volume)];
      const file = one.open();
      one.ask(C.FUSE_SETLK, file, 1, F_WRLCK);
      const answer = two.ask(C.FUSE_SETLKW, two.open(), 1, F_WRLCK);
      expect([answer.error, answer.later]).to.deep.equal([undefined, undefined]);
      if (end === 'unlock') one.ask(C.FUSE_SETLK, file, 1, F_UNLCK);
      else one.session.close();
      expect(answer.later).to.equal(0);
    }
  });

  it('INTERRUPT cancels who waits, and nobody else', () => {
    const { session, open, ask } = start();
    const uniques: bigint[] = [];
    session.onTrace(({ unique }) => uniques.push(unique));
    const [a, b] = [open(), open()];
    ask(C.FUSE_SETLK, a, 1, F_WRLCK);
    const answer = ask(C.FUSE_SETLKW, b, 2, F_WRLCK);
    const waits = uniques.at(-1)!;
    call(session, C.FUSE_INTERRUPT, 0, waits - 2n);
    expect(answer.later).to.equal(undefined);
    call(session, C.FUSE_INTERRUPT, 0, waits);
    expect(answer.later).to.equal(EINTR);
    ask(C.FUSE_SETLK, a, 1, F_UNLCK);
    expect(ask(C.FUSE_SETLK, a, 3, F_WRLCK).error, 'the cancelled one has not got it').to.equal(0);
    answer.later = undefined;
    call(session, C.FUSE_INTERRUPT, 0, waits);
    expect(answer.later, 'answered once').to.equal(undefined);
  });

  it('through a file that is not open there is none, and none at all in mode `guest`', () => {
    const shared = start();
    const file = shared.open();
    expect(shared.ask(C.FUSE_SETLK, { ...file, fh: 99n }, 1, F_WRLCK).error).to.equal(EBADF);
    const guest = start(new Volume(), 'guest');
    const own = guest.open();
    for (const opcode of [C.FUSE_GETLK, C.FUSE_SETLK, C.FUSE_SETLKW])
      expect(guest.ask(opcode, own, 1, F_WRLCK).error).to.equal(ENOSYS);
    expect(call(guest.session, C.FUSE_FLUSH, own.nodeid, own.fh, 0, 0, 1n).error).to.equal(ENOSYS);
  });
});
