import type { ByteSink, ByteSource } from '../bytes.ts';
import type { LockTable } from './locks.ts';
import type { Persistent } from './persistence.ts';

/** An answer, now or later. Who can answer at once should: then the guest's request costs no turn of the event loop. */
export type Answer<T> = T | Promise<T>;

/**
 * What a FUSE session serves: write one of your own, and give it to `attachVirtioFs`.
 *
 * Each method is one request of the guest's, and answers with all that its reply tells. It answers at once or later, and may be asked
 * other things meanwhile, in any order. It refuses with an `FsError`, thrown or as the rejection (see errno.ts); whatever else it
 * throws is EIO for the guest, and goes to the session's error listeners. What is left out is answered as its comment says.
 *
 * What has changed nothing and can't be answered before something is here, may throw `NotYet` instead of promising an answer: it is asked again
 * then, and goes with snapshots meanwhile, even if it is to change something.
 *
 * A request that waits is forgotten when the guest takes it back: by INTERRUPT, unless it changes something, a reset, or
 * the end of its session. The answer is dropped then.
 *
 * Names are JavaScript strings; bytes that are not UTF-8 travel as lone surrogates U+DC80-U+DCFF (see names.ts), so every Linux file
 * name has exactly one string. They were checked: 1 to 255 bytes, no NUL and no slash, never ".", and ".." in {@link lookup} alone.
 * Offsets, sizes and inode numbers are numbers, exact to 2^53.
 */
export interface FileSystem {
  /** Its inode number is 1. */
  readonly root: Inode;
  /** Every answer is there at once: no method returns a promise or throws `NotYet`, ever. Requests are then answered in their order. Default: false. */
  readonly isSynchronous?: boolean;
  /** Stays with the filesystem for its life: how snapshots of sessions alone know it again. Default: one for this object. */
  readonly uuid?: string;
  /** Locks of all its sessions. Default: a table with the usual limits. */
  readonly locks?: LockTable;
  /** How its files go with snapshots. Default: they stay where they are, and snapshots have the sessions alone. */
  readonly persistence?: Persistent;

  /**
   * The inode with this number, if there is one. It is asked for the inodes that a guest knows when a snapshot is restored, for those
   * that guests have file handles of, and for the inode of an answer that came later: if that has gone meanwhile, the guest gets ESTALE.
   * Default: snapshots and file handles are ESTALE, and nothing ever goes.
   */
  inode?(ino: number): Inode | undefined;
  /**
   * Does `action`, which restores a snapshot and asks {@link inode} for all that its guest knows. The filesystem may take its time there
   * to find, all at once, what it has not given out itself. Default: nothing but `action`.
   */
  recall?<T>(action: () => T): T;
  /**
   * Tells `watcher` of every change from now on, whoever makes it and right after it is made, until the function that this returns is
   * called. What guests are told in answers they may then remember for good, if their drivers take notifications: one that is not
   * told is never seen. Default: nobody is told, and guests ask again after a while.
   */
  watch?(watcher: Watcher): () => void;
  /** Its names from the root, by a name that it has, for those who show what the guest does; undefined when it has no name. Default: no paths are shown. */
  path?(inode: Inode): readonly string[] | undefined;
  /** Keeps an inode alive while it has no name: one for each session that knows it, each handle and each request that waits. Default: nothing. */
  retain?(inode: Inode): void;
  /** Takes one {@link retain} back; the last one frees an inode without a name. Default: nothing. */
  release?(inode: Inode): void;

  /** Undefined: there is no such name. ".." is the directory that `dir` is in, the root's is the root: only who exports the filesystem again asks for it. */
  lookup(dir: Inode, name: string): Answer<Entry | undefined>;
  /** The attributes as they are now. */
  getattr(inode: Inode): Answer<Attr>;
  /** Answers with the attributes as they are then. Default: EROFS, as all that would change something. */
  setattr?(inode: Inode, changes: SetAttr): Answer<Attr>;
  /** Default: EINVAL. */
  readlink?(inode: Inode): Answer<string>;
  /** Default: no space, and none of it free. */
  statfs?(): Answer<StatFs>;

