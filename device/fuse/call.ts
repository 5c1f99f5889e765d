import type { ByteSink } from '../bytes.ts';
import type { Backend, Inode } from '../fs/backend.ts';
import { S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { ERANGE, ESTALE, FsError } from '../fs/errno.ts';
import { MessageReader, OUT_HEADER_SIZE, REPLY_MAX, ReplyWriter } from './codec.ts';
import { FUSE_NO_OPEN_SUPPORT, FUSE_NO_OPENDIR_SUPPORT } from './constants.ts';
import type { DirectoryHandle, HandleTable } from './handle-table.ts';
import type { Negotiated } from './negotiation.ts';
import type { NodeTable } from './node-table.ts';
import type { Policy } from './policy.ts';
import type { FuseRequest } from './request.ts';
import type { SessionLocks } from './session-locks.ts';

/** What a handler works on: the session's parts, and the request that is being served. */
export class Call {
  readonly backend: Backend;
  readonly nodes: NodeTable;
  readonly handles: HandleTable;
  readonly locks: SessionLocks;
  readonly policy: Policy;
  readonly message = new MessageReader();
  readonly header = this.message.header;
  readonly reply = new ReplyWriter(REPLY_MAX);
  /** Undefined before INIT and after DESTROY. */
  negotiated: Negotiated | undefined;
  /** Tells this session from every other: chosen by INIT, 0 while there is none. */
  number = 0;
  /** Whether this session outlives a reset of its device. */
  outlivesReset = false;
  /** What INIT makes of that for the session it begins. */
  keepNext = false;
  request!: FuseRequest;
  /** The names of the message, in its order. */
  strings: readonly string[] = [];

  constructor(parts: {
    backend: Backend;
    nodes: NodeTable;
    handles: HandleTable;
    locks: SessionLocks;
    policy: Policy;
  }) {
    this.backend = parts.backend;
    this.nodes = parts.nodes;
    this.handles = parts.handles;
    this.locks = parts.locks;
    this.policy = parts.policy;
  }

  /** Releases all that the guest holds. */
  end(): void {
    this.negotiated = undefined;
    this.number = 0;
    this.outlivesReset = false;
    this.locks.end();
    this.handles.end();
    this.nodes.end();
  }

  /** As {@link end}, and nothing more will come. */
  close(): void {
    this.end();
    this.locks.close();
  }

  /** The inode that the request is about. @throws FsError ESTALE. */
  get inode(): Inode {
    return this.nodes.get(this.header.nodeid);
  }

  /**
   * Refuses a file that has lost its last name, and that this session has not open: what came there would be lost. Linux looks the name
   * up again, and finds who has it now.
   *
   * @throws FsError ESTALE.
   */
  checkNamed(): void {
    const { inode } = this;
    if (this.uses(FUSE_NO_OPEN_SUPPORT)) return;
    const { nlink, mode } = this.backend.getattr(inode);
    if (nlink === 0 && (mode & S_IFMT) !== S_IFDIR && !this.handles.isOpen(inode)) throw FsError.of(ESTALE);
  }

  /** The inode of an open file. @throws FsError EBADF, ESTALE. */
  openFile(fh: number, nodeid = this.header.nodeid): Inode {
    return this.uses(FUSE_NO_OPEN_SUPPORT) ? this.nodes.get(nodeid) : this.handles.file(fh, nodeid).inode;
  }

  /** @throws FsError EBADF, ESTALE. */
  openDirectory(fh: number): DirectoryHandle {
    return this.uses(FUSE_NO_OPENDIR_SUPPORT)
      ? this.handles.passing(this.inode)
      : this.handles.directory(fh, this.header.nodeid);
  }

  /** Room for the reply's payload, in bytes. */
  get room(): number {
    return Math.max(0, this.request.sink.capacity - OUT_HEADER_SIZE);
  }

  /** Whether INIT settled on `flag`. */
  uses(flag: bigint): boolean {
    return ((this.negotiated?.flags ?? 0n) & flag) !== 0n;
  }

  get sink(): ByteSink {
    return this.request.sink;
  }

  /** Replies with `length` bytes, borrowed. @throws FsError ERANGE when they don't fit, or are more than `limit`. */
  send(bytes: Uint8Array, length = bytes.length, limit = length): number {
    if (length > Math.min(limit, this.room)) throw FsError.of(ERANGE);
    return this.sink.writeAt(OUT_HEADER_SIZE, bytes, 0, length);
  }
}
