import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, realpathSync } from 'node:fs';
import { ESTALE, FsError } from '../../../device/fs/errno.ts';
import { encodeName } from '../../../device/fs/names.ts';
import { type HostPath, O_PATH } from '../shares/host-directory.ts';
import { codeOf } from './host-error.ts';
import { identityOf, isSameFile, keyOf } from './identity.ts';
import type { LiveInode } from './live-inode.ts';

const SLASH = 0x2f;
const DELETED = Buffer.from(' (deleted)');
const SEPARATOR = Buffer.from('/');
/** Directories in directories, of which a place is looked for. */
export const MAX_DEPTH = 10_000;

/**
 * Asks the kernel where a file is, both with descriptors. Returns whether it has the name still that it was opened by.
 *
 * @throws FsError ESTALE for what was moved out of the directory `root`: it is not the guest's any more.
 */
export function checkInside(inode: LiveInode, root: LiveInode): boolean {
  if (inode === root) return true;
  const top = readlinkSync(`/proc/self/fd/${root.pin}`, { encoding: 'buffer' });
  if (top.length === 1) return true;
  let path: Buffer;
  try {
    path = readlinkSync(`/proc/self/fd/${inode.pin}`, { encoding: 'buffer' });
  } catch (error) {
    // The kernel says no more than a page.
    const dir = inode.isDirectory ? inode : inode.parent;
    if (codeOf(error) !== 'ENAMETOOLONG' || dir?.pin === undefined) throw error;
    climb(dir.pin, root);
    return true;
  }
  const isBelow = path.length > top.length && path[top.length] === SLASH && path.subarray(0, top.length).equals(top);
  if (!isBelow) throw FsError.of(ESTALE);
  return !path.subarray(-DELETED.length).equals(DELETED);
}

/** Goes up from a directory until the root is there. @throws FsError ESTALE when it never is. */
function climb(pin: number, root: LiveInode): void {
  let fd = openSync(`/proc/self/fd/${pin}/.`, O_PATH | constants.O_DIRECTORY);
  try {
    for (let last = ''; ; ) {
      const stats = fstatSync(fd, { bigint: true });
      if (isSameFile(identityOf(stats), root.identity)) return;
      if (keyOf(stats) === last) throw FsError.of(ESTALE);
      last = keyOf(stats);
      const above = openSync(`/proc/self/fd/${fd}/..`, O_PATH | constants.O_DIRECTORY);
      closeSync(fd);
      fd = above;
    }
  } finally {
    closeSync(fd);
  }
}

/** Where it was seen last, from the root; undefined where that leads nowhere. */
export function namesOf(inode: LiveInode): string[] | undefined {
  const names: string[] = [];
  for (let at = inode; at.parent; at = at.parent) {
    if (names.push(at.name) > MAX_DEPTH) return undefined;
  }
  return names.reverse();
}

/** Without descriptors: the path of an inode below `root`, if it is there still and no link is on the way. @throws FsError ESTALE. */
export function checkedPath(inode: LiveInode, root: string): string {
  const names = namesOf(inode);
  if (!names) throw FsError.of(ESTALE);
  const above = [root, ...names.slice(0, -1)].join('/');
  const path = [root, ...names].join('/');
  try {
    if (realpathSync(above) === above && isSameFile(identityOf(lstatSync(path, { bigint: true })), inode.identity))
      return path;
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error;
  }
  throw FsError.of(ESTALE);
}

/** The path of an entry of what has the path `above`. */
export function entryPath(above: string, name: string): HostPath {
  return name.isWellFormed() ? `${above}/${name}` : Buffer.concat([Buffer.from(above), SEPARATOR, encodeName(name)]);
}
