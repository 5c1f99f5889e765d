import type { BigIntStats, StatsFsBase } from 'node:fs';
import { NAME_MAX } from '../../../device/fs/constants.ts';
import type { Attr, StatFs } from '../../../device/fs/filesystem.ts';
import { timespec } from '../timespec.ts';

/** What the host says of a file, for a guest that knows it by `ino`. */
export function attrOf(stats: BigIntStats, ino: number): Attr {
  return {
    ino,
    size: Number(stats.size),
    blocks: Number(stats.blocks ?? 0n),
    atime: timespec(stats.atimeNs),
    mtime: timespec(stats.mtimeNs),
    ctime: timespec(stats.ctimeNs),
    btime: timespec(stats.birthtimeNs),
    mode: Number(stats.mode),
    nlink: Number(stats.nlink),
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    // The low half of glibc's dev_t: twelve bits of major and twenty of minor, as `Attr.rdev` has them.
    rdev: Number(BigInt.asUintN(32, stats.rdev)),
    blksize: Number(stats.blksize ?? 4096n),
  };
}

export function statfsOf({ bsize, blocks, bfree, bavail, files, ffree }: StatsFsBase<bigint>): StatFs {
  return {
    blocks: Number(blocks),
    bfree: Number(bfree),
    bavail: Number(bavail),
    files: Number(files),
    ffree: Number(ffree),
    bsize: Number(bsize),
    frsize: Number(bsize),
    namelen: NAME_MAX,
  };
}
