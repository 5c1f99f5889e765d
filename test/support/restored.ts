import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import { partsOf } from '../../device/filesystems/memory/filesystem.ts';
import type { FuseRequest } from '../../device/fuse/request.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { type MemoryFileSystem, Volume } from '../../device/index.ts';
import { decodeFields, encodeFields } from '../../device/snapshot/fields.ts';
import { planFilesystem } from '../../device/snapshot/saved-filesystem.ts';
import { emptyRestoreReport } from '../../device/snapshot/session-only.ts';
import { checkTree } from './check-tree.ts';

/** For each request that waits for a lock: nobody looks at the answer. */
const WAITING: FuseRequest = {
  source: { remaining: 0, read: () => 0, rewind: () => {} },
  sink: { capacity: 0, writeAt: () => 0 },
  isAwaited: true,
  complete: () => {},
};

interface Restored {
  filesystem: MemoryFileSystem;
  sessions: FuseSession[];
}

/**
 * Another filesystem made from the state of this one, as a snapshot keeps it, with its sessions. Throws where what was
 * accepted while it was in use is refused, or is another when it is back.
 */
export function restored(filesystem: MemoryFileSystem, sessions: readonly FuseSession[] = []): Restored {
  const { origin } = filesystem;
  const { maxBytes, maxInodes } = partsOf(filesystem).table.space;
  const saved = capture(filesystem, sessions);
  const state = decodeFields(saved) as { filesystem: unknown; sessions: unknown[] };
  const twin = filesystemOf(new Volume(), {
    size: maxBytes,
    inodes: maxInodes,
    ...(origin && { origin }),
    locks: { maxLocks: Infinity, maxWaiters: Infinity },
  });
  // No session comes in another's place, or has another name.
  const names = { replaced: new Set<string>(), restored: new Map(sessions.map(({ id }) => [id, id])) };
  planFilesystem(state.filesystem, twin, names, {}, emptyRestoreReport()).apply();
  const twins = state.sessions.map((session) => {
    const made = new FuseSession({ filesystem: twin, maxHandles: Infinity, locks: 'shared' });
    made.restore(FuseSession.checkState(session, twin), () => WAITING);
    return made;
  });
  twin.settle();
  if (Buffer.compare(saved, capture(twin, twins)) !== 0)
    throw new Error('what was restored is another filesystem, or other sessions');
  checkTree(twin, twins);
  return { filesystem: twin, sessions: twins };
}

/** Those who wait for locks are counted from 1, as a new table does. */
function capture(filesystem: MemoryFileSystem, sessions: readonly FuseSession[]): Uint8Array {
  const { locks, waiters } = filesystem.locks.state();
  const numbers = new Map(waiters.map(({ id }, n) => [id, n + 1]));
  const renumbered = waiters.map(({ id, lock }) => ({ id: numbers.get(id)!, lock }));
  return encodeFields({
    filesystem: { ...filesystem.state(), locks: { locks, waiters: renumbered, nextWaiter: waiters.length + 1 } },
    sessions: sessions.map((session) => {
      const state = session.state();
      const own = state.waiters.map(({ unique, waiter }) => ({ unique, waiter: numbers.get(waiter)! }));
      return { ...state, waiters: own };
    }),
  });
}
