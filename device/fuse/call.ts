import { type ByteSink, type ByteSource, copyOf, viewOf } from '../bytes.ts';
import { EINTR, ERANGE, ESTALE, FsError } from '../fs/errno.ts';
import type { FileSystem, Inode } from '../fs/filesystem.ts';
import { IN_HEADER_SIZE, type MessageReader, OUT_HEADER_SIZE, type ReplyWriter } from './codec.ts';
import { FUSE_NO_OPEN_SUPPORT } from './constants.ts';
import type { DirectoryHandle } from './handle-table.ts';
import { fuse_in_header } from './layouts.ts';
import type { Operation } from './operation.ts';
import type { FuseRequest } from './request.ts';
import type { SessionParts } from './session-parts.ts';
import type { View } from './struct.ts';

/** One request that is being served: what it says, and where its reply goes. */
export class Call implements ByteSink, ByteSource {
  readonly session: SessionParts;
  readonly filesystem: FileSystem;
  /** Where the message is, until the handler has returned. */
  readonly message: MessageReader;
  readonly replies: ReplyWriter;
  header: View<typeof fuse_in_header>;
  /** The names of the message, in its order. */
  strings: readonly string[] = [];
  request!: FuseRequest;
  operation: Operation | undefined;
  /** The message's struct. */
  input: object | undefined;
  /** Nobody waits for the answer any more: no byte of the guest's is touched. */
  isOver = false;
  /** What was read for the guest came while its machine was stopped, and has to be asked for again. */
  isLost = false;
  /** The inode that the request is about, once it was asked for. */
  target: Inode | undefined;
  #isWaiting = false;
  /** Of `Notices.changes`, when it began to wait. */
  #changes = 0;
  /** What it works on, where that may take long. */
  readonly #inodes: Inode[] = [];

  constructor(session: SessionParts, message: MessageReader, replies: ReplyWriter) {
    this.session = session;
    this.filesystem = session.filesystem;
    this.message = message;
    this.replies = replies;
    this.header = message.header;
  }

  /** Another request. */
  begin(request: FuseRequest): void {
    this.request = request;
    this.operation = undefined;
    this.target = undefined;
    this.#inodes.length = 0;
  }

  /** The answer comes later: keeps what will be needed of the message, whose place the next one takes, and what it works on. */
  keep(): void {
    this.#isWaiting = true;
    this.#changes = this.session.notices.changes;
    const { operation, message, session } = this;
    const length = IN_HEADER_SIZE + (operation?.input?.size ?? 0);
    const view = viewOf(copyOf(message.bytes.subarray(0, length)));
    this.header = fuse_in_header.at(view, 0);
    this.input = operation?.input?.at(view, IN_HEADER_SIZE);
    for (const inode of this.#inodes) session.filesystem.retain?.(inode);
  }

  /** The end of what {@link keep} has begun. */
  finish(): void {
    this.isOver = true;
    for (const inode of this.#inodes) this.filesystem.release?.(inode);
  }

  /** Counts `inode` among what this request works on. */
  uses(inode: Inode): Inode {
    if (!this.filesystem.isSynchronous && !this.#isWaiting) this.#inodes.push(inode);
    return inode;
  }

  /** An inode that the guest knows. @throws FsError ESTALE. */
  node(nodeid: number): Inode {
    return this.uses(this.session.nodes.get(nodeid));
  }

  /** The inode that the request is about. @throws FsError ESTALE. */
  get inode(): Inode {
    return (this.target = this.node(this.header.nodeid));
  }

  /**
   * The inode that the request is about, unless it is a file that has lost its last name, and that this session has not open: what came
   * there would be lost. Linux looks the name up again, and finds who has it now.
   *
   * @throws FsError ESTALE.
   */
  get namedInode(): Inode {
    const { inode, session } = this;
    if (inode.isUnlinked && !session.uses(FUSE_NO_OPEN_SUPPORT) && !session.handles.isOpen(inode))
      throw FsError.of(ESTALE);
    return inode;
  }

  /** Whether `inode` can be answered with: what an answer that comes later has may be gone by now, while nobody retained it. */
  has({ ino, generation }: Inode): boolean {
    const { filesystem } = this;
    return !this.#isWaiting || !filesystem.inode || filesystem.inode(ino)?.generation === generation;
  }

  /** How long the guest may believe the answer, in seconds: not at all when something has changed since it was begun, of which the guest may have been told already. */
  get timeout(): number {
    const { notices, policy } = this.session;
    return this.#isWaiting && this.#changes !== notices.changes ? 0 : policy.timeout;
  }

  /** The inode of an open file. @throws FsError EBADF, ESTALE. */
  openFile(fh: number, nodeid = this.header.nodeid): Inode {
    return this.uses(this.session.openFile(fh, nodeid));
  }

  /** @throws FsError EBADF, ESTALE. */
  openDirectory(fh: number): DirectoryHandle {
    const handle = this.session.openDirectory(fh, this.header.nodeid);
    this.uses(handle.inode);
    return handle;
  }

  /** Room for the reply's payload, in bytes. */
  get room(): number {
    return Math.max(0, this.request.sink.capacity - OUT_HEADER_SIZE);
  }

  /** Where the filesystem puts what it reads. */
  get sink(): ByteSink {
    return this.filesystem.isSynchronous ? this.request.sink : this;
  }

  /** Where the filesystem takes what it writes from. */
  get source(): ByteSource {
    return this.filesystem.isSynchronous ? this.request.source : this;
  }

  get capacity(): number {
    return this.request.sink.capacity;
  }

  writeAt(position: number, src: Uint8Array, offset: number, length: number): number {
    if (this.#isWaiting && !this.session.waiting.isRunning) this.isLost = true;
    return this.isOver || this.isLost ? length : this.request.sink.writeAt(position, src, offset, length);
  }

  get remaining(): number {
    return this.isOver ? 0 : this.request.source.remaining;
  }

  /** @throws FsError EINTR once the guest has taken the request back. */
  read(dst: Uint8Array, offset: number, length: number): number {
    if (this.isOver) throw FsError.of(EINTR);
    return this.request.source.read(dst, offset, length);
  }

  /** Replies with `length` bytes, borrowed. @throws FsError ERANGE when they don't fit, or are more than `limit`. */
  send(bytes: Uint8Array, length = bytes.length, limit = length): number {
    if (length > Math.min(limit, this.room)) throw FsError.of(ERANGE);
    return this.request.sink.writeAt(OUT_HEADER_SIZE, bytes, 0, length);
  }
}
