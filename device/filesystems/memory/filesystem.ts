import { type ByteSink, type ByteSource, PAGE_SIZE } from '../../bytes.ts';
import { NAME_MAX, O_EXCL, O_TRUNC, S_IALLUGO, S_IFDIR, S_IFREG, S_ISGID } from '../../fs/constants.ts';
import { EEXIST, EINVAL, EISDIR, ENODEV, ESTALE, FsError } from '../../fs/errno.ts';
import type {
  FileSystem,
  NewNode,
  OpenOptions,
  Owner,
  SetAttr,
  StatFs,
  Timespec,
  Watcher,
} from '../../fs/filesystem.ts';
import { type LockLimits, LockTable } from '../../fs/locks.ts';
import type { Persistent } from '../../fs/persistence.ts';
import { randomUuid } from '../../random-uuid.ts';
import { accessed, changeAttributes, dropPrivileges, isAcl, modified, setAcl } from './attributes.ts';
import { type CheckedState, checkState } from './check-state.ts';
import { Content } from './content.ts';
import type { Inode } from './inode.ts';
import {
  InodeTable,
  type MemoryObserver,
  type MemoryOrigin,
  type MemoryFileSystemOptions as TableOptions,
} from './inode-table.ts';
import { loadState } from './load-state.ts';
import { directoryOf, Namespace } from './namespace.ts';
import { Reader } from './reader.ts';
import { type MemoryState, saveState } from './state.ts';
import { checkOffset } from './values.ts';
import { getXattr, listXattrs, removeXattr, setXattr } from './xattrs.ts';

/** Limits of a {@link MemoryFileSystem}. */
export interface MemoryFileSystemOptions extends TableOptions {
  /** Limits of the lock table, for each session. */
  locks?: LockLimits;
}

/** What a {@link MemoryFileSystem} is made of, for those who show it in another way. */
export interface MemoryParts {
  readonly table: InodeTable;
  readonly names: Namespace;
}

/** What the columns of a snapshot take for an inode and an entry that names it, amply. */
const INODE_BYTES = 256;

/** The parts of a filesystem. Not for the outside: what is done to them is not checked. */
export let partsOf: (filesystem: MemoryFileSystem) => MemoryParts;

/**
 * A filesystem in memory with the semantics of ext4. Times are kept as `relatime` does; permissions are for the caller to check, as the
 * guest's kernel does.
 */
