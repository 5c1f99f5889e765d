import { isBefore } from '../../fs/clock.ts';
import { S_IALLUGO, S_IFMT, S_ISGID, S_ISUID, S_IXGRP } from '../../fs/constants.ts';
import { EINVAL, EISDIR, FsError } from '../../fs/errno.ts';
import type { SetAttr, Timespec } from '../../fs/filesystem.ts';
import { ACL_ACCESS, ACL_DEFAULT, Acl } from './acl.ts';
import type { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import { checkOwner, checkTime, checkXattr } from './values.ts';
import { removeXattr, setXattr } from './xattrs.ts';

const RELATIME_INTERVAL = 24 * 60 * 60;
const CAPABILITY = 'security.capability';

/** Changes what `changes` has of an inode that is alive, without telling observers. */
export function changeAttributes(table: InodeTable, inode: Inode, changes: SetAttr): void {
  const now = table.now();
  const { size } = changes;
  checkOwner(changes.uid ?? 0, changes.gid ?? 0);
  const atime = timeOf(changes.atime, now);
  const mtime = timeOf(changes.mtime, now);
  const ctime = timeOf(changes.ctime, now);
  if (size !== undefined) {
    table.checkAlive(inode);
    if (inode.isDirectory) throw FsError.of(EISDIR);
    if (!inode.isRegular) throw FsError.of(EINVAL);
    if (size !== inode.size) inode.content!.truncate(size);
    inode.mtime = now;
  }
  if (changes.uid !== undefined) inode.uid = changes.uid;
  if (changes.gid !== undefined) inode.gid = changes.gid;
  if (changes.killSuidgid || changes.uid !== undefined || changes.gid !== undefined) dropPrivileges(table, inode);
  if (changes.mode !== undefined) chmod(table, inode, changes.mode);
  if (changes.atime) inode.atime = atime;
  if (changes.mtime) inode.mtime = mtime;
  inode.ctime = ctime;
  table.watchers.inodeChanged(inode, size !== undefined);
}

function timeOf(change: Timespec | 'now' | undefined, now: Timespec): Timespec {
  return change === undefined || change === 'now' ? now : checkTime(change);
}

function chmod(table: InodeTable, inode: Inode, mode: number): void {
  inode.mode = (inode.mode & S_IFMT) | (mode & S_IALLUGO);
  const bytes = inode.xattrs?.get(ACL_ACCESS);
  if (!bytes) return;
  const acl = Acl.decode(bytes);
  acl.mode = mode;
  setXattr(table.space, inode, ACL_ACCESS, acl.encode(), 0);
}

/** chown(2), and writing by whoever may not keep them: set-id bits and capabilities go. */
export function dropPrivileges(table: InodeTable, inode: Inode): void {
  if (inode.isDirectory) return;
  inode.mode &= ~S_ISUID;
  if (inode.mode & S_IXGRP) inode.mode &= ~S_ISGID;
  dropCapability(table, inode);
}

/** An access ACL that says no more than permission bits becomes those; the bits show any other. */
export function setAcl(table: InodeTable, inode: Inode, name: string, value: Uint8Array, flags: number): void {
  checkXattr(inode.mode, name, value);
  const acl = Acl.decode(value);
  const isKept = !acl.isEmpty && !(name === ACL_ACCESS && acl.isMinimal);
  if (isKept) setXattr(table.space, inode, name, value, flags);
  else if (inode.xattrs?.has(name)) removeXattr(table.space, inode, name);
  if (name === ACL_ACCESS && !acl.isEmpty) inode.mode = (inode.mode & ~0o777) | acl.mode;
}

export function isAcl(name: string): boolean {
  return name === ACL_ACCESS || name === ACL_DEFAULT;
}

/** The content of `inode` has changed. */
export function modified(table: InodeTable, inode: Inode): void {
  inode.mtime = inode.ctime = table.now();
  dropCapability(table, inode);
  table.watchers.inodeChanged(inode, true);
  table.observer?.modified(inode);
}

function dropCapability(table: InodeTable, inode: Inode): void {
  if (inode.xattrs?.has(CAPABILITY)) removeXattr(table.space, inode, CAPABILITY);
}

/** Moves the access time, as the mount option `relatime` does. */
export function accessed(table: InodeTable, inode: Inode): void {
  const { atime, mtime, ctime } = inode;
  const now = table.now();
  if (!isBefore(mtime, atime) || !isBefore(ctime, atime) || now.sec - atime.sec >= RELATIME_INTERVAL) inode.atime = now;
}
