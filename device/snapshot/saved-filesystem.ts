import type { FileSystem } from '../fs/filesystem.ts';
import { type CheckedLockTableState, LockTable } from '../fs/locks.ts';
import type { CheckedFiles } from '../fs/persistence.ts';
import { locksOf, uuidOf } from '../fs/shared.ts';
import type { InodeIndex } from '../fuse/session.ts';
import { SnapshotError } from './errors.ts';
import {
  type FilesystemIdentity,
  planLocks,
  type RestorePolicies,
  type RestoreReport,
  type SessionNames,
} from './session-only.ts';

interface FilesystemPlan {
  index: InodeIndex;
  /** The files are what they have become, and not the snapshot's. */
  hasStayed: boolean;
  /** Gives the waiters' numbers by those that they had. */
  apply(): ReadonlyMap<number, number>;
}

/** A state with files that can come back. */
interface CheckedFilesystem {
  files: CheckedFiles;
  locks: CheckedLockTableState;
}

/** Decides how a filesystem in a snapshot comes back, and changes nothing. @throws Error that says why it can't. */
export function planFilesystem(
  state: unknown,
  filesystem: FileSystem,
  names: SessionNames,
  policies: RestorePolicies,
  report: RestoreReport,
): FilesystemPlan {
  const table = locksOf(filesystem);
  const checked = judgeFilesystem(state, filesystem);
  if (checked) {
    const { files, locks } = checked;
    const applyLocks = planLocks(table, locks, names, policies, report);
    const apply = () => {
      filesystem.persistence!.restore(files);
      return applyLocks();
    };
    return { index: files, hasStayed: false, apply };
  }
  const { locks } = state as FilesystemIdentity;
  const index = { inode: (ino: number) => filesystem.inode?.(ino) };
  return { index, hasStayed: true, apply: planLocks(table, LockTable.checkState(locks), names, policies, report) };
}

/** The state, checked; undefined for one of sessions only. */
export function judgeFilesystem(state: unknown, filesystem: FileSystem): CheckedFilesystem | undefined {
  const { sessionOnly, uuid, locks } = (state ?? {}) as Partial<FilesystemIdentity>;
  if (sessionOnly) {
    if (uuid !== uuidOf(filesystem))
      throw new SnapshotError(
        `the snapshot is of sessions on filesystem ${uuid}, which has stayed where it was; this device has ${uuidOf(filesystem)}: attach it with the same filesystem`,
      );
    checkLimits(LockTable.checkState(locks), locksOf(filesystem));
    return undefined;
  }
  if (!filesystem.persistence) {
    throw new SnapshotError(
      'the snapshot has the files of a filesystem, and the files of the one here stay where they are: attach the device with one in memory',
    );
  }
  const files = filesystem.persistence.checkState(state);
  return { files, locks: checkLocks(locks, files, locksOf(filesystem)) };
}

function checkLocks(state: unknown, files: CheckedFiles, table: LockTable): CheckedLockTableState {
  const checked = LockTable.checkState(state);
  for (const { ino } of [...checked.locks, ...checked.waiters.map(({ lock }) => lock)]) {
    if (!files.inode(ino))
      throw new TypeError(`the filesystem's state is damaged: a lock is on inode ${ino}, which is not there`);
  }
  checkLimits(checked, table);
  return checked;
}

function checkLimits(locks: CheckedLockTableState, table: LockTable): void {
  const excess = table.excessOf(locks);
  if (excess)
    throw new RangeError(
      `the snapshot has ${excess}, which is the limit here: make the filesystem with higher limits for \`locks\``,
    );
}

/** Whatever a check says is the snapshot's fault. */
export function orRefuse<T>(what: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(`the snapshot can't be restored, ${what}: ${(error as Error).message}`, { cause: error });
  }
}
