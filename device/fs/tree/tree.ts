import type { ByteSink, ByteSource } from '../../bytes.ts';
import type { Attr, Backend, DirectoryReader, NewNode, Owner, SetAttr, StatFs, Timespec } from '../backend.ts';
import {
  NAME_MAX,
  PATH_MAX,
  RENAME_EXCHANGE,
  RENAME_NOREPLACE,
  RENAME_WHITEOUT,
  S_IALLUGO,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  S_ISGID,
  S_ISUID,
  S_IXGRP,
} from '../constants.ts';
import {
  EBUSY,
  EEXIST,
  EINVAL,
  EISDIR,
  EMLINK,
  ENAMETOOLONG,
  ENODEV,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ENOTEMPTY,
  EPERM,
  ESTALE,
  FsError,
} from '../errno.ts';
import { isFileName, nameLength } from '../names.ts';
import { type Clock, isBefore, systemClock } from './clock.ts';
import { type Directory, type Entry, Reader } from './directory.ts';
import { Inode, symlinkPages } from './inode.ts';
import { PAGE_SIZE, Space } from './space.ts';
import { type CheckedTreeState, type TreeState, checkTreeState, loadTree, saveTree } from './tree-state.ts';
import { getXattr, listXattrs, removeXattr, setXattr } from './xattrs.ts';

export interface TreeOptions {
  /** Bytes that files, directories and attributes may take, counted in pages of 4 KiB. Default: 2 GiB. */
  size?: number;
  /** Inodes there may be, the root included. Default: 1,048,576. */
  inodes?: number;
  /** Default: the host's. */
  clock?: Clock;
}

/** What happens in a {@link Tree}, for whoever shows it elsewhere. */
export interface TreeObserver {
  created(entry: Entry): void;
  /** `entry` is about to go. */
  deleting(entry: Entry): void;
  /** `to` names what `from` named before; `from` is no longer in its directory. */
  moved(from: Entry, to: Entry): void;
  modified(inode: Inode): void;
  attributesChanged(inode: Inode): void;
}

const DEFAULT_SIZE = 2 * 1024 ** 3;
const DEFAULT_INODES = 2 ** 20;
const MAX_INO = 2 ** 31 - 1;
/** Names one file may have, as in ext4. Directories have no such limit on what is in them. */
const LINK_MAX = 65000;
const RELATIME_INTERVAL = 24 * 60 * 60;
const TYPES = new Set([S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO]);

/**
 * A filesystem in memory with the semantics of ext4. Times are kept as `relatime` does; everything
 * else, permissions above all, is for the caller to check.
 */
export class Tree implements Backend {
  uuid: string = crypto.randomUUID();
  readonly root: Inode;
  readonly space: Space;
  observer: TreeObserver | undefined;
  readonly #clock: Clock;
  readonly inodes = new Map<number, Inode>();
  nextIno = 2;

  /** @throws RangeError for a limit that is none. */
  constructor({ size = DEFAULT_SIZE, inodes = DEFAULT_INODES, clock = systemClock() }: TreeOptions = {}) {
    if (!Number.isSafeInteger(size) || size < PAGE_SIZE) throw new RangeError(`size is ${size}: a filesystem has at least ${PAGE_SIZE} bytes`);
    if (!Number.isSafeInteger(inodes) || inodes < 1) throw new RangeError(`inodes is ${inodes}: a filesystem has at least 1`);
    this.#clock = clock;
    this.space = new Space({ maxPages: Math.floor(size / PAGE_SIZE), maxInodes: inodes });
    this.root = new Inode(1, 1, S_IFDIR | 0o755, this.space, clock());
    this.root.nlink = 2;
    this.root.directory!.parent = this.root;
    this.space.takeInode();
    this.space.takePages(1);
    this.inodes.set(1, this.root);
  }

  now(): Timespec {
    return this.#clock();
  }

  inode(ino: number): Inode | undefined {
    return this.inodes.get(ino);
  }

  retain(inode: Inode): void {
    inode.retained++;
  }

  release(inode: Inode): void {
    inode.retained--;
    this.#freeUnused(inode);
  }

  lookup(dir: Inode, name: string): Inode {
    const entry = directoryOf(dir).get(name);
    if (entry) {
      entry.inode.entry = entry;
      return entry.inode;
    }
    if (name === '.') return dir;
    if (name === '..') return this.parent(dir);
    if (nameLength(name) > NAME_MAX) throw FsError.of(ENAMETOOLONG);
    throw FsError.of(ENOENT);
  }

