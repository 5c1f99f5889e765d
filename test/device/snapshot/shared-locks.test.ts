import { expect } from 'chai';
import { Volume } from 'memfs';
import { loadCodec, MemoryStore, SnapshotError, SnapshotStore } from '../../../device/index.ts';
import { type BareGuest, bareGuest, lockHolders, openFile, UNLOCK, WRITE_LOCK } from '../../support/bare-guest.ts';
import { type Answer, call } from '../../support/fuse-call.ts';

const EINTR = -4;

/** A guest, and a file that it has open. */
interface Party extends BareGuest {
  /** Locks bytes, or gives them up, as the process `owner`. */
  lock(owner: bigint, start: number, end: number, type?: number): number | undefined;
  /** As {@link lock}, and waits for it; `unique` takes it back. */
  wait(owner: bigint, start: number, end: number): Answer & { unique: bigint };
}

describe('a machine that goes back with its files, while other guests of these go on', () => {
  let store: SnapshotStore;
  let volume: Volume;
  let running: BareGuest[] = [];

  async function party(): Promise<Party> {
    const guest = await bareGuest(store, volume);
    running.push(guest);
    const { session } = guest.device;
    const { nodeid, fh } = openFile(guest, 'file');
    let last = 0n;
    session.onTrace(({ unique }) => (last = unique));
    const ask = (operation: 'SETLK' | 'SETLKW', owner: bigint, start: number, end: number, type: number) =>
      call(session, operation, nodeid, { fh, owner, lk: { start, end, type, pid: Number(owner) } });
    return {
      ...guest,
      lock: (owner, start, end, type = WRITE_LOCK) => ask('SETLK', owner, start, end, type).error,
      wait: (owner, start, end) => Object.assign(ask('SETLKW', owner, start, end, WRITE_LOCK), { unique: last }),
    };
  }

  beforeEach(async () => {
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    volume = new Volume();
  });
  afterEach(async () => {
    await Promise.all(running.map(({ machine }) => machine.destroy()));
    running = [];
  });

  it('leaves them their locks, and those who wait; its own are those of then', async () => {
    const [a, b] = [await party(), await party()];
    a.lock(1n, 0, 9);
    const { id } = await a.snapshots.freeze({ machine: {} });
    a.lock(1n, 0, 9, UNLOCK);
    a.lock(2n, 20, 29);
    b.lock(3n, 40, 49);
    b.wait(4n, 20, 29);
    b.wait(5n, 20, 25);
    await a.snapshots.restore(id);
    expect(lockHolders(a).sort()).to.deep.equal([1, 3, 4]);
    expect(a.lock(6n, 40, 49), 'what the other one has').to.equal(-11);
    b.lock(4n, 20, 29, UNLOCK);
    expect(lockHolders(a).sort()).to.deep.equal([1, 3, 5]);
  });

  it('has other numbers for those who wait than they', async () => {
    const [a, b] = [await party(), await party()];
    a.lock(1n, 0, 9);
    a.wait(2n, 0, 9);
    const { id } = await a.snapshots.freeze({ machine: {} });
    const theirs = b.wait(3n, 0, 9);
    await a.snapshots.restore(id);
    a.wait(4n, 0, 9);
    call(b.device.session, 'INTERRUPT', 0, { unique: theirs.unique });
    expect(theirs.later).to.equal(EINTR);
    a.lock(1n, 0, 9, UNLOCK);
    expect(lockHolders(a)).to.deep.equal([4]);
  });

  it('and does not, when they have a lock that it had, unless the policy says who gets it', async () => {
    const [a, b] = [await party(), await party()];
    a.lock(1n, 0, 9);
    const { id } = await a.snapshots.freeze({ machine: {} });
    a.lock(1n, 0, 9, UNLOCK);
    b.lock(2n, 5, 14);
    volume.writeFileSync('/file', 'later');
    const error = await a.snapshots.restore(id).catch((thrown: unknown) => thrown);
    expect(error)
      .to.be.instanceOf(SnapshotError)
      .with.property('message')
      .that.matches(/process 2.*posix lock.*process 1 had.*onLockConflict/);
    expect([lockHolders(a), volume.readFileSync('/file', 'utf8')]).to.deep.equal([[2], 'later']);
    await a.snapshots.restore(id, { onLockConflict: 'drop' });
    expect([lockHolders(a), volume.readFileSync('/file', 'utf8')]).to.deep.equal([[2], '']);
    expect(a.snapshots.report.locks).to.have.length(1);
    await a.snapshots.restore(id, { onLockConflict: 'steal' });
    expect(lockHolders(a)).to.deep.equal([1]);
  });
});
