import { type ByteSink, type ByteSource, PAGE_SIZE } from '../../bytes.ts';
import { randomUuid } from '../../random-uuid.ts';
import type { Attr, Backend, DirectoryReader, SetAttr, StatFs, Timespec } from '../backend.ts';
import { NAME_MAX, S_IALLUGO, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from '../constants.ts';
import { EINVAL, EISDIR, ENODEV, ESTALE, FsError } from '../errno.ts';
import { ACL_ACCESS, ACL_DEFAULT, Acl } from './acl.ts';
import { checkTreeState } from './check-tree-state.ts';
import { isBefore } from './clock.ts';
import { Reader } from './directory.ts';
import type { Inode } from './inode.ts';
import { directoryOf, Namespace } from './namespace.ts';

import { type CheckedTreeState, loadTree, saveTree, type TreeState } from './tree-state.ts';
import { checkOffset, checkOwner, checkTime, checkXattr } from './values.ts';
import { getXattr, listXattrs, removeXattr, setXattr } from './xattrs.ts';

const RELATIME_INTERVAL = 24 * 60 * 60;

/**
 * A filesystem in memory with the semantics of ext4. Times are kept as `relatime` does; everything
 * else, permissions above all, is for the caller to check.
 */
export class Tree extends Namespace implements Backend {
  /** New with each tree; a restored one has that of the state. */
  uuid: string = randomUuid();

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
    checkOwner(changes.uid ?? 0, changes.gid ?? 0);
    const atime = timeOf(changes.atime, now);
    const mtime = timeOf(changes.mtime, now);
    const ctime = timeOf(changes.ctime, now);
    if (size !== undefined) {
      this.#checkAlive(inode);
      if (inode.isDirectory) throw FsError.of(EISDIR);
      if (!inode.isRegular) throw FsError.of(EINVAL);
      if (size !== inode.size) inode.content!.truncate(size);
      inode.mtime = now;
    }
    if (changes.uid !== undefined) inode.uid = changes.uid;
    if (changes.gid !== undefined) inode.gid = changes.gid;
    if (changes.killSuidgid || changes.uid !== undefined || changes.gid !== undefined) this.#dropPrivileges(inode);
    if (changes.mode !== undefined) this.#chmod(inode, changes.mode);
    if (changes.atime) inode.atime = atime;
    if (changes.mtime) inode.mtime = mtime;
    inode.ctime = ctime;
  }

  statfs(): StatFs {
    const { maxBytes, freePages, maxInodes, freeInodes } = this.space;
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
    this.accessed(inode);
    return inode.target;
  }

  read(inode: Inode, offset: number, length: number, sink: ByteSink, position: number): number {
    return inode.isRegular && inode.size === 0 ? 0 : contentOf(inode).read(offset, length, sink, position);
  }

  write(inode: Inode, offset: number, length: number, source: ByteSource): number {
    this.#checkAlive(inode);
    const count = contentOf(inode).write(offset, length, source);
    if (count > 0) this.#modified(inode);
    return count;
  }

  fallocate(inode: Inode, offset: number, length: number, mode: number): void {
    if (inode.isDirectory) throw FsError.of(EISDIR);
    if (!inode.content) throw FsError.of(ENODEV);
    this.#checkAlive(inode);
    inode.content.fallocate(offset, length, mode);
    this.#modified(inode);
  }

  lseek(inode: Inode, offset: number, whence: number): number {
    return contentOf(inode).seek(offset, whence);
  }

  copyFileRange(from: Inode, fromOffset: number, to: Inode, toOffset: number, length: number): number {
    const source = contentOf(from);
    const target = contentOf(to);
    this.#checkAlive(to);
    checkOffset(fromOffset);
    checkOffset(length);
    if (from === to && Math.abs(fromOffset - toOffset) < Math.min(length, source.size - fromOffset))
      throw FsError.of(EINVAL);
    const count = target.copyFrom(source, fromOffset, toOffset, length);
    if (count > 0) {
      this.accessed(from);
      this.#modified(to);
    }
    return count;
  }

  openDirectory(dir: Inode, end?: number): DirectoryReader {
    directoryOf(dir);
    return new Reader(dir, end);
  }

  getxattr(inode: Inode, name: string): Uint8Array {
    return getXattr(inode, name);
  }

  setxattr(inode: Inode, name: string, value: Uint8Array, flags: number): void {
    this.#checkAlive(inode);
    if (name === ACL_ACCESS || name === ACL_DEFAULT) this.#setAcl(inode, name, value, flags);
    else setXattr(this.space, inode, name, value, flags);
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

  /** @throws RangeError when there is more in a state than may be here. */
  checkFits(state: CheckedTreeState): void {
    this.space.checkFits(state.usage);
  }

  /**
   * Becomes what `state` was. Inodes that were there before stay the same objects where the state
   * has their number; what else is retained stays, without a name, until it is released. What has
   * no name in the state is kept until {@link settle}, for sessions to retain it again.
   *
   * @throws RangeError when there is more in the state than may be here, with nothing changed.
   */
  restore(state: CheckedTreeState): void {
    this.checkFits(state);
    loadTree(this, state);
  }

  /** What is put into an inode that is gone would be charged for ever. @throws FsError ESTALE. */
  #checkAlive(inode: Inode): void {
    if (inode.nlink === 0 && this.inodes.get(inode.ino) !== inode) throw FsError.of(ESTALE);
  }

  #chmod(inode: Inode, mode: number): void {
    inode.mode = (inode.mode & S_IFMT) | (mode & S_IALLUGO);
    const bytes = inode.xattrs?.get(ACL_ACCESS);
    if (!bytes) return;
    const acl = Acl.decode(bytes);
    acl.mode = mode;
    setXattr(this.space, inode, ACL_ACCESS, acl.encode(), 0);
  }

  /** An access ACL that says no more than permission bits becomes those; the bits show any other. */
  #setAcl(inode: Inode, name: string, value: Uint8Array, flags: number): void {
    checkXattr(inode.mode, name, value);
    const acl = Acl.decode(value);
    const isKept = !acl.isEmpty && !(name === ACL_ACCESS && acl.isMinimal);
    if (isKept) setXattr(this.space, inode, name, value, flags);
    else if (inode.xattrs?.has(name)) removeXattr(this.space, inode, name);
    if (name === ACL_ACCESS && !acl.isEmpty) inode.mode = (inode.mode & ~0o777) | acl.mode;
  }

  #modified(inode: Inode): void {
    inode.mtime = inode.ctime = this.now();
    if (inode.xattrs?.has('security.capability')) removeXattr(this.space, inode, 'security.capability');
    this.observer?.modified(inode);
  }

  accessed(inode: Inode): void {
    const { atime, mtime, ctime } = inode;
    const now = this.now();
    if (!isBefore(mtime, atime) || !isBefore(ctime, atime) || now.sec - atime.sec >= RELATIME_INTERVAL)
      inode.atime = now;
  }

  #dropPrivileges(inode: Inode): void {
    if (inode.isDirectory) return;
    inode.mode &= ~S_ISUID;
    if (inode.mode & S_IXGRP) inode.mode &= ~S_ISGID;
    if (inode.xattrs?.has('security.capability')) removeXattr(this.space, inode, 'security.capability');
  }
}

function timeOf(change: Timespec | 'now' | undefined, now: Timespec): Timespec {
  return change === undefined || change === 'now' ? now : checkTime(change);
}

function contentOf(inode: Inode) {
  if (inode.content) return inode.content;
  throw FsError.of(inode.isDirectory ? EISDIR : EINVAL);
}
