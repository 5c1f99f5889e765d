import type { Backend } from '../fs/backend.ts';
import type { LockTable } from '../fs/locks.ts';
import type { FuseRequest } from './request.ts';

export interface FuseSessionOptions {
  backend: Backend;
  /** Who keeps file locks. `guest` (default): each guest its own; `shared`: this server, for all guests of the filesystem. */
  locks?: 'guest' | 'shared';
  /** The filesystem's lock table. Default: one of the session's own. */
  lockTable?: LockTable;
  /** How long guests may believe what they were told: not at all, a second (default), or for ever. */
  cache?: 'never' | 'auto' | 'always';
  /** Everything that would change the filesystem is answered EROFS. Default: false. */
  readOnly?: boolean;
  /** Bytes of the largest WRITE, a multiple of 4096. Default: 1 MiB. */
  maxWrite?: number;
  /** Let the guest gather writes in its page cache (FUSE_WRITEBACK_CACHE). Default: false. */
  writeback?: boolean;
  /** POSIX ACLs. Default: false. */
  posixAcl?: boolean;
  /** Open files and directories at once; ENFILE beyond. Default: 65,536. */
  maxHandles?: number;
}

/** What INIT settled. */
export interface Negotiated {
  major: number;
  minor: number;
  /** FUSE_* INIT flags in use, `flags2` in the upper half. */
  flags: bigint;
  max_readahead: number;
  max_background: number;
  congestion_threshold: number;
  max_write: number;
  time_gran: number;
  max_pages: number;
  map_alignment: number;
}

/** Where a checked state's inodes are looked up: a backend, or a backend's checked state. */
export interface InodeIndex {
  inode(ino: number): { readonly generation: number } | undefined;
}

export interface CheckedSessionState {
  /** Inodes that the state needs and the filesystem does not have; restored all the same, they answer ESTALE. */
  readonly missing: readonly number[];
}

export interface TraceEvent {
  unique: bigint;
  opcode: string;
  nodeid: number;
  uid: number;
  gid: number;
  pid: number;
  /** The decoded arguments, by the header's names; names in the order of the message. */
  args: Record<string, unknown>;
  /** 0 or the errno that was answered. */
  error: number;
  /** Bytes of reply, header included. */
  length: number;
  /** Milliseconds. */
  duration: number;
}

/** One FUSE session: what one mounted guest and the filesystem know of each other. */
export class FuseSession {
  /** Called after every request, while set. */
  onTrace: ((event: TraceEvent) => void) | undefined;
  /** Called with what should never happen: the guest got EIO for it. */
  onError: ((error: unknown) => void) | undefined;

  constructor(_options: FuseSessionOptions) {}

  get negotiated(): Negotiated | undefined {
    return undefined;
  }

  /** Serves one request. Returns the reply's length in bytes, or DEFERRED. Never throws on guest input. */
  handle(_request: FuseRequest): number {
    return 0;
  }

  /** The virtqueues were reset: requests that wait for a lock are dead, and forgotten without a reply. */
  dropWaiters(): void {}

  /** Gives up all that the guest holds: lookups, handles, locks. The next request must be INIT. */
  end(): void {}

  state(): unknown {
    return {};
  }

  static checkState(_state: unknown, _filesystem: InodeIndex): CheckedSessionState {
    return { missing: [] };
  }

  restore(_checked: CheckedSessionState, _deferred: (unique: bigint) => FuseRequest | undefined): void {}
}
