import { XATTR_CREATE, XATTR_REPLACE } from '../constants.ts';
import { EEXIST, EINVAL, ENODATA, FsError } from '../errno.ts';
import { nameLength } from '../names.ts';
import type { Inode } from './inode.ts';
import { PAGE_SIZE, type Space } from './space.ts';
import { checkXattr, checkXattrList } from './values.ts';

/** What an attribute is charged besides its name and value, in bytes. */
const XATTR_OVERHEAD = 64;

/** A copy of the value. @throws FsError ENODATA. */
export function getXattr(inode: Inode, name: string): Uint8Array {
  const value = inode.xattrs?.get(name);
  if (!value) throw FsError.of(ENODATA);
  return value.slice();
}

export function listXattrs(inode: Inode): string[] {
  return inode.xattrs ? [...inode.xattrs.keys()] : [];
}

/** `value` is copied. @throws FsError EINVAL, EEXIST, ENODATA, ENOSPC, and as {@link checkXattr} says, with nothing changed. */
export function setXattr(space: Space, inode: Inode, name: string, value: Uint8Array, flags: number): void {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) throw FsError.of(EINVAL);
  checkXattr(inode.mode, name, value);
  const old = inode.xattrs?.get(name);
  if (old && flags & XATTR_CREATE) throw FsError.of(EEXIST);
  if (!old && flags & XATTR_REPLACE) throw FsError.of(ENODATA);
  const changed = new Map(inode.xattrs).set(name, value.slice());
  let list = 0;
  for (const key of changed.keys()) list += nameLength(key) + 1;
  checkXattrList(list);
  chargeXattrs(space, inode, changed, true);
}

/** @throws FsError ENODATA. */
export function removeXattr(space: Space, inode: Inode, name: string): void {
  if (!inode.xattrs?.has(name)) throw FsError.of(ENODATA);
  const changed = new Map(inode.xattrs);
  changed.delete(name);
  chargeXattrs(space, inode, changed.size ? changed : undefined, true);
}

/** Gives an inode these attributes, and charges them; `limited`: within the quota. */
export function chargeXattrs(space: Space, inode: Inode, xattrs: Map<string, Uint8Array> | undefined, limited: boolean): void {
  let bytes = 0;
  for (const [name, value] of xattrs ?? []) bytes += XATTR_OVERHEAD + nameLength(name) + value.length;
  const added = Math.ceil(bytes / PAGE_SIZE) - inode.xattrPages;
  if (limited) space.takePages(added);
  else space.pages += added;
  inode.xattrPages += added;
  inode.xattrs = xattrs;
}
