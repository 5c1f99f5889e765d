/** Numbers of the Linux file interface that are the same on every architecture. */

// linux/stat.h
export const S_IFMT = 0o170000;
export const S_IFSOCK = 0o140000;
export const S_IFLNK = 0o120000;
export const S_IFREG = 0o100000;
export const S_IFBLK = 0o060000;
export const S_IFDIR = 0o040000;
export const S_IFCHR = 0o020000;
export const S_IFIFO = 0o010000;
export const S_ISUID = 0o4000;
export const S_ISGID = 0o2000;
export const S_IXGRP = 0o010;
/** Every bit that chmod(2) can set. */
export const S_IALLUGO = 0o7777;

// linux/fs.h
export const RENAME_NOREPLACE = 1;
export const RENAME_EXCHANGE = 2;
export const RENAME_WHITEOUT = 4;
export const SEEK_DATA = 3;
export const SEEK_HOLE = 4;

// linux/falloc.h
export const FALLOC_FL_KEEP_SIZE = 0x01;
export const FALLOC_FL_PUNCH_HOLE = 0x02;
export const FALLOC_FL_COLLAPSE_RANGE = 0x08;
export const FALLOC_FL_ZERO_RANGE = 0x10;
export const FALLOC_FL_INSERT_RANGE = 0x20;

// linux/xattr.h
export const XATTR_CREATE = 1;
export const XATTR_REPLACE = 2;

// linux/limits.h; lengths in bytes
export const NAME_MAX = 255;
/** With the terminating NUL. */
export const PATH_MAX = 4096;
export const XATTR_NAME_MAX = 255;
export const XATTR_SIZE_MAX = 65536;
export const XATTR_LIST_MAX = 65536;

// asm-generic/fcntl.h: lock types, as in `struct fuse_file_lock`
export const F_RDLCK = 0;
export const F_WRLCK = 1;
export const F_UNLCK = 2;

// asm-generic/fcntl.h: flags of open(2)
export const O_ACCMODE = 0o3;
export const O_RDONLY = 0o0;
export const O_EXCL = 0o200;
export const O_TRUNC = 0o1000;
export const O_APPEND = 0o2000;
export const O_NOATIME = 0o1000000;
