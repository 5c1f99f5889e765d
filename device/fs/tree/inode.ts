import type { Attr, Inode as BackendInode, Timespec } from '../backend.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../constants.ts';
import { nameLength } from '../names.ts';
import { Content } from './content.ts';
import { Directory, type Entry } from './directory.ts';
import { PAGE_SIZE, type Space } from './space.ts';

/** Symbolic links up to this many bytes have no block of their own, as in ext4. */
const FAST_SYMLINK = 60;
const BLOCKS_PER_PAGE = PAGE_SIZE / 512;

/** One inode of a {@link Tree}, and its own attributes as the outside sees them. */
export class Inode implements BackendInode, Attr {
  readonly ino: number;
  readonly generation: number;
  mode: number;
  uid = 0;
  gid = 0;
  rdev = 0;
  nlink = 0;
  // Never changed in place: a time is replaced, so several inodes may have the same object.
  atime: Timespec;
  mtime: Timespec;
  ctime: Timespec;
  btime: Timespec;
  /** What a regular file has. */
  content: Content | undefined;
  /** What a directory has. */
  directory: Directory | undefined;
  /** What a symbolic link has. */
  target: string | undefined;
  xattrs: Map<string, Uint8Array> | undefined;
  /** Pages that {@link xattrs} are charged. */
  xattrPages = 0;
  /** The name it got or was looked up by last, which may be gone by now; there may be others. */
  entry: Entry | undefined;
  /** How many node-table entries and handles keep it alive. */
  retained = 0;
  /** Made without a name (O_TMPFILE), so that it may get its first one. */
  linkable = false;
  /** What the host sees of it; made by {@link MemfsBackend}. */
  view: unknown;

  constructor(ino: number, generation: number, mode: number, space: Space, now: Timespec) {
    this.ino = ino;
    this.generation = generation;
    this.mode = mode;
    this.atime = this.mtime = this.ctime = this.btime = now;
    if (this.isRegular) this.content = new Content(space);
    else if (this.isDirectory) this.directory = new Directory(this, space);
  }

  get isDirectory(): boolean {
    return (this.mode & S_IFMT) === S_IFDIR;
  }

  get isRegular(): boolean {
    return (this.mode & S_IFMT) === S_IFREG;
  }

  get isSymlink(): boolean {
    return (this.mode & S_IFMT) === S_IFLNK;
  }

  get size(): number {
    if (this.content) return this.content.size;
    if (this.directory) return this.directory.pages * PAGE_SIZE;
    return this.target === undefined ? 0 : nameLength(this.target);
  }

  get blocks(): number {
    return this.pages * BLOCKS_PER_PAGE;
  }

  get blksize(): number {
    return PAGE_SIZE;
  }

  /** What it is charged in {@link Space}. */
  get pages(): number {
    return (this.content?.pages ?? this.directory?.pages ?? symlinkPages(this.target)) + this.xattrPages;
  }
}

export function symlinkPages(target: string | undefined): number {
  return target !== undefined && nameLength(target) > FAST_SYMLINK ? 1 : 0;
}
