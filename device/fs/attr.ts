import type { Attr } from './filesystem.ts';

const NEVER = { sec: 0, nsec: 0 };

/**
 * The attributes of an inode, from those that its filesystem knows. The others are what Linux's simple filesystems have: one name, root's,
 * times as the last modification (which is 1970 unless it is given), and `blocks` for a file without holes.
 */
export function makeAttr(known: Pick<Attr, 'ino' | 'mode'> & Partial<Attr>): Attr {
  const { size = 0, mtime = NEVER } = known;
  return {
    size,
    blocks: Math.ceil(size / 512),
    atime: mtime,
    mtime,
    ctime: mtime,
    btime: mtime,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: 0,
    blksize: 4096,
    ...known,
  };
}