  /** Makes a file or special file, by the type bits of `node.mode`. */
  mknod?(dir: Inode, name: string, node: NewNode): Answer<Entry>;
  /** Makes an empty directory. EEXIST when the name is taken. Default: EROFS. */
  mkdir?(dir: Inode, name: string, node: NewNode): Answer<Entry>;
  /** Makes a symbolic link; `target` is stored as it is, up to 4095 bytes. EEXIST when the name is taken. Default: EROFS. */
  symlink?(dir: Inode, name: string, target: string, node: NewNode): Answer<Entry>;
  /** Gives an inode that is no directory another name. EEXIST when the name is taken. Default: EROFS. */
  link?(inode: Inode, dir: Inode, name: string): Answer<Entry>;
  /** Removes a name of what is no directory; what is retained stays. Default: EROFS. */
  unlink?(dir: Inode, name: string): Answer<void>;
  /** Removes an empty directory; else ENOTEMPTY. Default: EROFS. */
  rmdir?(dir: Inode, name: string): Answer<void>;
  /** `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT of Linux's fs.h. `owner`: of the whiteout. */
  rename?(dir: Inode, name: string, newDir: Inode, newName: string, flags: number, owner: Owner): Answer<void>;

  /** `flags`: O_* as the guest opens a file, O_TRUNC among them. The kernel has checked permissions. Default: nothing has to be done. */
  open?(inode: Inode, flags: number, options: OpenOptions): Answer<void>;
  /** The end of one {@link open}. Default: nothing has to be done. */
  close?(inode: Inode, flags: number): void;
  /** Makes a regular file and opens it; opens the one that is there, unless O_EXCL. Default: EROFS; {@link mknod} is not tried. */
  create?(dir: Inode, name: string, node: NewNode, flags: number, options: OpenOptions): Answer<Entry>;
  /** Makes a regular file without a name, nlink 0, and opens it (O_TMPFILE); {@link link} can name it. Default: EOPNOTSUPP. */
  tmpfile?(dir: Inode, node: NewNode, flags: number): Answer<Entry>;

  /**
   * Copies file bytes into `sink` at `position`; answers with the count, short only at the end of the file. Moves the access time, as the
   * mount option `relatime` does, unless `noatime`. `sink` is borrowed until the answer.
   */
  read(
    inode: Inode,
    offset: number,
    length: number,
    sink: ByteSink,
    position: number,
    noatime?: boolean,
  ): Answer<number>;
  /**
   * Takes `length` bytes from `source` into the file, at its end for `'end'`; answers with the count. ENOSPC and EFBIG write nothing.
   * `killSuidgid`: set-id bits go as well. `source` is borrowed until the answer.
   */
  write?(
    inode: Inode,
    offset: number | 'end',
    length: number,
    source: ByteSource,
    killSuidgid?: boolean,
  ): Answer<number>;
  /** Default: ENOSYS, which Linux takes for success, and does not ask again. */
  fsync?(inode: Inode, datasync: boolean): Answer<void>;
  /** `mode`: FALLOC_FL_* of Linux's falloc.h. Default: EOPNOTSUPP. */
  fallocate?(inode: Inode, offset: number, length: number, mode: number): Answer<void>;
  /** `whence`: SEEK_DATA or SEEK_HOLE; ENXIO past the end. Default: ENOSYS, and Linux finds no holes. */
  lseek?(inode: Inode, offset: number, whence: number): Answer<number>;
  /** Default: ENOSYS, and Linux copies by reading and writing. */
  copyFileRange?(from: Inode, fromOffset: number, to: Inode, toOffset: number, length: number): Answer<number>;

  /** `end`: {@link OpenDirectory.end} of an earlier one that this one takes the place of. Default: what is there now. */
  opendir(dir: Inode, end?: number): Answer<OpenDirectory>;

  /** The value, which becomes the caller's. Undefined: there is no attribute with this name (ENODATA). Default: EOPNOTSUPP, as for all of attributes. */
  getxattr?(inode: Inode, name: string): Answer<Uint8Array | undefined>;
  /** `flags`: XATTR_CREATE, XATTR_REPLACE. `value` becomes the filesystem's. `killSgid`: the set-gid bit goes as well. */
  setxattr?(inode: Inode, name: string, value: Uint8Array, flags: number, killSgid?: boolean): Answer<void>;
  /** The names of all extended attributes. Default: EOPNOTSUPP. */
  listxattr?(inode: Inode): Answer<string[]>;
  /** Removes an extended attribute; ENODATA when it is not there. Default: EOPNOTSUPP. */
  removexattr?(inode: Inode, name: string): Answer<void>;
}

