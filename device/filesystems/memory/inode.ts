import { PAGE_SIZE } from '../../bytes.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import type { Inode as AnyInode, Attr, Entry as FoundEntry, Timespec } from '../../fs/filesystem.ts';
import { nameLength } from '../../fs/names.ts';
import { Content } from './content.ts';
import { Directory, type Entry } from './directory.ts';
import { inodeCost, Space } from './space.ts';
import type { Xattrs } from './xattrs.ts';

/** Symbolic links up to this many bytes have no block of their own, as in ext4. */
const FAST_SYMLINK = 60;
const BLOCKS_PER_PAGE = PAGE_SIZE / 512;

/** What few inodes have. */
interface Rarities {
  generation: number;
  rdev: number;
  linkable: boolean;
  xattrs: Xattrs | undefined;
}

/**
 * One inode of a {@link MemoryFileSystem}, its own attributes as the outside sees them, and what is found by a name of it: one object
 * answers for all. There may be a million: it has few fields.
 */
export class Inode implements AnyInode, Attr, FoundEntry {
  readonly ino: number;
  mode: number;
  nlink = 0;
  /** How many node-table entries and handles keep it alive. */
  retained = 0;
  // In 32 bits each, signed, which V8 keeps in the field itself: one larger number would make all inodes larger.
  #uid = 0;
  #gid = 0;
  #atime = 0;
  #atimeRest = 0;
  #mtime = 0;
  #mtimeRest = 0;
  #ctime = 0;
  #ctimeRest = 0;
  #btime = 0;
  #btimeRest = 0;
  /** A byte of each time: see {@link highWith}. */
  #high = 0;
  /** By its type: a directory's entries, a symbolic link's target; a file's content, or before there is some the space that it will take. */
  #body: Content | Space | Directory | string | undefined;
  #rarities: Rarities | undefined;
  /** The name it got or was looked up by last, which may be gone by now; there may be others. */
  entry: Entry | undefined = undefined;

  /** `target`: of a symbolic link. */
  constructor(ino: number, generation: number, mode: number, space: Space, now: Timespec, target?: string) {
    this.ino = ino;
    this.mode = mode;
    this.#atime = this.#mtime = this.#ctime = this.#btime = now.sec | 0;
    this.#atimeRest = this.#mtimeRest = this.#ctimeRest = this.#btimeRest = restOf(now);
    this.#body = this.isDirectory ? new Directory(this, space) : this.isRegular ? space : target;
    if (generation !== 1) (this.#rarities ??= noRarities()).generation = generation;
  }

  get inode(): this {
    return this;
  }

  get attr(): this {
    return this;
  }

  get isUnlinked(): boolean {
    return this.nlink === 0 && !this.isDirectory;
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

  /** What a regular file has, made when it is asked for. */
  get content(): Content | undefined {
    const body = this.#body;
    return body instanceof Space ? (this.#body = new Content(body)) : this.written;
  }

  /** {@link content}, of a file whose size was ever another than 0. */
  get written(): Content | undefined {
    return this.#body instanceof Content ? this.#body : undefined;
  }

  /** What a directory has. */
  get directory(): Directory | undefined {
    return this.#body instanceof Directory ? this.#body : undefined;
  }

  /** What a symbolic link has. */
  get target(): string | undefined {
    return typeof this.#body === 'string' ? this.#body : undefined;
  }

  /** In place of what it had; its type is that of a symbolic link. */
  set target(target: string) {
    this.#body = target;
  }

  get generation(): number {
    return this.#rarities?.generation ?? 1;
  }

  get rdev(): number {
    return this.#rarities?.rdev ?? 0;
  }

  set rdev(rdev: number) {
    if (rdev !== this.rdev) (this.#rarities ??= noRarities()).rdev = rdev;
  }

  /** Made without a name (O_TMPFILE), so that it may get its first one. */
  get linkable(): boolean {
    return this.#rarities?.linkable ?? false;
  }

  set linkable(linkable: boolean) {
    if (linkable !== this.linkable) (this.#rarities ??= noRarities()).linkable = linkable;
  }

  get xattrs(): Xattrs | undefined {
    return this.#rarities?.xattrs;
  }

  set xattrs(xattrs: Xattrs | undefined) {
    if (xattrs !== this.xattrs) (this.#rarities ??= noRarities()).xattrs = xattrs;
  }

  get uid(): number {
    return this.#uid >>> 0;
  }

  set uid(uid: number) {
    this.#uid = uid | 0;
  }

  get gid(): number {
    return this.#gid >>> 0;
  }

  set gid(gid: number) {
    this.#gid = gid | 0;
  }

  get atime(): Timespec {
    return timeOf(this.#atime, this.#atimeRest, this.#high >> 0);
  }

  set atime(time: Timespec) {
    this.#atime = time.sec | 0;
    this.#atimeRest = restOf(time);
    this.#high = highWith(this.#high, 0, time);
  }

  get mtime(): Timespec {
    return timeOf(this.#mtime, this.#mtimeRest, this.#high >> 8);
  }

  set mtime(time: Timespec) {
    this.#mtime = time.sec | 0;
    this.#mtimeRest = restOf(time);
    this.#high = highWith(this.#high, 8, time);
  }

  get ctime(): Timespec {
    return timeOf(this.#ctime, this.#ctimeRest, this.#high >> 16);
  }

  set ctime(time: Timespec) {
    this.#ctime = time.sec | 0;
    this.#ctimeRest = restOf(time);
    this.#high = highWith(this.#high, 16, time);
  }

  get btime(): Timespec {
    return timeOf(this.#btime, this.#btimeRest, this.#high >> 24);
  }

  set btime(time: Timespec) {
    this.#btime = time.sec | 0;
    this.#btimeRest = restOf(time);
    this.#high = highWith(this.#high, 24, time);
  }

  get size(): number {
    const body = this.#body;
    if (body instanceof Content) return body.size;
    if (body instanceof Directory) return body.pages * PAGE_SIZE;
    return typeof body === 'string' ? nameLength(body) : 0;
  }

  get blocks(): number {
    const body = this.#body;
    let pages = Math.ceil((this.xattrs?.cost ?? 0) / PAGE_SIZE);
    if (body instanceof Content || body instanceof Directory) pages += body.pages;
    else if (typeof body === 'string' && nameLength(body) > FAST_SYMLINK) pages++;
    return pages * BLOCKS_PER_PAGE;
  }

  get blksize(): number {
    return PAGE_SIZE;
  }

  /** What it is charged in {@link Space} besides its content, in bytes. */
  get metadata(): number {
    return inodeCost(this.mode, this.target) + (this.directory?.cost ?? 0) + (this.xattrs?.cost ?? 0);
  }
}

function noRarities(): Rarities {
  return { generation: 1, rdev: 0, linkable: false, xattrs: undefined };
}

/** What the low 32 bits of the seconds leave: two more bits of them, which last until 2446 as in ext4, and the nanoseconds. */
function restOf(time: Timespec): number {
  return (time.nsec << 2) | (upper(time) & 3);
}

/** `high` with the uppermost bits of a time as its byte at bit `shift`. */
function highWith(high: number, shift: number, time: Timespec): number {
  return (high & ~(0xff << shift)) | (((upper(time) >> 2) & 0xff) << shift);
}

/** The seconds beyond 32 bits. */
function upper({ sec }: Timespec): number {
  return (sec - (sec | 0)) / 2 ** 32;
}

function timeOf(low: number, rest: number, high: number): Timespec {
  return { sec: low + (((high << 24) >> 22) | (rest & 3)) * 2 ** 32, nsec: rest >>> 2 };
}
