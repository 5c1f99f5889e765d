import type { ByteSink, ByteSource } from '../bytes.ts';

/**
 * The filesystem interface that the FUSE handlers need. Everything is synchronous: one operation
 * and its reply are one atomic step, so a freeze never finds a filesystem half way through.
 *
 * Errors are thrown as `FsError` (see errno.ts) with a Linux errno. Names are JavaScript strings;
 * bytes that are not UTF-8 travel as lone surrogates U+DC80-U+DCFF (see names.ts), so every Linux
 * file name has exactly one string. Offsets, sizes and inode numbers are numbers, exact to 2^53.
 */
export interface Backend {
  /** Stays with the filesystem for its life, in snapshots too: how a session-only restore knows it again. */
  readonly uuid: string;
  readonly root: Inode;

  /** The inode with this number, linked or kept alive by {@link retain}; undefined when there is none. */
  inode(ino: number): Inode | undefined;
  /** Keeps an inode alive while it is unlinked: one for each session's node-table entry and each handle. */
  retain(inode: Inode): void;
  /** Takes one {@link retain} back; the last one frees an unlinked inode and its content. */
  release(inode: Inode): void;

  lookup(dir: Inode, name: string): Inode;
  /** The directory that holds directory `dir`; the root's is the root. ESTALE when `dir` was removed. */
  parent(dir: Inode): Inode;
  getattr(inode: Inode): Attr;
  setattr(inode: Inode, changes: SetAttr): void;
  statfs(): StatFs;

  /** Makes a file, directory or special file, by the type bits in `node.mode`. */
  mknod(dir: Inode, name: string, node: NewNode): Inode;
  symlink(dir: Inode, name: string, target: string, owner: Owner): Inode;
  /** A regular file without a name (O_TMPFILE), nlink 0; {@link link} can name it. */
  tmpfile(dir: Inode, node: NewNode): Inode;
  readlink(inode: Inode): string;
  link(inode: Inode, dir: Inode, name: string): void;
  unlink(dir: Inode, name: string): void;
  rmdir(dir: Inode, name: string): void;
  /** `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT of Linux's fs.h. */
  rename(dir: Inode, name: string, newDir: Inode, newName: string, flags: number, owner: Owner): void;

  /** Copies file bytes into `sink` at `position`; returns the count, short only at end of file. */
  read(inode: Inode, offset: number, length: number, sink: ByteSink, position: number): number;
  /** Takes `length` bytes from `source` into the file; returns the count. ENOSPC and EFBIG write nothing. */
  write(inode: Inode, offset: number, length: number, source: ByteSource): number;
  /** `mode`: FALLOC_FL_* of Linux's falloc.h. */
  fallocate(inode: Inode, offset: number, length: number, mode: number): void;
  /** `whence`: SEEK_DATA or SEEK_HOLE; ENXIO past the end. */
  lseek(inode: Inode, offset: number, whence: number): number;
  copyFileRange(from: Inode, fromOffset: number, to: Inode, toOffset: number, length: number): number;

  /** `end`: {@link DirectoryReader.end} of an earlier reader that this one takes the place of. Default: what is there now. */
  openDirectory(dir: Inode, end?: number): DirectoryReader;
  /** Moves the access time, as the mount option `relatime` does: {@link read} and readers of directories leave it alone. */
  accessed(inode: Inode): void;

  getxattr(inode: Inode, name: string): Uint8Array;
  /** `flags`: XATTR_CREATE, XATTR_REPLACE. `value` is copied. */
  setxattr(inode: Inode, name: string, value: Uint8Array, flags: number): void;
  listxattr(inode: Inode): string[];
  removexattr(inode: Inode, name: string): void;
}

/** An inode. Only the backend that made it can use it; `ino` and `generation` are for everyone. */
export interface Inode {
  /** Persistent inode number: never reused while the filesystem lives, below 2^31. */
  readonly ino: number;
  readonly generation: number;
}

/** Seconds may be negative or past 2038; nanoseconds are 0 to 999,999,999. */
export interface Timespec {
  sec: number;
  nsec: number;
}

export interface Attr {
  ino: number;
  size: number;
  /** In units of 512 bytes; holes do not count. */
  blocks: number;
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  btime: Timespec;
  /** Type and permission bits, S_IFMT and 07777. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  /** Linux dev_t as FUSE has it: (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12). */
  rdev: number;
  blksize: number;
}

export interface SetAttr {
  /** Permission bits only. */
  mode?: number;
  uid?: number;
  gid?: number;
  size?: number;
  atime?: Timespec | 'now';
  mtime?: Timespec | 'now';
  ctime?: Timespec;
  /** Clear set-uid, and set-gid where group execute is set (FATTR_KILL_SUIDGID). */
  killSuidgid?: boolean;
}

export interface Owner {
  uid: number;
  gid: number;
}

export interface NewNode extends Owner {
  /** Type and permission bits. Set-gid inheritance is the backend's. */
  mode: number;
  /** Permission bits to take away, unless the directory has a default ACL. Default: none. */
  umask?: number;
  rdev?: number;
}

export interface StatFs {
  /** In units of `frsize`. */
  blocks: number;
  bfree: number;
  bavail: number;
  files: number;
  ffree: number;
  bsize: number;
  frsize: number;
  namelen: number;
}

/**
 * A position in a directory. Cookies are stable: whatever is created or removed meanwhile, an entry
 * that stays is seen exactly once by a reader that goes on from the cookie it had, in this process
 * or after a restore. They are below 2^31; 0 is the start.
 */
export interface DirectoryReader {
  /** No entry has this cookie or a larger one: what came since the reader began is not told of. */
  readonly end: number;
  /** Continue after the entry that carried `cookie`; 0 begins anew, with what is there now. */
  seek(cookie: number): void;
  /** The entry at the position, or undefined at the end. Valid until the next call. */
  peek(): DirectoryEntry | undefined;
  advance(): void;
}

export interface DirectoryEntry {
  name: string;
  inode: Inode;
  /** Type and permission bits of the inode. */
  mode: number;
  /** What {@link DirectoryReader.seek} takes to continue after this entry. */
  cookie: number;
}
