import { excludes } from '../fs/lock.ts';
import type { CheckedLockTableState, Lock, LockTable } from '../fs/locks.ts';
import { SnapshotError } from './errors.ts';

/** What to do with what a session had and can't have again. `fail` refuses the restore, and the machine stays as it was. */
export interface RestorePolicies {
  /** An inode that the guest knows is gone: `stale` answers ESTALE for it alone. Default: `fail`; `stale` where files never go with snapshots. */
  onMissingInode?: 'fail' | 'stale';
  /** Another guest has a lock that this one had: `drop` gives it up, `steal` takes it. Default: `fail`. */
  onLockConflict?: 'fail' | 'drop' | 'steal';
  /**
   * The machine that was frozen will never go on, and hands over what it still holds. Else, where it still is, this one is
   * another guest beside it, in whose way its locks are. Default: false.
   */
  isMove?: boolean;
}

/** What could not come back as it was, and what was done about it. */
export interface RestoreReport {
  missingInodes: { tag: string; ino: number }[];
  locks: {
    ino: number;
    space: Lock['space'];
    pid: number;
    start: bigint;
    end: bigint;
    holder: { session: string; pid: number };
    outcome: 'dropped' | 'stolen';
  }[];
}

export function emptyRestoreReport(): RestoreReport {
  return { missingInodes: [], locks: [] };
}

/** What a snapshot keeps of a filesystem that stays where it is: which one it is, and the locks of the machine's sessions. */
export interface FilesystemIdentity {
  uuid: string;
  sessionOnly: true;
  locks: CheckedLockTableState;
}

export function identify(uuid: string, table: LockTable, sessions: ReadonlySet<string>): FilesystemIdentity {
  const { locks, waiters, nextWaiter } = table.state();
  const own = {
    locks: locks.filter(({ session }) => sessions.has(session)),
    waiters: waiters.filter(({ lock }) => sessions.has(lock.session)),
    nextWaiter,
  };
  return { uuid, sessionOnly: true, locks: own as CheckedLockTableState };
}

/** Which sessions a restore is about. */
export interface SessionNames {
  /** Those that go, with their locks, because the restored ones come in their place. */
  replaced: ReadonlySet<string>;
  /** What each of the restored ones is called now, by what it was called. */
  restored: ReadonlyMap<string, string>;
}

/**
 * Decides how the locks of `saved` come back into a table that other sessions may have gone on with, and changes nothing. What it returns
 * does it, and gives the waiters' new numbers by their old ones. What `saved` has of other sessions than the restored ones is left out.
 *
 * @throws SnapshotError for a conflict, under the policy `fail`.
 */
export function planLocks(
  table: LockTable,
  saved: CheckedLockTableState,
  { replaced, restored }: SessionNames,
  { onLockConflict = 'fail' }: RestorePolicies,
  report: RestoreReport,
): () => ReadonlyMap<number, number> {
  const others = [...table.locks()].filter(({ session }) => !replaced.has(session));
  const regained: Lock[] = [];
  const stolen: Lock[] = [];
  const underNewName = (lock: Lock): Lock[] => {
    const session = restored.get(lock.session);
    return session === undefined ? [] : [{ ...lock, session }];
  };
  for (const lock of saved.locks.flatMap(underNewName)) {
    const holders = others.filter((other) => conflicts(lock, other));
    const [holder] = holders;
    if (!holder) {
      regained.push(lock);
      continue;
    }
    const { ino, space, pid, start, end } = lock;
    if (onLockConflict === 'fail') {
      throw new SnapshotError(
        `another guest (process ${holder.pid}) has a ${space} lock on inode ${ino} that this one's process ${pid} had: wait until it is free, or restore with onLockConflict "drop" or "steal"`,
      );
    }
    const outcome = onLockConflict === 'steal' ? 'stolen' : 'dropped';
    report.locks.push({ ino, space, pid, start, end, holder: { session: holder.session, pid: holder.pid }, outcome });
    if (outcome === 'dropped') continue;
    stolen.push(...holders);
    regained.push(lock);
  }
  const waiters = saved.waiters.flatMap(({ id, lock }) => underNewName(lock).map((own) => ({ id, lock: own })));
  return () => table.replace(replaced, stolen, regained, waiters);
}

function conflicts(a: Lock, b: Lock): boolean {
  return a.space === b.space && a.ino === b.ino && excludes(a, b);
}