  parent(dir: Inode): Inode {
    const { parent } = directoryOf(dir);
    if (!parent) throw FsError.of(ESTALE);
    return parent;
  }

  /** Names from the root to the inode, by its last known name; undefined when that is gone. */
  path(inode: Inode): string[] | undefined {
    const names: string[] = [];
    for (let at = inode; at !== this.root; ) {
      const { entry } = at;
      if (!entry || entry.inode !== at || entry.dir.directory!.get(entry.name) !== entry) return undefined;
      names.push(entry.name);
      at = entry.dir;
    }
    return names.reverse();
  }

  getattr(inode: Inode): Attr {
    return inode;
  }

  setattr(inode: Inode, changes: SetAttr): void {
    this.setattrQuietly(inode, changes);
    if (changes.size !== undefined) this.observer?.modified(inode);
    else this.observer?.attributesChanged(inode);
  }

  /** {@link setattr} without telling {@link observer}. */
  setattrQuietly(inode: Inode, changes: SetAttr): void {
    const now = this.now();
    const { size } = changes;
    if (size !== undefined) {
      if (inode.isDirectory) throw FsError.of(EISDIR);
      if (!inode.content || size < 0) throw FsError.of(EINVAL);
      if (size !== inode.content.size) {
        inode.content.truncate(size);
        inode.mtime = now;
      }
    }
    if (changes.uid !== undefined) inode.uid = changes.uid;
    if (changes.gid !== undefined) inode.gid = changes.gid;
    if (changes.killSuidgid || changes.uid !== undefined || changes.gid !== undefined) this.#dropPrivileges(inode);
    if (changes.mode !== undefined) inode.mode = (inode.mode & S_IFMT) | (changes.mode & S_IALLUGO);
    if (changes.atime) inode.atime = changes.atime === 'now' ? now : changes.atime;
    if (changes.mtime) inode.mtime = changes.mtime === 'now' ? now : changes.mtime;
    inode.ctime = changes.ctime ?? now;
  }

  statfs(): StatFs {
    const { maxPages, freePages, maxInodes, inodes } = this.space;
    return {
      blocks: maxPages,
      bfree: freePages,
      bavail: freePages,
      files: maxInodes,
      ffree: Math.max(0, maxInodes - inodes),
      bsize: PAGE_SIZE,
      frsize: PAGE_SIZE,
      namelen: NAME_MAX,
    };
  }

  mknod(dir: Inode, name: string, node: NewNode): Inode {
    const type = node.mode & S_IFMT || S_IFREG;
    if (!TYPES.has(type) || type === S_IFLNK) throw FsError.of(EINVAL);
    return this.#create(dir, name, type | (node.mode & S_IALLUGO), node, node.rdev, undefined);
  }

  symlink(dir: Inode, name: string, target: string, owner: Owner): Inode {
    const length = nameLength(target);
    if (length === 0) throw FsError.of(ENOENT);
    if (length >= PATH_MAX) throw FsError.of(ENAMETOOLONG);
    return this.#create(dir, name, S_IFLNK | 0o777, owner, 0, target);
  }

  tmpfile(dir: Inode, node: NewNode): Inode {
    if (!directoryOf(dir).parent) throw FsError.of(ENOENT);
    if ((node.mode & S_IFMT || S_IFREG) !== S_IFREG) throw FsError.of(EINVAL);
    const inode = this.#allocateIn(dir, S_IFREG | (node.mode & S_IALLUGO), node, 0, undefined);
    inode.linkable = true;
    return inode;
  }

  readlink(inode: Inode): string {
    if (inode.target === undefined) throw FsError.of(EINVAL);
    this.#accessed(inode);
    return inode.target;
  }

  link(inode: Inode, dir: Inode, name: string): void {
    if (inode.isDirectory) throw FsError.of(EPERM);
    const directory = this.#vacancy(dir, name);
    if (inode.nlink === 0 && !inode.linkable) throw FsError.of(ENOENT);
    if (inode.nlink >= LINK_MAX) throw FsError.of(EMLINK);
    const entry = directory.add(name, inode);
    this.#attached(entry);
    this.#touch(dir);
    inode.ctime = dir.mtime;
    this.observer?.created(entry);
  }

  unlink(dir: Inode, name: string): void {
    const entry = this.#existing(dir, name);
    if (entry.inode.isDirectory) throw FsError.of(EISDIR);
    this.observer?.deleting(entry);
    this.remove(entry);
  }

