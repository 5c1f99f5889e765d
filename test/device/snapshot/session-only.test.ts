import { expect } from 'chai';
import { Volume } from 'memfs';
import type { Lock } from '../../../device/fs/locks.ts';
import {
  type FileSystem,
  loadCodec,
  MemoryFileSystem,
  MemoryStore,
  type RestorePolicies,
  SnapshotError,
  SnapshotStore,
} from '../../../device/index.ts';
import { MachineState } from '../../../device/snapshot/machine-state.ts';
import { V86Machine } from '../../../device/v86/adapter.ts';
import {
  type BareGuest,
  bareGuest,
  lockFile,
  lockHolders,
  openFile,
  UNLOCK,
  WRITE_LOCK,
} from '../../support/bare-guest.ts';
import { call } from '../../support/fuse-call.ts';

const ESTALE = -116;

describe('sessions restored against a filesystem that has gone on', () => {
  let store: SnapshotStore;
  let volume: Volume;
  let running: BareGuest[] = [];

  async function guest(shared = volume): Promise<BareGuest> {
    const made = await bareGuest(store, shared);
    running.push(made);
    return made;
  }

  const freeze = ({ snapshots }: BareGuest) => snapshots.freeze({ machine: {}, sessionOnly: true });
  const refusal = (action: Promise<unknown>): Promise<Error | undefined> =>
    action.then(
      () => undefined,
      (error: Error) => error,
    );

  beforeEach(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    volume = Volume.fromJSON({ '/here': 'first' });
  });
  afterEach(async () => {
    await Promise.all(running.map(({ machine }) => machine.destroy()));
    running = [];
  });

  it('the files stay as they are now, and handles go on', async () => {
    const first = await guest();
    const file = openFile(first, 'here');
    const { id } = await freeze(first);
    volume.writeFileSync('/here', 'second');
    volume.writeFileSync('/new', '');
    const second = await guest();
    await second.snapshots.restore(id);
    expect(call(second.device.session, 'READ', file.nodeid, { fh: file.fh, size: 100 }).text).to.equal('second');
    expect(volume.existsSync('/new')).to.equal(true);
    expect(second.snapshots.report).to.deep.equal({ missingInodes: [], locks: [] });
  });

  it('is small: no file is in it', async () => {
    const first = await guest();
    volume.writeFileSync('/large', Buffer.alloc(1 << 20, 'x'));
    openFile(first, 'here');
    const { id } = await freeze(first);
    expect(store.info(id).addedBytes).to.be.lessThan(50_000);
  });

  it('another filesystem is refused', async () => {
    const first = await guest();
    const { id } = await freeze(first);
    const error = await refusal((await guest(new Volume())).snapshots.restore(id));
    expect(error)
      .to.be.instanceOf(SnapshotError)
      .with.property('message')
      .that.matches(/has stayed where it was; .* attach it with the same filesystem/);
  });

  it('of several filesystems those stay that are named', async () => {
    const first = await guest();
    openFile(first, 'here');
    const freezeWithout = async (stays: FileSystem) =>
      (await first.snapshots.freeze({ machine: {}, sessionOnly: [stays] })).id;
    const whole = await freezeWithout(new MemoryFileSystem());
    const elsewhere = new Volume();
    await (await guest(elsewhere)).snapshots.restore(whole);
    expect(elsewhere.readFileSync('/here', 'utf8')).to.equal('first');
    const without = await freezeWithout(first.device.filesystem);
    const error = await refusal((await guest(new Volume())).snapshots.restore(without));
    expect(error).to.have.property('message').that.includes('has stayed where it was');
  });

  describe('an inode that is gone', () => {
    async function lost(
      policies: RestorePolicies,
    ): Promise<{ error: Error | undefined; second: BareGuest; nodeid: number; kept: number }> {
      const first = await guest();
      const { nodeid } = openFile(first, 'gone');
      const kept = openFile(first, 'here').nodeid;
      const { id } = await freeze(first);
      first.device.session.end();
      volume.unlinkSync('/gone');
      const second = await guest();
      return { error: await refusal(second.snapshots.restore(id, policies)), second, nodeid, kept };
    }

    it('fail: refused, with its number', async () => {
      const { error, second, nodeid } = await lost({});
      expect(error)
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.contains(`inodes ${nodeid} any more`)
        .and.contains('onMissingInode');
      expect(second.device.session.negotiated).to.equal(undefined);
    });

    it('stale: ESTALE for it alone, and reported', async () => {
      const { error, second, nodeid, kept } = await lost({ onMissingInode: 'stale' });
      expect(error).to.equal(undefined);
      expect(call(second.device.session, 'GETATTR', nodeid).error).to.equal(ESTALE);
      expect(call(second.device.session, 'GETATTR', kept).error).to.equal(0);
      expect(second.snapshots.report.missingInodes).to.deep.equal([{ tag: 'share', ino: nodeid }]);
    });
  });

  describe('a lock that another guest has now', () => {
    async function conflict(policies: RestorePolicies) {
      const first = await guest();
      const file = openFile(first, 'here');
      expect(lockFile(first, file, 5n)).to.equal(0);
      const { id } = await freeze(first);
      first.device.session.end();
      const thief = await guest();
      const theirs = openFile(thief, 'here');
      expect(lockFile(thief, theirs, 6n)).to.equal(0);
      const second = await guest();
      const error = await refusal(second.snapshots.restore(id, policies));
      return { error, second, file, thief, theirs };
    }

    it('fail: refused, and nothing has changed', async () => {
      const { error, thief } = await conflict({});
      expect(error)
        .to.be.instanceOf(SnapshotError)
        .with.property('message')
        .that.matches(/process 6.*posix lock.*process 5 had.*onLockConflict/);
      expect(lockHolders(thief)).to.deep.equal([6]);
    });

    it('drop: given up, and reported', async () => {
      const { error, second, thief } = await conflict({ onLockConflict: 'drop' });
      expect(error).to.equal(undefined);
      expect(lockHolders(thief)).to.deep.equal([6]);
      expect(second.snapshots.report.locks).to.have.length(1);
      expect(second.snapshots.report.locks[0]).to.include({ outcome: 'dropped', pid: 5 });
    });

    it('steal: taken, and reported', async () => {
      const { error, second, thief } = await conflict({ onLockConflict: 'steal' });
      expect(error).to.equal(undefined);
      expect(lockHolders(thief)).to.deep.equal([5]);
      expect(second.snapshots.report.locks[0]).to.include({ outcome: 'stolen', pid: 5 });
    });
  });

  it('a snapshot with its files has the locks of its own machine only', async () => {
    const [first, other] = [await guest(), await guest()];
    expect(lockFile(other, openFile(other, 'theirs'), 6n)).to.equal(0);
    expect(lockFile(first, openFile(first, 'here'), 5n)).to.equal(0);
    const { id } = await first.snapshots.freeze({ machine: {} });
    const alone = await guest(new Volume());
    await alone.snapshots.restore(id);
    expect(lockHolders(alone)).to.deep.equal([5]);
  });

  describe('a forged one, beside another guest that has a lock and waits for one', () => {
    interface Forged {
      devices: { session: { session: string; waiters: { unique: bigint; waiter: number }[] } }[];
      filesystems: { locks: { locks: Lock[]; waiters: { id: number; lock: Lock }[]; nextWaiter: number } }[];
    }

    async function beside() {
      const [other, attacker] = [await guest(), await guest()];
      const theirs = openFile(other, 'here');
      openFile(attacker, 'here');
      lockFile(other, theirs, 6n);
      lockFile(other, theirs, 7n, WRITE_LOCK, 'SETLKW');
      const machine = MachineState.of(V86Machine.of(attacker.machine.emulator));
      const { locks } = other.device.filesystem;
      const restore = (forge: (state: Forged) => void) => {
        const state = machine.capture(true);
        forge(state as unknown as Forged);
        machine.prepareState(state)();
      };
      const there = () => ({ holders: [...locks.locks()].map(({ pid }) => pid), waiters: [...locks.waiters()].length });
      return { locks, restore, there, unlock: () => lockFile(other, theirs, 6n, UNLOCK) };
    }

    it('can’t answer or end their wait, whatever numbers it names', async () => {
      const { locks, restore, there, unlock } = await beside();
      const { id } = [...locks.waiters()][0]!;
      restore(({ devices }) =>
        devices[0]!.session.waiters.push(...[id, 0, -1, 1000].map((waiter, n) => ({ unique: BigInt(2 * n), waiter }))),
      );
      expect(there()).to.deep.equal({ holders: [6], waiters: 1 });
      unlock();
      expect(there()).to.deep.equal({ holders: [7], waiters: 0 });
    });

    it('can’t lock or wait in their name', async () => {
      const { locks, restore, there } = await beside();
      const [held] = [...locks.locks()] as [Lock];
      restore(({ filesystems: [filesystem] }) => {
        filesystem!.locks.locks.push({ ...held, start: 1000n, end: 1000n });
        filesystem!.locks.waiters.push({ id: 1, lock: held });
        filesystem!.locks.nextWaiter = 2;
      });
      expect(there()).to.deep.equal({ holders: [6], waiters: 1 });
    });

    it('has no more locks than a session may have', async () => {
      const { locks, restore, there } = await beside();
      const [held] = [...locks.locks()] as [Lock];
      const tooMany = ({ devices, filesystems: [filesystem] }: Forged) => {
        const { session } = devices[0]!.session;
        for (let n = 0n; n <= 4096n; n++)
          filesystem!.locks.locks.push({ ...held, session, start: 1000n + 2n * n, end: 1000n + 2n * n });
      };
      expect(() => restore(tooMany)).to.throw(SnapshotError, 'a session with more than 4096 locks');
      expect(there()).to.deep.equal({ holders: [6], waiters: 1 });
    });
  });

  it('locks that are free come back, and who waited goes on waiting', async () => {
    const first = await guest();
    const file = openFile(first, 'here');
    lockFile(first, file, 5n);
    expect(lockFile(first, file, 7n, WRITE_LOCK, 'SETLKW')).to.equal(undefined);
    const { id } = await freeze(first);
    await first.snapshots.restore(id);
    expect(lockHolders(first)).to.deep.equal([5]);
    expect(lockFile(first, file, 5n, UNLOCK)).to.equal(0);
  });
});
