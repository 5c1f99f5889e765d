import { S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { ESTALE, FsError } from '../fs/errno.ts';
import type { Attr, Entry, StatFs, Timespec } from '../fs/filesystem.ts';
import type { Call } from './call.ts';
import { STATX_BASIC_STATS, STATX_BTIME } from './constants.ts';
import type { fuse_attr, fuse_attr_out, fuse_entry_out, fuse_kstatfs, fuse_statx_out } from './layouts.ts';
import type { View } from './struct.ts';

function writeAttr(call: Call, out: View<typeof fuse_attr>, attr: Attr): void {
  out.ino = attr.ino;
  out.size = attr.size;
  out.blocks = attr.blocks;
  out.atime = attr.atime.sec;
  out.mtime = attr.mtime.sec;
  out.ctime = attr.ctime.sec;
  out.atimensec = attr.atime.nsec;
  out.mtimensec = attr.mtime.nsec;
  out.ctimensec = attr.ctime.nsec;
  out.mode = attr.mode;
  out.nlink = attr.nlink;
  out.uid = call.session.policy.guestUid(attr);
  out.gid = call.session.policy.guestGid(attr);
  out.rdev = attr.rdev;
  out.blksize = attr.blksize;
}

/** How long the guest may believe what is told of `attr`. */
function writeAttrTimeout(call: Call, out: { attr_valid: number; attr_valid_nsec: number }, { mode }: Attr): void {
  out.attr_valid = call.timeout;
  if ((mode & S_IFMT) === S_IFDIR) out.attr_valid_nsec = call.session.policy.directoryTick;
}

export function writeAttrOut(call: Call, out: View<typeof fuse_attr_out>, attr: Attr): void {
  writeAttrTimeout(call, out, attr);
  writeAttr(call, out.attr, attr);
}

/** An answer that tells of an inode, and counts as one lookup of it. @throws FsError ESTALE when that is gone by now. */
export function writeEntry(call: Call, out: View<typeof fuse_entry_out>, { inode, attr }: Entry): void {
  if (!call.has(inode)) throw FsError.of(ESTALE);
  out.nodeid = inode.ino;
  out.generation = inode.generation;
  out.entry_valid = call.timeout;
  writeAttrTimeout(call, out, attr);
  writeAttr(call, out.attr, attr);
  call.session.nodes.add(inode);
}

export function writeStatxOut(call: Call, statx: View<typeof fuse_statx_out>, attr: Attr): void {
  writeAttrTimeout(call, statx, attr);
  const out = statx.stat;
  const time = (to: { tv_sec: number; tv_nsec: number }, { sec, nsec }: Timespec) => {
    to.tv_sec = sec;
    to.tv_nsec = nsec;
  };
  out.mask = STATX_BASIC_STATS | STATX_BTIME;
  out.blksize = attr.blksize;
  out.nlink = attr.nlink;
  out.uid = call.session.policy.guestUid(attr);
  out.gid = call.session.policy.guestGid(attr);
  out.mode = attr.mode;
  out.ino = attr.ino;
  out.size = attr.size;
  out.blocks = attr.blocks;
  time(out.atime, attr.atime);
  time(out.btime, attr.btime);
  time(out.ctime, attr.ctime);
  time(out.mtime, attr.mtime);
  // fuse_attr.rdev: the minor's low byte, the major, the minor's rest (Linux's new_encode_dev).
  out.rdev_major = (attr.rdev >>> 8) & 0xfff;
  out.rdev_minor = (attr.rdev & 0xff) | ((attr.rdev >>> 12) & 0xfff00);
}

export function writeStatfs(out: View<typeof fuse_kstatfs>, stat: StatFs): void {
  const { blocks, bfree, bavail, files, ffree, bsize, frsize, namelen } = stat;
  Object.assign(out, { blocks, bfree, bavail, files, ffree, bsize, frsize, namelen });
}
