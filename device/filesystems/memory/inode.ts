import { PAGE_SIZE } from '../../bytes.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import type { Inode as AnyInode, Attr, Entry as FoundEntry, Timespec } from '../../fs/filesystem.ts';
import { nameLength } from '../../fs/names.ts';
import { Content } from './content.ts';
import { Directory, type Entry } from './directory.ts';
import { ATIME, BTIME, CTIME, GID, Gone, HIGH, INO, MODE, MTIME, type Range, UID, WORDS } from './range.ts';
import { inodeCost, linksCost, Space } from './space.ts';
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
  /** All names, of those that have several. */
  names: Set<Entry> | undefined;
}

/**
 * One inode of a {@link MemoryFileSystem}, its own attributes as the outside sees them, and what is found by a name of it: one object
 * answers for all. There may be a million: it has few fields, and its numbers are in the record that its range has for it.
 */
export class Inode implements AnyInode, Attr, FoundEntry {
  readonly ino: number;
  nlink = 0;
  /** How many node-table entries and handles keep it alive. */
  retained = 0;
  #range: Range | Gone;
  /** Where its record is in the words of its range. */
  #at: number;
  /** By its type: a directory's entries, a symbolic link's target; a file's content, or before there is some the space that it will take. */
  #body: Content | Space | Directory | string | undefined;
  #rarities: Rarities | undefined;
  /** The name it got or was looked up by last; of a directory that is removed, the one it had. */
  entry: Entry | undefined = undefined;

