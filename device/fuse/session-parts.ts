import type { FileSystem, Inode } from '../fs/filesystem.ts';
import { FUSE_NO_OPEN_SUPPORT, FUSE_NO_OPENDIR_SUPPORT } from './constants.ts';
import type { DirectoryHandle, HandleTable } from './handle-table.ts';
import type { Negotiated } from './negotiation.ts';
import type { NodeTable } from './node-table.ts';
import type { Notices } from './notices.ts';
import type { Policy } from './policy.ts';
import type { SessionLocks } from './session-locks.ts';
import type { WaitingCalls } from './waiting-calls.ts';

/** What a session is made of, whatever is asked of it. */
export class SessionParts {
  readonly filesystem: FileSystem;
  readonly nodes: NodeTable;
  readonly handles: HandleTable;
  readonly locks: SessionLocks;
  readonly waiting: WaitingCalls;
  readonly notices: Notices;
  readonly policy: Policy;
  /** Undefined before INIT and after DESTROY. */
  negotiated: Negotiated | undefined;
  /** Tells this session from every other: chosen by INIT, 0 before. */
  number = 0;
  /** Whether this session outlives a reset of its device. */
  outlivesReset = false;
  /** What INIT makes of that for the session it begins. */
  nextOutlivesReset = false;

  constructor(
    parts: Pick<SessionParts, 'filesystem' | 'nodes' | 'handles' | 'locks' | 'waiting' | 'notices' | 'policy'>,
  ) {
    this.filesystem = parts.filesystem;
    this.nodes = parts.nodes;
    this.handles = parts.handles;
    this.locks = parts.locks;
    this.waiting = parts.waiting;
    this.notices = parts.notices;
    this.policy = parts.policy;
  }

  /** Whether INIT settled on `flag`. */
  uses(flag: bigint): boolean {
    return ((this.negotiated?.flags ?? 0n) & flag) !== 0n;
  }

  /** The inode of an open file. @throws FsError EBADF, ESTALE. */
  openFile(fh: number, nodeid: number): Inode {
    return this.uses(FUSE_NO_OPEN_SUPPORT) ? this.nodes.get(nodeid) : this.handles.file(fh, nodeid).inode;
  }

  /** @throws FsError EBADF, ESTALE. */
  openDirectory(fh: number, nodeid: number): DirectoryHandle {
    return this.uses(FUSE_NO_OPENDIR_SUPPORT)
      ? this.handles.withoutOpening(this.nodes.get(nodeid))
      : this.handles.directory(fh, nodeid);
  }

  /** Releases all that the guest holds. */
  end(): void {
    this.negotiated = undefined;
    this.number = 0;
    this.outlivesReset = false;
    this.notices.end();
    this.waiting.end();
    this.locks.end();
    this.handles.end();
    this.nodes.end();
  }

  /** As {@link end}, and nothing more will come. */
  close(): void {
    this.end();
    this.locks.close();
  }
}