export class MemoryFileSystem implements FileSystem, Persistent<CheckedState> {
  static {
    partsOf = (filesystem) => ({ table: filesystem.#table, names: filesystem.#names });
  }

  /** What waits for content of an origin is answered out of order. */
  readonly isSynchronous: boolean;
  readonly locks: LockTable;
  readonly #table: InodeTable;
  readonly #names: Namespace;
  /** Of all files that have never had any. */
  readonly #empty: Content;
  #uuid = randomUuid();

  /** @throws RangeError for a limit that is out of range. */
  constructor({ locks, ...options }: MemoryFileSystemOptions = {}) {
    this.locks = new LockTable(locks);
    this.#table = new InodeTable(options);
    this.#names = new Namespace(this.#table);
    this.#empty = new Content(this.#table.space);
    this.isSynchronous = !options.origin;
  }

  /** New with each filesystem; a restored one has that of the state. */
  get uuid(): string {
    return this.#uuid;
  }

  get persistence(): this {
    return this;
  }

  get root(): Inode {
    return this.#table.root;
  }

  /** Tells `observer` what happens from now on, until the function that this returns is called. */
  observe(observer: MemoryObserver): () => void {
    return this.#table.observe(observer);
  }

  /** How many observers there are now. */
  get observerCount(): number {
    return this.#table.observerCount;
  }

  watch(watcher: Watcher): () => void {
    return this.#table.watchers.add(watcher);
  }

  inode(ino: number): Inode | undefined {
    return this.#table.inode(ino);
  }

  /** Every inode there is, those without a name too. */
  inodes(): Iterable<Inode> {
    return this.#table.inodes();
  }

  retain(inode: Inode): void {
    this.#table.retain(inode);
  }

  release(inode: Inode): void {
    this.#table.release(inode);
  }

  lookup(dir: Inode, name: string): Inode | undefined {
    return this.#names.lookup(dir, name);
  }

  /** The entries of a directory as they are now, without "." and "..". */
  entries(dir: Inode): { readonly name: string; readonly inode: Inode }[] {
    return Array.from(directoryOf(dir).entries(), ({ name, inode }) => ({ name, inode }));
  }

  /** Names from the root to the inode, by its last known name; undefined when that is gone. */
  path(inode: Inode): string[] | undefined {
    return this.#names.path(inode);
  }

  getattr(inode: Inode): Inode {
    return inode;
  }

  setattr(inode: Inode, changes: SetAttr): Inode {
    changeAttributes(this.#table, inode, changes);
    if (changes.size !== undefined) this.#table.observer?.modified(inode);
    else this.#table.observer?.attributesChanged(inode);
    return inode;
  }

  statfs(): StatFs {
    const { maxBytes, freePages, maxInodes, freeInodes } = this.#table.space;
    return {
      blocks: Math.floor(maxBytes / PAGE_SIZE),
      bfree: freePages,
      bavail: freePages,
      files: maxInodes,
      ffree: freeInodes,
      bsize: PAGE_SIZE,
      frsize: PAGE_SIZE,
      namelen: NAME_MAX,
    };
  }

  readlink(inode: Inode): string {
    if (inode.target === undefined) throw FsError.of(EINVAL);
    accessed(this.#table, inode);
    return inode.target;
  }

  /** Also a directory, by the type bits of `node.mode`. */
  mknod(dir: Inode, name: string, node: NewNode): Inode {
    return this.#names.mknod(dir, name, node);
  }

  mkdir(dir: Inode, name: string, node: NewNode): Inode {
    return this.#names.mknod(dir, name, { ...node, mode: S_IFDIR | (node.mode & S_IALLUGO) });
  }

  symlink(dir: Inode, name: string, target: string, node: Owner & Pick<NewNode, 'xattrs'>): Inode {
    return this.#names.symlink(dir, name, target, node);
  }

  link(inode: Inode, dir: Inode, name: string): Inode {
    this.#names.link(inode, dir, name);
    return inode;
  }

  unlink(dir: Inode, name: string): void {
    this.#names.unlink(dir, name);
  }

  rmdir(dir: Inode, name: string): void {
    this.#names.rmdir(dir, name);
  }

  rename(dir: Inode, name: string, newDir: Inode, newName: string, flags: number, owner: Owner): void {
    this.#names.rename(dir, name, newDir, newName, flags, owner);
  }

  open(inode: Inode, flags: number, { killSuidgid }: OpenOptions = {}): void {
    if (inode.isDirectory) throw FsError.of(EISDIR);
    if (flags & O_TRUNC) this.setattr(inode, { size: 0, killSuidgid });
  }

  create(dir: Inode, name: string, node: NewNode, flags: number, options?: OpenOptions): Inode {
    const inode = this.#names.lookup(dir, name);
    if (!inode) return this.#names.mknod(dir, name, { ...node, mode: S_IFREG | (node.mode & S_IALLUGO) });
    if (flags & O_EXCL) throw FsError.of(EEXIST);
    this.open(inode, flags, options);
    return inode;
  }

  /** It goes with the last {@link release} of it, or the first chance after that. */
  tmpfile(dir: Inode, node: NewNode): Inode {
    return this.#names.tmpfile(dir, node);
  }

  read(inode: Inode, offset: number, length: number, sink: ByteSink, position: number, noatime = false): number {
    const count = this.#readable(inode).read(offset, length, sink, position);
    if (!noatime) accessed(this.#table, inode);
    return count;
  }

  write(inode: Inode, offset: number | 'end', length: number, source: ByteSource, killSuidgid = false): number {
    this.#table.checkAlive(inode);
    const count = contentOf(inode).write(offset === 'end' ? inode.size : offset, length, source);
    if (count > 0) modified(this.#table, inode);
    if (killSuidgid) {
      dropPrivileges(this.#table, inode);
      this.#attributesChanged(inode);
    }
    return count;
  }

  fallocate(inode: Inode, offset: number, length: number, mode: number): void {
    if (inode.isDirectory) throw FsError.of(EISDIR);
    if (!inode.content) throw FsError.of(ENODEV);
    this.#table.checkAlive(inode);
    inode.content.fallocate(offset, length, mode);
    modified(this.#table, inode);
  }

  lseek(inode: Inode, offset: number, whence: number): number {
    return this.#readable(inode).seek(offset, whence);
  }

  copyFileRange(from: Inode, fromOffset: number, to: Inode, toOffset: number, length: number): number {
    const source = this.#readable(from);
    const target = contentOf(to);
    this.#table.checkAlive(to);
    checkOffset(fromOffset);
    checkOffset(length);
    if (from === to && Math.abs(fromOffset - toOffset) < Math.min(length, source.size - fromOffset))
      throw FsError.of(EINVAL);
    const count = target.copyFrom(source, fromOffset, toOffset, length);
    if (count > 0) {
      accessed(this.#table, from);
      modified(this.#table, to);
    }
    return count;
  }

  /** The content of a file, to be read. */
  #readable(inode: Inode): Content {
    return inode.written ?? (inode.isRegular ? this.#empty : contentOf(inode));
  }

  opendir(dir: Inode, end?: number): Reader {
    const directory = directoryOf(dir);
    if (!directory.parent) throw FsError.of(ESTALE);
    return new Reader(dir, directory, () => accessed(this.#table, dir), end);
  }

  getxattr(inode: Inode, name: string): Uint8Array | undefined {
    return getXattr(inode, name);
  }

  setxattr(inode: Inode, name: string, value: Uint8Array, flags: number, killSgid = false): void {
    this.#table.checkAlive(inode);
    if (isAcl(name)) setAcl(this.#table, inode, name, value, flags);
    else setXattr(this.#table.space, inode, name, value, flags);
    if (killSgid) changeAttributes(this.#table, inode, { mode: inode.mode & S_IALLUGO & ~S_ISGID });
    this.#attributesChanged(inode);
  }

  listxattr(inode: Inode): string[] {
    return listXattrs(inode);
  }

  removexattr(inode: Inode, name: string): void {
    removeXattr(this.#table.space, inode, name);
    this.#attributesChanged(inode);
  }

  #attributesChanged(inode: Inode): void {
    inode.ctime = this.now();
    this.#table.watchers.inodeChanged(inode, false);
    this.#table.observer?.attributesChanged(inode);
  }

  /** The time that a change gets now. */
  now(): Timespec {
    return this.#table.now();
  }

  /** Where content comes from that is not here; undefined where all is. */
  get origin(): MemoryOrigin | undefined {
    return this.#table.origin;
  }

  /**
   * Fetches the content of a file, which is here then, for those who can't wait, until the function is called that this resolves to. It is
   * not counted in `maxContent`.
   *
   * @throws FsError EIO, or what else the origin says.
   */
  async fetch(inode: Inode): Promise<() => void> {
    const { fetched } = this.#table.space;
    const wanted = fetched ? [...(inode.written?.chunks() ?? [])].flatMap(({ origin }) => origin ?? []) : [];
    return wanted.length ? fetched!.hold(wanted) : () => {};
  }

  get capacity(): number {
    const { maxBytes, maxInodes } = this.#table.space;
    return maxBytes + maxInodes * INODE_BYTES;
  }

  /** Everything but who retains what. */
  state(): MemoryState {
    return saveState(this.#table, this.#uuid);
  }

  checkState(state: unknown): CheckedState {
    const checked = checkState(state, this.#table);
    this.#table.space.checkFits(checked.usage);
    return checked;
  }

  /** Inodes that were there before stay the same objects where the state has their number; what else is retained stays, without a name, until it is released. */
  restore(state: CheckedState): void {
    this.#table.observer?.restoring();
    this.#uuid = state.uuid;
    loadState(this.#table, state);
    this.#table.watchers.everythingChanged();
  }

  settle(): void {
    this.#table.settle();
  }
}

/** To be changed. */
function contentOf(inode: Inode): Content {
  const { content } = inode;
  if (content) return content;
  throw FsError.of(inode.isDirectory ? EISDIR : EINVAL);
}
