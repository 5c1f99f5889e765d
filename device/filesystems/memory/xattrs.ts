import { copyOf } from '../../bytes.ts';
import { XATTR_CREATE, XATTR_REPLACE } from '../../fs/constants.ts';
import { EEXIST, EINVAL, ENODATA, FsError } from '../../fs/errno.ts';
import { nameLength } from '../../fs/names.ts';
import type { Inode } from './inode.ts';
import { type Space, xattrCost, xattrsCost } from './space.ts';
import { checkXattr, checkXattrList } from './values.ts';

/** The extended attributes of one inode; there is at least one. */
export class Xattrs {
  readonly #values = new Map<string, Uint8Array>();
  #bytes = 0;
  /** Length of all names, each with its NUL. */
  list = 0;

  /** What they are charged, in bytes. */
  get cost(): number {
    return xattrsCost(this.#bytes);
  }

  get size(): number {
    return this.#values.size;
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  get(name: string): Uint8Array | undefined {
    return this.#values.get(name);
  }

  entries(): MapIterator<[name: string, value: Uint8Array]> {
    return this.#values.entries();
  }

  names(): MapIterator<string> {
    return this.#values.keys();
  }

  set(name: string, value: Uint8Array): void {
    this.delete(name);
    this.#values.set(name, value);
    this.#bytes += xattrCost(name, value);
    this.list += nameLength(name) + 1;
  }

  delete(name: string): void {
    const value = this.#values.get(name);
    if (!value) return;
    this.#values.delete(name);
    this.#bytes -= xattrCost(name, value);
    this.list -= nameLength(name) + 1;
  }
}

/** A copy of the value. */
export function getXattr(inode: Inode, name: string): Uint8Array | undefined {
  const value = inode.xattrs?.get(name);
  return value && copyOf(value);
}

export function listXattrs(inode: Inode): string[] {
  return inode.xattrs ? [...inode.xattrs.names()] : [];
}

/** `value` is kept. @throws FsError EINVAL, EEXIST, ENODATA, ENOSPC, and as {@link checkXattr} says, with nothing changed. */
export function setXattr(space: Space, inode: Inode, name: string, value: Uint8Array, flags: number): void {
  if (flags & ~(XATTR_CREATE | XATTR_REPLACE)) throw FsError.of(EINVAL);
  checkXattr(inode.mode, name, value);
  const { xattrs } = inode;
  const old = xattrs?.get(name);
  if (old && flags & XATTR_CREATE) throw FsError.of(EEXIST);
  if (!old && flags & XATTR_REPLACE) throw FsError.of(ENODATA);
  if (!old) checkXattrList((xattrs?.list ?? 0) + nameLength(name) + 1);
  const cost = xattrCost(name, value);
  space.takeMetadata(old ? cost - xattrCost(name, old) : xattrs ? cost : xattrsCost(cost));
  addXattr(inode, name, value);
}

/** Gives an inode an attribute that is charged already. */
function addXattr(inode: Inode, name: string, value: Uint8Array): void {
  inode.touch();
  inode.xattrs ??= new Xattrs();
  inode.xattrs.set(name, value);
}

/** @throws FsError ENODATA. */
export function removeXattr(space: Space, inode: Inode, name: string): void {
  const { xattrs } = inode;
  if (!xattrs?.has(name)) throw FsError.of(ENODATA);
  const before = xattrs.cost;
  inode.touch();
  xattrs.delete(name);
  space.takeMetadata(xattrs.cost - before);
  if (!xattrs.size) inode.xattrs = undefined;
}