  rmdir(dir: Inode, name: string): void {
    if (name === '.') throw FsError.of(EINVAL);
    if (name === '..') throw FsError.of(ENOTEMPTY);
    const entry = this.#existing(dir, name);
    if (directoryOf(entry.inode).length) throw FsError.of(ENOTEMPTY);
    this.observer?.deleting(entry);
    this.remove(entry);
  }

  /** Takes an entry away, and everything below it, without telling {@link observer}. */
  remove(entry: Entry): void {
    const pending = [entry];
    for (let next = pending.at(-1); next; next = pending.at(-1)) {
      const child = next.inode.directory?.entries().next().value;
      if (child) {
        pending.push(child);
        continue;
      }
      pending.pop();
      next.dir.directory!.delete(next.name);
      this.#touch(next.dir);
      this.#detached(next.dir, next.inode);
    }
  }

  rename(dir: Inode, name: string, newDir: Inode, newName: string, flags: number, owner: Owner): void {
    if (flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT)) throw FsError.of(EINVAL);
    if (flags & RENAME_EXCHANGE && flags !== RENAME_EXCHANGE) throw FsError.of(EINVAL);
    const directory = directoryOf(dir);
    const newDirectory = directoryOf(newDir);
    if (isDots(name) || isDots(newName)) throw FsError.of(flags & RENAME_NOREPLACE && isDots(newName) ? EEXIST : EBUSY);
    const from = this.#existing(dir, name);
    checkName(newName);
    const to = newDirectory.get(newName);
    if (to && flags & RENAME_NOREPLACE) throw FsError.of(EEXIST);
    if (!to && flags & RENAME_EXCHANGE) throw FsError.of(ENOENT);
    if (!newDirectory.parent) throw FsError.of(ENOENT);
    if (this.#isWithin(newDir, from.inode)) throw FsError.of(EINVAL);
    if (to && this.#isWithin(dir, to.inode)) throw FsError.of(flags & RENAME_EXCHANGE ? EINVAL : ENOTEMPTY);
    if (to?.inode === from.inode) return;
    if (to && flags & RENAME_EXCHANGE) {
      this.#exchange(from, to);
      return;
    }
    if (to) {
      if (from.inode.isDirectory && !to.inode.isDirectory) throw FsError.of(ENOTDIR);
      if (!from.inode.isDirectory && to.inode.isDirectory) throw FsError.of(EISDIR);
      if (to.inode.directory?.length) throw FsError.of(ENOTEMPTY);
    }
    const whiteout = flags & RENAME_WHITEOUT ? this.#allocateIn(dir, S_IFCHR, owner, 0, undefined) : undefined;
    this.#move(from, directory, newDir, newName, to, whiteout);
  }

  read(inode: Inode, offset: number, length: number, sink: ByteSink, position: number): number {
    const count = contentOf(inode).read(offset, length, sink, position);
    this.#accessed(inode);
    return count;
  }

  write(inode: Inode, offset: number, length: number, source: ByteSource): number {
    const count = contentOf(inode).write(offset, length, source);
    if (count > 0) this.#modified(inode);
    return count;
  }

  fallocate(inode: Inode, offset: number, length: number, mode: number): void {
    if (inode.isDirectory) throw FsError.of(EISDIR);
    if (!inode.content) throw FsError.of(ENODEV);
    inode.content.fallocate(offset, length, mode);
    this.#modified(inode);
  }

  lseek(inode: Inode, offset: number, whence: number): number {
    return contentOf(inode).seek(offset, whence);
  }

  copyFileRange(from: Inode, fromOffset: number, to: Inode, toOffset: number, length: number): number {
    const source = contentOf(from);
    const target = contentOf(to);
    if (fromOffset < 0 || toOffset < 0 || length < 0) throw FsError.of(EINVAL);
    if (from === to && Math.abs(fromOffset - toOffset) < Math.min(length, source.size - fromOffset)) throw FsError.of(EINVAL);
    const count = target.copyFrom(source, fromOffset, toOffset, length);
    if (count > 0) {
      this.#accessed(from);
      this.#modified(to);
    }
    return count;
  }

  openDirectory(dir: Inode): DirectoryReader {
    directoryOf(dir);
    this.#accessed(dir);
    return new Reader(dir);
  }

  getxattr(inode: Inode, name: string): Uint8Array {
    return getXattr(inode, name);
  }

  setxattr(inode: Inode, name: string, value: Uint8Array, flags: number): void {
    setXattr(this.space, inode, name, value, flags);
    inode.ctime = this.now();
    this.observer?.attributesChanged(inode);
  }

  listxattr(inode: Inode): string[] {
    return listXattrs(inode);
  }

  removexattr(inode: Inode, name: string): void {
    removeXattr(this.space, inode, name);
    inode.ctime = this.now();
    this.observer?.attributesChanged(inode);
  }

  /** Plain data: everything but who retains what. File content is lent, not copied; it stays as it is. */
  state(): TreeState {
    return saveTree(this);
  }

  /** Finds a state sound, or throws a TypeError that says what is wrong with it. Changes nothing. */
  static checkState(state: unknown): CheckedTreeState {
    return checkTreeState(state);
  }

  /**
   * Becomes what `state` was. Inodes that were there before stay the same objects where the state
   * has their number; what else is retained stays, without a name, until it is released. What has
   * no name in the state is kept until {@link settle}, for sessions to retain it again.
   */
  restore(state: CheckedTreeState): void {
    loadTree(this, state);
  }

  /** Frees what has no name and no one retains: what a restored state had and no session claimed. */
  settle(): void {
    for (const inode of this.inodes.values()) this.#freeUnused(inode);
  }

  /** An inode without a name yet. @throws FsError ENOSPC. */
  allocate(mode: number, owner: Owner, rdev = 0, target?: string): Inode {
    if (this.nextIno > MAX_INO) throw FsError.of(ENOSPC);
    const directory = (mode & S_IFMT) === S_IFDIR;
    this.space.takeInode();
    try {
      this.space.takePages(directory ? 1 : symlinkPages(target));
    } catch (error) {
      this.space.giveInode();
      throw error;
    }
    const inode = new Inode(this.nextIno++, 1, mode, this.space, this.now());
    inode.uid = owner.uid;
    inode.gid = owner.gid;
    inode.rdev = rdev;
    inode.target = target;
    this.inodes.set(inode.ino, inode);
    return inode;
  }

  /** Gives an inode a name, without telling {@link observer}. On failure an inode that has none is gone. */
  attach(inode: Inode, dir: Inode, name: string, view?: unknown): Entry {
    let entry: Entry;
    try {
      entry = this.#vacancy(dir, name).add(name, inode, view);
    } catch (error) {
      this.#freeUnused(inode);
      throw error;
    }
    this.#attached(entry);
    this.#touch(dir);
    return entry;
  }

  #create(dir: Inode, name: string, mode: number, owner: Owner, rdev: number | undefined, target: string | undefined): Inode {
    this.#vacancy(dir, name);
    const inode = this.#allocateIn(dir, mode, owner, rdev, target);
    const entry = this.attach(inode, dir, name);
    this.observer?.created(entry);
    return inode;
  }

