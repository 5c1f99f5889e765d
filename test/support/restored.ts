import type { FuseRequest } from '../../device/fuse/request.ts';
import { FuseSession } from '../../device/fuse/session.ts';
import { MemfsBackend, Volume } from '../../device/index.ts';
import { decodeFields, encodeFields } from '../../device/snapshot/fields.ts';
import { checkTree } from './check-tree.ts';

/** For each request that waits for a lock: nobody looks at the answer. */
const WAITING: FuseRequest = {
  source: { remaining: 0, read: () => 0 },
  sink: { capacity: 0, writeAt: () => 0 },
  isAwaited: true,
  complete: () => {},
};

interface Restored {
  backend: MemfsBackend;
  sessions: FuseSession[];
}

/**
 * Another filesystem made from the state of this one, as a snapshot keeps it, with its sessions. Throws where what was
 * accepted while it was in use is refused, or is another when it is back.
 */
export function restored(backend: MemfsBackend, sessions: readonly FuseSession[] = []): Restored {
  const { maxBytes, maxInodes } = backend.space;
  const saved = capture(backend, sessions);
  const state = decodeFields(saved) as { filesystem: unknown; sessions: unknown[] };
  const twin = MemfsBackend.of(new Volume(), {
    size: maxBytes,
    inodes: maxInodes,
    locks: { maxLocks: Infinity, maxWaiters: Infinity },
  });
  twin.restore(MemfsBackend.checkState(state.filesystem));
  const twins = state.sessions.map((session) => {
    const made = new FuseSession({ backend: twin, lockTable: twin.locks, maxHandles: Infinity, locks: 'shared' });
    made.restore(FuseSession.checkState(session, twin), () => WAITING);
    return made;
  });
  twin.settle();
  if (Buffer.compare(saved, capture(twin, twins)) !== 0)
    throw new Error('what was restored is another filesystem, or other sessions');
  checkTree(twin, twins);
  return { backend: twin, sessions: twins };
}

function capture(backend: MemfsBackend, sessions: readonly FuseSession[]): Uint8Array {
  return encodeFields({ filesystem: backend.state(), sessions: sessions.map((session) => session.state()) });
}
