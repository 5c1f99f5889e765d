import { expect } from 'chai';
import { Volume } from 'memfs';
import { attachVirtioFs, loadCodec, MachineSnapshots, MemoryStore, SnapshotError, SnapshotStore, type RestorePolicies, type VirtioFsDevice } from '../../../device/index.ts';
import { bareMachine, type BareMachine } from '../../support/bare-machine.ts';
import { call } from '../../support/fuse-call.ts';

const INIT = 26, CREATE = 35, READ = 15, SETLK = 32, SETLKW = 33, GETATTR = 3, ESTALE = -116;
const WRITE_LOCK = 1, UNLOCK = 2;

describe('sessions restored against a filesystem that has gone on', () => {
  let store: SnapshotStore;
  let volume: Volume;
  let running: BareMachine[] = [];

  interface Guest {
    device: VirtioFsDevice;
    snapshots: MachineSnapshots;
    machine: BareMachine;
  }

  async function guest(shared = volume): Promise<Guest> {
    let device: VirtioFsDevice;
    let snapshots: Promise<MachineSnapshots>;
    const machine = await bareMachine((emulator) => {
      device = attachVirtioFs(emulator, { tag: 'share', volume: shared, locks: 'shared' });
      snapshots = MachineSnapshots.of(emulator, store);
    });
    running.push(machine);
    return { device: device!, snapshots: await snapshots!, machine };
  }

  function open({ device: { session } }: Guest, name: string): { nodeid: number; fh: bigint } {
    if (!session.negotiated) call(session, INIT, 0, 7, 38, 0x20000, 0xffffffff, 0, ...Array<number>(11).fill(0));
    const { payload } = call(session, CREATE, 1, 2, 0o100644, 0, 0, name);
    return { nodeid: payload.getUint32(0, true), fh: payload.getBigUint64(128, true) };
  }

  const lock = ({ device: { session } }: Guest, { nodeid, fh }: { nodeid: number; fh: bigint }, owner: bigint, type = WRITE_LOCK, opcode = SETLK) =>
    call(session, opcode, nodeid, fh, owner, 0n, 99n, type, Number(owner), 0, 0).error;
  const freeze = ({ snapshots }: Guest) => snapshots.freeze({ machine: {}, sessionOnly: true });
  const refusal = (action: Promise<unknown>): Promise<Error | undefined> => action.then(() => undefined, (error: Error) => error);

  beforeEach(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    volume = Volume.fromJSON({ '/here': 'first' });
  });
  afterEach(async () => {
    await Promise.all(running.map((machine) => machine.destroy()));
    running = [];
  });

  it('the files stay as they are now, and handles go on', async () => {
    const first = await guest();
    const file = open(first, 'here');
    const { id } = await freeze(first);
    volume.writeFileSync('/here', 'second');
    volume.writeFileSync('/new', '');
    const second = await guest();
    await second.snapshots.restore(id);
    expect(call(second.device.session, READ, file.nodeid, file.fh, 0n, 100, 0, 0n, 0, 0).text).to.equal('second');
    expect(volume.existsSync('/new')).to.equal(true);
    expect(second.snapshots.report).to.deep.equal({ missingInodes: [], locks: [] });
  });

  it('is small: no file is in it', async () => {
    const first = await guest();
    volume.writeFileSync('/large', Buffer.alloc(1 << 20, 'x'));
    open(first, 'here');
    const { id } = await freeze(first);
    expect(store.info(id).addedBytes).to.be.lessThan(50_000);
  });

  it('another filesystem is refused', async () => {
    const first = await guest();
    const { id } = await freeze(first);
    const error = await refusal((await guest(new Volume())).snapshots.restore(id));
    expect(error).to.be.instanceOf(SnapshotError).with.property('message').that.matches(/has stayed where it was; .* attach it with the same volume/);
  });

  describe('an inode that is gone', () => {
    async function lost(policies: RestorePolicies): Promise<{ error: Error | undefined; second: Guest; nodeid: number; kept: number }> {
      const first = await guest();
      const { nodeid } = open(first, 'gone');
      const kept = open(first, 'here').nodeid;
      const { id } = await freeze(first);
      first.device.session.end();
      volume.unlinkSync('/gone');
      const second = await guest();
      return { error: await refusal(second.snapshots.restore(id, policies)), second, nodeid, kept };
    }

    it('fail: refused, with its number', async () => {
      const { error, second, nodeid } = await lost({});
      expect(error).to.be.instanceOf(SnapshotError).with.property('message').that.contains(`inodes ${nodeid} any more`).and.contains('onMissingInode');
      expect(second.device.session.negotiated).to.equal(undefined);
    });

    it('stale: ESTALE for it alone, and reported', async () => {
      const { error, second, nodeid, kept } = await lost({ onMissingInode: 'stale' });
      expect(error).to.equal(undefined);
      expect(call(second.device.session, GETATTR, nodeid, 0, 0, 0n).error).to.equal(ESTALE);
      expect(call(second.device.session, GETATTR, kept, 0, 0, 0n).error).to.equal(0);
      expect(second.snapshots.report.missingInodes).to.deep.equal([{ tag: 'share', ino: nodeid }]);
    });
  });

  describe('a lock that another guest has now', () => {
    async function conflict(policies: RestorePolicies) {
      const first = await guest();
      const file = open(first, 'here');
      expect(lock(first, file, 5n)).to.equal(0);
      const { id } = await freeze(first);
      first.device.session.end();
      const thief = await guest();
      const theirs = open(thief, 'here');
      expect(lock(thief, theirs, 6n)).to.equal(0);
      const second = await guest();
      const error = await refusal(second.snapshots.restore(id, policies));
      return { error, second, file, thief, theirs };
    }
    const holders = ({ device }: Guest) => [...device.backend.locks.locks()].map(({ pid }) => pid);

    it('fail: refused, and nothing has changed', async () => {
      const { error, thief } = await conflict({});
      expect(error).to.be.instanceOf(SnapshotError).with.property('message').that.matches(/process 6.*posix lock.*process 5 had.*onLockConflict/);
      expect(holders(thief)).to.deep.equal([6]);
    });

    it('drop: given up, and reported', async () => {
      const { error, second, thief } = await conflict({ onLockConflict: 'drop' });
      expect(error).to.equal(undefined);
      expect(holders(thief)).to.deep.equal([6]);
      expect(second.snapshots.report.locks).to.have.length(1);
      expect(second.snapshots.report.locks[0]).to.include({ outcome: 'dropped', pid: 5 });
    });

    it('steal: taken, and reported', async () => {
      const { error, second, thief } = await conflict({ onLockConflict: 'steal' });
      expect(error).to.equal(undefined);
      expect(holders(thief)).to.deep.equal([5]);
      expect(second.snapshots.report.locks[0]).to.include({ outcome: 'stolen', pid: 5 });
    });
  });

  it('a snapshot with its files has the locks of its own machine only', async () => {
    const [first, other] = [await guest(), await guest()];
    expect(lock(other, open(other, 'theirs'), 6n)).to.equal(0);
    expect(lock(first, open(first, 'here'), 5n)).to.equal(0);
    const { id } = await first.snapshots.freeze({ machine: {} });
    const alone = await guest(new Volume());
    await alone.snapshots.restore(id);
    expect([...alone.device.backend.locks.locks()].map(({ pid }) => pid)).to.deep.equal([5]);
  });

  it('locks that are free come back, and who waited goes on waiting', async () => {
    const first = await guest();
    const file = open(first, 'here');
    lock(first, file, 5n);
    expect(lock(first, file, 7n, WRITE_LOCK, SETLKW)).to.equal(undefined);
    const { id } = await freeze(first);
    const { locks } = first.device.backend;
    await first.snapshots.restore(id);
    expect([...locks.locks()].map(({ pid }) => pid)).to.deep.equal([5]);
    expect(lock(first, file, 5n, UNLOCK)).to.equal(0);
  });
});