/**
 * Who is told of changes in a {@link FileSystem}, by its {@link FileSystem.watch}. Access times are no changes. It is told in the middle of what is
 * being done: what it wants to change itself it changes later.
 */
export interface Watcher {
  /** `name` has come, gone, or names another inode in `dir`. The attributes of both are told of by {@link inodeChanged}. */
  entryChanged(dir: Inode, name: string): void;
  /** Attributes, and `content`: of a file or symbolic link, what is in it; of a directory, which names it has. */
  inodeChanged(inode: Inode, content: boolean): void;
  /** Anything. */
  everythingChanged(): void;
}

/** An inode. Only the filesystem that made it can use it; what is here is for everyone. */
export interface Inode {
  /** Persistent inode number: never another inode's while the filesystem lives, and below 2^31. */
  readonly ino: number;
  /** Tells inodes apart that have the same number at different times. */
  readonly generation: number;
  /** No directory, and known to have no name any more: what comes by a name that a guest remembers is refused, ESTALE. Default: false. */
  readonly isUnlinked?: boolean;
}

/** What has a name. Borrowed until the next call. */
export interface Entry {
  readonly inode: Inode;
  readonly attr: Attr;
}

/** Seconds may be negative or past 2038; nanoseconds are 0 to 999,999,999. */
export interface Timespec {
  sec: number;
  nsec: number;
}

/** Borrowed until the next call. */
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

/** The attributes that a `setattr` changes; those that are left out stay. */
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

/** A user and group, as numbers. */
export interface Owner {
  uid: number;
  gid: number;
}

/** What a new inode begins with. */
export interface NewNode extends Owner {
  /** Type and permission bits. Set-gid inheritance is the filesystem's. */
  mode: number;
  /** Permission bits to take away, unless the directory has a default ACL. Default: none. */
  umask?: number;
  /** Of a device: major and minor number, as Linux encodes them in 32 bits (`new_encode_dev`). */
  rdev?: number;
  /** Attributes that it has from the beginning, security labels: all or nothing is made. The values become the filesystem's. Default: none. */
  xattrs?: readonly { name: string; value: Uint8Array }[];
}

/** What an open does besides opening. */
export interface OpenOptions {
  /** With O_TRUNC: set-id bits go as well (FUSE_OPEN_KILL_SUIDGID). */
  killSuidgid?: boolean;
}

/** Sizes and limits, as `df` shows them. */
export interface StatFs {
  /** In units of `frsize`. */
  blocks: number;
  /** Free blocks. */
  bfree: number;
  /** Free blocks for others than root. */
  bavail: number;
  /** Inodes in all. */
  files: number;
  /** Free inodes. */
  ffree: number;
  /** Bytes: the best length of one read or write. */
  bsize: number;
  /** Bytes of a block. */
  frsize: number;
  /** Bytes: the longest name. */
  namelen: number;
}

/**
 * A directory that is being read. Cookies are stable: whatever is created or removed meanwhile, an entry that stays is seen exactly once
 * when reading goes on from a cookie given earlier, in this process or after a restore. They are below 2^31; 0 is the start.
 */
export interface OpenDirectory {
  /** No entry has this cookie or a larger one: what came since the reading began is not told of. */
  readonly end: number;
  /**
   * The entries after the one that carried `cookie`, "." and ".." first, or some of them: none at all is the end. 0 begins anew, with
   * what is there then. Who asks takes as many as he has room for, at once; an entry is borrowed until the next. `plus`: attributes are
   * wanted. Moves the directory's access time, unless `noatime`.
   */
  read(cookie: number, plus: boolean, noatime: boolean): Answer<Iterable<DirectoryEntry>>;
}

/** One entry of a directory that is read. */
export interface DirectoryEntry {
  readonly name: string;
  readonly inode: Inode;
  /** Type bits of the inode; others may come with them. */
  readonly mode: number;
  /** What {@link OpenDirectory.read} takes to continue after this entry. */
  readonly cookie: number;
  /** Has to be there where it was asked for, but for "." and "..". */
  readonly attr?: Attr;
}