  /** Like {@link allocate}, with what a set-gid directory hands down. */
  #allocateIn(dir: Inode, mode: number, owner: Owner, rdev: number | undefined, target: string | undefined): Inode {
    if (!(dir.mode & S_ISGID)) return this.allocate(mode, owner, rdev, target);
    const inherited = (mode & S_IFMT) === S_IFDIR ? mode | S_ISGID : mode;
    return this.allocate(inherited, { uid: owner.uid, gid: dir.gid }, rdev, target);
  }

  /** The directory to which `name` can be added. */
  #vacancy(dir: Inode, name: string): Directory {
    const directory = directoryOf(dir);
    if (isDots(name)) throw FsError.of(EEXIST);
    checkName(name);
    if (directory.get(name)) throw FsError.of(EEXIST);
    if (!directory.parent) throw FsError.of(ENOENT);
    return directory;
  }

  #existing(dir: Inode, name: string): Entry {
    const entry = directoryOf(dir).get(name);
    if (entry) return entry;
    if (isDots(name)) throw FsError.of(EISDIR);
    if (nameLength(name) > NAME_MAX) throw FsError.of(ENAMETOOLONG);
    throw FsError.of(ENOENT);
  }

  #isWithin(dir: Inode, ancestor: Inode): boolean {
    if (!ancestor.isDirectory) return false;
    for (let at: Inode | undefined = dir; at; at = at.directory!.parent) {
      if (at === ancestor) return true;
      if (at === this.root) return false;
    }
    return false;
  }

  #move(from: Entry, directory: Directory, newDir: Inode, newName: string, to: Entry | undefined, whiteout: Inode | undefined): void {
    const { inode, dir } = from;
    const newDirectory = newDir.directory!;
    let entry = to;
    if (to) {
      this.observer?.deleting(to);
      const replaced = to.inode;
      to.inode = inode;
      to.view = from.view;
      this.#detached(newDir, replaced);
    } else {
      try {
        entry = newDirectory.add(newName, inode, from.view);
      } catch (error) {
        if (whiteout) this.#freeUnused(whiteout);
        throw error;
      }
    }
    inode.entry = entry;
    from.view = undefined;
    if (whiteout) {
      from.inode = whiteout;
      this.#attached(from);
    } else {
      directory.delete(from.name);
    }
    if (inode.directory && newDir !== dir) {
      inode.directory.parent = newDir;
      dir.nlink--;
      newDir.nlink++;
    }
    inode.ctime = this.#touch(dir);
    if (newDir !== dir) newDir.mtime = newDir.ctime = inode.ctime;
    this.observer?.moved(from, entry!);
    if (whiteout) this.observer?.created(from);
  }

  #exchange(a: Entry, b: Entry): void {
    [a.inode, b.inode] = [b.inode, a.inode];
    [a.view, b.view] = [b.view, a.view];
    const now = this.#touch(a.dir);
    b.dir.mtime = b.dir.ctime = now;
    for (const [entry, before] of [[a, b], [b, a]] as const) {
      const { inode, dir } = entry;
      inode.ctime = now;
      inode.entry = entry;
      if (inode.directory && before.dir !== dir) {
        inode.directory.parent = dir;
        before.dir.nlink--;
        dir.nlink++;
      }
      this.observer?.moved(before, entry);
    }
  }

  /** `entry` names its inode from now on. */
  #attached(entry: Entry): void {
    const { dir, inode } = entry;
    inode.entry = entry;
    if (inode.directory) {
      inode.directory.parent = dir;
      inode.nlink = 2;
      dir.nlink++;
    } else {
      inode.nlink++;
    }
  }

  /** `inode` has lost a name in `dir`. */
  #detached(dir: Inode, inode: Inode): void {
    if (inode.directory) {
      inode.nlink = 0;
      inode.directory.parent = undefined;
      dir.nlink--;
    } else {
      inode.nlink--;
    }
    inode.linkable = false;
    inode.ctime = this.now();
    this.#freeUnused(inode);
  }

  #freeUnused(inode: Inode): void {
    if (inode.nlink > 0 || inode.retained > 0 || this.inodes.get(inode.ino) !== inode) return;
    this.space.givePages(inode.pages - (inode.content?.pages ?? 0));
    inode.content?.clear();
    this.space.giveInode();
    this.inodes.delete(inode.ino);
  }

  /** The entries of `dir` have changed. */
  #touch(dir: Inode): Timespec {
    return (dir.mtime = dir.ctime = this.now());
  }

  #modified(inode: Inode): void {
    inode.mtime = inode.ctime = this.now();
    if (inode.xattrs?.has('security.capability')) removeXattr(this.space, inode, 'security.capability');
    this.observer?.modified(inode);
  }

  /** Moves the access time as the mount option `relatime` does. */
  #accessed(inode: Inode): void {
    const { atime, mtime, ctime } = inode;
    const now = this.now();
    if (!isBefore(mtime, atime) || !isBefore(ctime, atime) || now.sec - atime.sec >= RELATIME_INTERVAL) inode.atime = now;
  }

  #dropPrivileges(inode: Inode): void {
    if (inode.isDirectory) return;
    inode.mode &= ~S_ISUID;
    if (inode.mode & S_IXGRP) inode.mode &= ~S_ISGID;
    if (inode.xattrs?.has('security.capability')) removeXattr(this.space, inode, 'security.capability');
  }
}

function directoryOf(inode: Inode): Directory {
  if (!inode.directory) throw FsError.of(ENOTDIR);
  return inode.directory;
}

function contentOf(inode: Inode) {
  if (inode.content) return inode.content;
  throw FsError.of(inode.isDirectory ? EISDIR : EINVAL);
}

function isDots(name: string): boolean {
  return name === '.' || name === '..';
}

function checkName(name: string): void {
  if (!isFileName(name)) throw FsError.of(nameLength(name) > NAME_MAX ? ENAMETOOLONG : EINVAL);
}
