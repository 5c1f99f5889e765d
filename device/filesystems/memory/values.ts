import {
  NAME_MAX,
  PATH_MAX,
  S_IALLUGO,
  S_IFBLK,
  S_IFCHR,
  S_IFDIR,
  S_IFIFO,
  S_IFLNK,
  S_IFMT,
  S_IFREG,
  S_IFSOCK,
  XATTR_LIST_MAX,
  XATTR_NAME_MAX,
  XATTR_SIZE_MAX,
} from '../../fs/constants.ts';
import {
  E2BIG,
  EACCES,
  EFBIG,
  EINVAL,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  EOPNOTSUPP,
  ERANGE,
  FsError,
} from '../../fs/errno.ts';
import type { Timespec } from '../../fs/filesystem.ts';
import { isCanonical, isFileName, nameLength } from '../../fs/names.ts';
import { ACL_ACCESS, ACL_DEFAULT, Acl } from './acl.ts';

/**
 * What the values in a filesystem may be. All that brings some (guests, the host, archives, snapshots) has them
 * judged here, so that what is accepted while a filesystem is in use is accepted when a snapshot of it comes back.
 */

/** Largest file, in bytes: the last page whose every offset a number holds exactly. */
export const MAX_FILE_SIZE = 2 ** 53 - 4096;
/** Names one file may have, as in ext4. Directories have no such limit on what is in them. */
export const LINK_MAX = 65_000;
export const MAX_INO = 2 ** 31 - 1;
/** In seconds, either side of 1970: some 69,000 years. */
const TIME_MAX = 2 ** 41 - 2 ** 32;
const TYPES = new Set([S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO]);

/** The time that a file keeps: as in Linux one out of range becomes the nearest. @throws FsError EINVAL for invalid nanoseconds, as utimensat(2). */
export function checkTime(time: Timespec): Timespec {
  const { sec, nsec } = time;
  if (!isU32(nsec) || nsec > 999_999_999 || !(Number.isInteger(sec) || Math.abs(sec) === Infinity))
    throw FsError.of(EINVAL);
  if (sec > TIME_MAX) return { sec: TIME_MAX, nsec: 0 };
  return sec < -TIME_MAX ? { sec: -TIME_MAX, nsec: 0 } : time;
}

/** @throws FsError EINVAL for a user or group that is no u32. */
export function checkOwner(uid: number, gid: number): void {
  if (!isU32(uid) || !isU32(gid)) throw FsError.of(EINVAL);
}

/** Of an inode: type and permission bits, a device's number, a symbolic link's target and nobody else's. @throws FsError EINVAL, ENOENT, ENAMETOOLONG. */
export function checkNode(mode: number, rdev: number, target: string | undefined): void {
  if (!TYPES.has(mode & S_IFMT) || mode & ~(S_IFMT | S_IALLUGO) || !isU32(mode) || !isU32(rdev))
    throw FsError.of(EINVAL);
  if (((mode & S_IFMT) === S_IFLNK) !== (target !== undefined)) throw FsError.of(EINVAL);
  if (target === undefined) return;
  if (target === '') throw FsError.of(ENOENT);
  if (target.includes('\0') || !isCanonical(target)) throw FsError.of(EINVAL);
  if (nameLength(target) >= PATH_MAX) throw FsError.of(ENAMETOOLONG);
}

/** @throws FsError EINVAL, ENAMETOOLONG. */
export function checkName(name: string): void {
  if (!isFileName(name)) throw FsError.of(nameLength(name) > NAME_MAX ? ENAMETOOLONG : EINVAL);
}

/** @throws FsError EINVAL for what is no offset or length in bytes. */
export function checkOffset(value: number): void {
  if (!Number.isInteger(value) || value < 0) throw FsError.of(EINVAL);
}

/** @throws FsError EINVAL, and EFBIG for what is beyond any file. */
export function checkSize(value: number): void {
  checkOffset(value);
  if (value > MAX_FILE_SIZE) throw FsError.of(EFBIG);
}

/** @throws FsError ERANGE and EINVAL (name), E2BIG (value); for ACLs also EINVAL, EACCES, EOPNOTSUPP. */
export function checkXattr(mode: number, name: string, value: Uint8Array): void {
  if (name === '' || nameLength(name) > XATTR_NAME_MAX) throw FsError.of(ERANGE);
  if (name.includes('\0') || !isCanonical(name)) throw FsError.of(EINVAL);
  if (value.length > XATTR_SIZE_MAX) throw FsError.of(E2BIG);
  if (name !== ACL_ACCESS && name !== ACL_DEFAULT) return;
  if ((mode & S_IFMT) === S_IFLNK) throw FsError.of(EOPNOTSUPP);
  if (name === ACL_DEFAULT && (mode & S_IFMT) !== S_IFDIR) throw FsError.of(EACCES);
  Acl.decode(value);
}

/** `bytes`: of all names of one inode's attributes, as listxattr(2) gives them. @throws FsError ENOSPC. */
export function checkXattrList(bytes: number): void {
  if (bytes > XATTR_LIST_MAX) throw FsError.of(ENOSPC);
}

function isU32(value: number): boolean {
  return value >>> 0 === value;
}
