import { expect } from 'chai';
import { INIT_NEWEST } from '../../../device/conformance/message.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import { EEXIST, EINTR, EIO, ENOSPC } from '../../../device/fs/errno.ts';
import { type FaultRule, Faults } from '../../../device/fuse/faults.ts';
import { FuseSession } from '../../../device/fuse/session.ts';
import { call } from '../../support/fuse-call.ts';
import { lateFileSystem } from '../../support/late-filesystem.ts';

const NODE = { mode: 0o100644, uid: 0, gid: 0 };

function start(rules: FaultRule[] = [], seed?: number) {
  const files = new MemoryFileSystem();
  const dir = files.mkdir(files.root, 'dir', { ...NODE, mode: 0o40755 });
  for (const [parent, name] of [
    [files.root, 'a'],
    [files.root, 'b'],
    [dir, 'a'],
  ] as const)
    files.mknod(parent, name, NODE);
  const session = new FuseSession({ filesystem: files, faults: { rules, seed } });
  expect(call(session, 'INIT', 0, INIT_NEWEST).error).to.equal(0);
  return { files, session, dir: dir.ino };
}

const lookUp = (session: FuseSession, name: string, nodeid = 1) => call(session, 'LOOKUP', nodeid, name);
const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

describe('faults on purpose', () => {
  it('are for those requests that a rule is for, the first that fits', () => {
    const { session, dir } = start([
      { opcode: ['LOOKUP', 'GETATTR'], path: '/dir/a', fail: 'EIO' },
      { opcode: 'LOOKUP', path: 'b/', fail: 'ENOSPC' },
    ]);
    expect(lookUp(session, 'a').error).to.equal(0);
    expect(lookUp(session, 'dir').error).to.equal(0);
    expect(lookUp(session, 'a', dir).error).to.equal(-EIO);
    expect(lookUp(session, 'b').error).to.equal(-ENOSPC);
    expect(call(session, 'GETATTR', 1, {}).error).to.equal(0);
    // The guest names what it does not know.
    expect(lookUp(session, 'a', 12_345).error).to.be.below(0);
    expect(session.faults!.met.map(({ opcode, rule: { fail } }) => [opcode, fail])).to.deep.equal([
      ['LOOKUP', 'EIO'],
      ['LOOKUP', 'ENOSPC'],
    ]);
  });

  it('are counted, and end when they are taken away', () => {
    const { session } = start([{ opcode: 'LOOKUP', after: 1, count: 2, fail: 'EIO' }]);
    const errors = () => Array.from({ length: 5 }, () => lookUp(session, 'a').error);
    expect(errors()).to.deep.equal([0, -EIO, -EIO, 0, 0]);
    const end = session.faults!.add({ fail: 'ENOSPC' });
    expect(errors()).to.deep.equal(Array(5).fill(-ENOSPC));
    end();
    end();
    expect(errors()).to.deep.equal(Array(5).fill(0));
    session.faults!.add({ fail: 'EIO' });
    session.faults!.clear();
    expect(errors()).to.deep.equal(Array(5).fill(0));
  });

  it('are the same with the same seed', () => {
    const run = (seed: number) => {
      const { session } = start([{ probability: 0.5, fail: 'EIO' }], seed);
      return Array.from({ length: 64 }, () => lookUp(session, 'a').error);
    };
    expect(run(1)).to.deep.equal(run(1)).and.not.to.deep.equal(run(2));
    const failed = run(3).filter(Boolean).length;
    expect(failed).to.be.within(16, 48);
  });

  it('let requests wait, and then do them as if nothing had been', async () => {
    const { files, session } = start([{ opcode: 'MKDIR', delay: 20 }]);
    const answer = call(session, 'MKDIR', 1, { mode: 0o755 }, 'new');
    expect(answer.error).to.equal(undefined);
    expect(files.lookup(files.root, 'new')).to.equal(undefined);
    expect(lookUp(session, 'a').error).to.equal(0);
    while (answer.later === undefined) await pause(5);
    expect(answer.later).to.equal(0);
    expect(files.lookup(files.root, 'new')!.ino).to.equal(answer.out.nodeid);
  });

  it('answer in another order than was asked', async () => {
    const { session } = start([{ opcode: 'LOOKUP', delay: [0, 60] }]);
    expect(session.answersInOrder).to.equal(false);
    const order: number[] = [];
    const answers = Array.from({ length: 12 }, () => lookUp(session, 'a'));
    while (order.length < answers.length) {
      await pause(1);
      for (const [n, { later }] of answers.entries()) if (later === 0 && !order.includes(n)) order.push(n);
    }
    expect(order).not.to.deep.equal([...order].sort((a, b) => a - b));
  });

  it('never answer what is dropped, until the guest takes it back', () => {
    const { session } = start([{ opcode: 'LOOKUP', count: 2, drop: true }]);
    const [first, second] = [lookUp(session, 'a'), lookUp(session, 'b')];
    expect([first.error, second.error]).to.deep.equal([undefined, undefined]);
    expect(lookUp(session, 'a').error).to.equal(0);
    const { unique } = session.faults!.met[0]!;
    call(session, 'INTERRUPT', 0, { unique });
    expect([first.later, second.later]).to.deep.equal([-EINTR, undefined]);
    session.end();
    expect(second.later).to.equal(undefined);
  });

  it('do what they lose the answer of, which never comes', async () => {
    const { files, session } = start([
      { opcode: 'MKDIR', count: 1, lose: true },
      { opcode: 'LOOKUP', path: '/missing', lose: true },
    ]);
    const lost = call(session, 'MKDIR', 1, { mode: 0o755 }, 'new');
    expect(lost.error).to.equal(undefined);
    expect(files.lookup(files.root, 'new')).not.to.equal(undefined);
    call(session, 'INTERRUPT', 0, { unique: session.faults!.met[0]!.unique });
    expect(call(session, 'MKDIR', 1, { mode: 0o755 }, 'new').error).to.equal(-EEXIST);
    expect(lookUp(session, 'missing').error, 'what fails').to.equal(undefined);
    expect(lost.later).to.equal(undefined);
  });

  it('do what they lose the late answer of, or tell a wrong length of', async () => {
    const files = new MemoryFileSystem();
    const filesystem = lateFileSystem(files);
    const session = new FuseSession({ filesystem, faults: { rules: [{ opcode: 'MKDIR', count: 1, lose: true }] } });
    call(session, 'INIT', 0, INIT_NEWEST);
    const lost = call(session, 'MKDIR', 1, { mode: 0o755 }, 'new');
    const next = call(session, 'MKDIR', 1, { mode: 0o755 }, 'next');
    while (next.later === undefined || !files.lookup(files.root, 'new')) await pause(1);
    session.faults!.add({ opcode: 'GETATTR', length: 20 });
    const short = call(session, 'GETATTR', 1, {});
    while (short.later === undefined) await pause(1);
    expect([next.later, short.later, short.bytes.length]).to.deep.equal([0, 0, 4]);
    expect(lost.later).to.equal(undefined);
  });

  it('tell of a wrong length', () => {
    const { session } = start([{ opcode: 'GETATTR', count: 2, length: 16 }]);
    const lengths = () => [call(session, 'GETATTR', 1, {}), lookUp(session, 'a')].map(({ bytes }) => bytes.length);
    const right = [104, 128];
    expect([lengths(), lengths(), lengths()]).to.deep.equal([[0, right[1]], [0, right[1]], right]);
  });

  it('leave INIT, DESTROY and what nothing answers alone, unless a rule names it', () => {
    const { session } = start([{ fail: 'EIO' }]);
    call(session, 'FORGET', 1, { nlookup: 1n });
    expect(call(session, 'DESTROY', 0).error).to.equal(0);
    const refusing = new FuseSession({
      filesystem: new MemoryFileSystem(),
      faults: { rules: [{ opcode: 'INIT', fail: 'EPROTO' }] },
    });
    expect(call(refusing, 'INIT', 0, INIT_NEWEST).error).to.be.below(0);
    expect(new FuseSession({ filesystem: new MemoryFileSystem() }).faults).to.equal(undefined);
  });

  it('are refused where they mean nothing', () => {
    const wrong: FaultRule[] = [
      {},
      { fail: 'EIO', drop: true },
      { opcode: 'write', fail: 'EIO' },
      { opcode: 'FUSE_WRITE', fail: 'EIO' },
      { opcode: 'FORGET', drop: true },
      { fail: 'EWRONG' as 'EIO' },
      { delay: -1 },
      { delay: [5, 1] },
      { delay: NaN },
      { lose: true, length: 0 },
      { length: -1 },
      { length: 1.5 },
      { fail: 'EIO', probability: 2 },
      { fail: 'EIO', count: -1 },
    ];
    for (const rule of wrong) expect(() => new Faults({ rules: [rule] }), JSON.stringify(rule)).to.throw(RangeError);
  });
});