  /** Without a record yet: see {@link place}. */
  constructor(ino: number, generation: number) {
    this.ino = ino;
    this.#range = Gone.of(0);
    this.#at = 0;
    if (generation !== 1) (this.#rarities ??= noRarities()).generation = generation;
  }

  /** What a new one has in its record. */
  begin(mode: number, now: Timespec): void {
    const words = this.#range.touch();
    const at = this.#at;
    words[at + MODE] = mode;
    putTime(words, at, ATIME, 0, now);
    putTime(words, at, MTIME, 8, now);
    putTime(words, at, CTIME, 16, now);
    putTime(words, at, BTIME, 24, now);
  }

  /** Gives it what its type needs that is in no record, unless it has it. `target`: of a symbolic link. */
  embody(space: Space, target?: string): void {
    this.#body ??= this.isDirectory ? new Directory(this, space) : this.isRegular ? space : target;
  }

  /** Something of it that is in snapshots is about to change. */
  touch(): void {
    this.#range.touch();
  }

  /** Where its record is now. */
  place(range: Range | Gone, at: number): void {
    this.#range = range;
    this.#at = at;
  }

  /** A copy of its record. */
  record(): Int32Array {
    return this.#range.words.slice(this.#at, this.#at + WORDS);
  }

  /** Whether it is in no range any more. */
  get isGone(): boolean {
    return this.#range instanceof Gone;
  }

  get mode(): number {
    return this.#range.words[this.#at + MODE]!;
  }

  set mode(mode: number) {
    this.#range.touch()[this.#at + MODE] = mode;
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

  /** The type bits of its mode. */
  get type(): number {
    return this.mode & S_IFMT;
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

  /** What a regular file has, made when it is asked for, to be changed. */
  get content(): Content | undefined {
    const body = this.#body;
    this.#range.touch();
    return body instanceof Space ? (this.#body = new Content(body)) : this.written;
  }

  /** {@link content}, to be read, of a file whose size was ever another than 0. */
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
    this.#range.touch();
    this.#body = target;
  }

  get generation(): number {
    return this.#rarities?.generation ?? 1;
  }

  get rdev(): number {
    return this.#rarities?.rdev ?? 0;
  }

  set rdev(rdev: number) {
    if (rdev !== this.rdev) this.#rare().rdev = rdev;
  }

  /** Made without a name (O_TMPFILE), so that it may get its first one. */
  get linkable(): boolean {
    return this.#rarities?.linkable ?? false;
  }

  set linkable(linkable: boolean) {
    if (linkable !== this.linkable) this.#rare().linkable = linkable;
  }

  get xattrs(): Xattrs | undefined {
    return this.#rarities?.xattrs;
  }

  set xattrs(xattrs: Xattrs | undefined) {
    if (xattrs !== this.xattrs) this.#rare().xattrs = xattrs;
  }

  #rare(): Rarities {
    this.#range.touch();
    return (this.#rarities ??= noRarities());
  }

  /** All names that it has, in any order. */
  names(): Iterable<Entry> {
    if (this.nlink === 0 || !this.entry) return [];
    return this.#rarities?.names ?? [this.entry];
  }

  addName(entry: Entry): void {
    this.#range.touch();
    if (this.entry && !this.isDirectory) (this.#rare().names ??= new Set([this.entry])).add(entry);
    this.entry = entry;
  }

  /** A directory keeps the one that it had. */
  removeName(entry: Entry): void {
    this.#range.touch();
    const names = this.#rarities?.names;
    if (names) {
      names.delete(entry);
      if (this.entry === entry) [this.entry] = names;
      if (names.size === 1) this.#rarities!.names = undefined;
    } else if (!this.isDirectory) this.entry = undefined;
  }

  /** It has no names, and will be told of those that it gets. */
  forgetNames(): void {
    this.entry = undefined;
    if (this.#rarities) this.#rarities.names = undefined;
  }

  /** It is called `to` now instead of `from`. */
  replaceName(from: Entry, to: Entry): void {
    this.#range.touch();
    const names = this.#rarities?.names;
    if (names) {
      names.delete(from);
      names.add(to);
    }
    this.entry = to;
  }

  get uid(): number {
    return this.#range.words[this.#at + UID]! >>> 0;
  }

  set uid(uid: number) {
    this.#range.touch()[this.#at + UID] = uid;
  }

  get gid(): number {
    return this.#range.words[this.#at + GID]! >>> 0;
  }

  set gid(gid: number) {
    this.#range.touch()[this.#at + GID] = gid;
  }

  get atime(): Timespec {
    return this.#time(ATIME, 0);
  }

  set atime(time: Timespec) {
    this.#setTime(ATIME, 0, time);
  }

  get mtime(): Timespec {
    return this.#time(MTIME, 8);
  }

  set mtime(time: Timespec) {
    this.#setTime(MTIME, 8, time);
  }

  get ctime(): Timespec {
    return this.#time(CTIME, 16);
  }

  set ctime(time: Timespec) {
    this.#setTime(CTIME, 16, time);
  }

  get btime(): Timespec {
    return this.#time(BTIME, 24);
  }

  set btime(time: Timespec) {
    this.#setTime(BTIME, 24, time);
  }

  #time(word: number, shift: number): Timespec {
    const { words } = this.#range;
    const at = this.#at;
    return timeIn(words[at + word]!, words[at + word + 1]!, words[at + HIGH]! >> shift);
  }

  #setTime(word: number, shift: number, time: Timespec): void {
    putTime(this.#range.touch(), this.#at, word, shift, time);
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
    const links = this.isDirectory ? 0 : linksCost(this.nlink);
    return inodeCost(this.mode, this.target) + links + (this.directory?.cost ?? 0) + (this.xattrs?.cost ?? 0);
  }
}

function noRarities(): Rarities {
  return { generation: 1, rdev: 0, linkable: false, xattrs: undefined, names: undefined };
}

/**
 * A time as records have it: the low 32 bits of the seconds; the nanoseconds, and two more bits of the seconds, which last until 2446 as
 * in ext4; and in the low byte of `high` the uppermost bits.
 */
export function timeIn(low: number, rest: number, high: number): Timespec {
  return { sec: low + (((high << 24) >> 22) | (rest & 3)) * 2 ** 32, nsec: rest >>> 2 };
}

function putTime(words: Int32Array, at: number, word: number, shift: number, { sec, nsec }: Timespec): void {
  const upper = (sec - (sec | 0)) / 2 ** 32;
  words[at + word] = sec;
  words[at + word + 1] = (nsec << 2) | (upper & 3);
  words[at + HIGH] = (words[at + HIGH]! & ~(0xff << shift)) | (((upper >> 2) & 0xff) << shift);
}

/** The record of an inode. */
export function recordOf(
  inode: Pick<Inode, 'ino' | 'mode' | 'uid' | 'gid' | 'atime' | 'mtime' | 'ctime' | 'btime'>,
): Int32Array {
  const words = new Int32Array(WORDS);
  words[INO] = inode.ino;
  words[MODE] = inode.mode;
  words[UID] = inode.uid;
  words[GID] = inode.gid;
  putTime(words, 0, ATIME, 0, inode.atime);
  putTime(words, 0, MTIME, 8, inode.mtime);
  putTime(words, 0, CTIME, 16, inode.ctime);
  putTime(words, 0, BTIME, 24, inode.btime);
  return words;
}

/** What the record of an inode that begins at a word says, as far as it is told of snapshots. */
export function attributesAt(words: Int32Array, at: number): { mode: number; mtime: number } {
  return {
    mode: words[at + MODE]!,
    mtime: timeIn(words[at + MTIME]!, words[at + MTIME + 1]!, words[at + HIGH]! >> 8).sec,
  };
}
