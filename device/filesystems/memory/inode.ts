import { PAGE_SIZE } from '../../bytes.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import type { Inode as AnyInode, Attr, Entry as FoundEntry, Timespec } from '../../fs/filesystem.ts';
import { nameLength } from '../../fs/names.ts';
import { Content } from './content.ts';
import { Directory, type Entry, Link } from './directory.ts';
import type { InodeTable } from './inode-table.ts';
import { Gone, type Range } from './range.ts';
import { ATIME, BTIME, CTIME, GID, INO, MODE, MTIME, putTime, timeAt, UID, WORDS } from './record.ts';
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
  /** Its further names, of one that has several. */
  links: Set<Link> | undefined;
  /** The name it got or was looked up by last, of one that has several. */
  latest: Entry | undefined;
}

/**
 * One inode of a {@link MemoryFileSystem}, its own attributes as the outside sees them, what is found by a name of it, and the first of its names: one
 * object answers for all. There may be a million: it has few fields, and no private methods, which take a field too; its numbers are in the record that its
 * range has for it.
 */
export class Inode implements AnyInode, Attr, FoundEntry, Entry {
  /** Where its first name is, and that; or was, when it has none. Without a name ever: in itself, and empty. */
  dir: Inode = this;
  name = '';
  nlink = 0;
  /** How many node-table entries and handles keep it alive. */
  retained = 0;
  #range: Range | Gone;
  /** Where its record is in the words of its range. */
  #at: number;
  /** By its type: a directory's entries, a symbolic link's target; a file's content, or before there is some the space that it will take. */
  #body: Content | Space | Directory | string | undefined;
  #rarities: Rarities | undefined;

  /** Without a record yet: see {@link place}. */
  constructor(range: Range, generation = 1) {
    this.#range = range;
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

  /** Gives it what its type needs that is in no record, unless it has it. `body`: of a symbolic link, or a file that is not empty. */
  embody(table: InodeTable, body?: string | Content): void {
    this.#body ??= body ?? (this.isDirectory ? new Directory(this, table) : this.isRegular ? table.space : undefined);
  }

  /** Has what few have, and no content or target: see {@link embody}. A directory keeps its entries. Nothing is counted. */
  load(rare: Pick<Rarities, 'rdev' | 'linkable' | 'xattrs'>): void {
    if (rare.rdev || rare.linkable || rare.xattrs || this.#rarities)
      this.#rarities = { ...(this.#rarities ?? noRarities()), ...rare };
    if (!this.isDirectory) this.#body = undefined;
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

  get ino(): number {
    return this.#range.words[this.#at + INO]! || (this.#range as Gone).ino;
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
    if (rdev !== this.rdev) Inode.#rare(this).rdev = rdev;
  }

  /** Made without a name (O_TMPFILE), so that it may get its first one. */
  get linkable(): boolean {
    return this.#rarities?.linkable ?? false;
  }

  set linkable(linkable: boolean) {
    if (linkable !== this.linkable) Inode.#rare(this).linkable = linkable;
  }

  get xattrs(): Xattrs | undefined {
    return this.#rarities?.xattrs;
  }

  set xattrs(xattrs: Xattrs | undefined) {
    if (xattrs !== this.xattrs) Inode.#rare(this).xattrs = xattrs;
  }

  static #rare(inode: Inode): Rarities {
    inode.#range.touch();
    return (inode.#rarities ??= noRarities());
  }

  /** All names that it has, in any order; of the root none. */
  names(): readonly Entry[] {
    if (this.nlink === 0 || !this.name) return [];
    const links = this.#rarities?.links;
    return links ? [this, ...links] : [this];
  }

  /** The name it got or was looked up by last; of a directory that is removed, the one it had. */
  get entry(): Entry | undefined {
    return this.#rarities?.latest ?? (this.name && (this.nlink || this.isDirectory) ? this : undefined);
  }

  /** It was looked up by this name of it. */
  set entry(entry: Entry) {
    if (this.#rarities?.latest) this.#rarities.latest = entry;
  }

  /** It has this name too, and the links that makes. */
  addName(dir: Inode, name: string): Entry {
    this.#range.touch();
    return this.named(dir, name);
  }

  /** {@link addName} of one that is as a snapshot has it. */
  named(dir: Inode, name: string): Entry {
    const { directory } = this;
    if (directory) {
      directory.parent = dir;
      dir.nlink++;
      this.nlink++;
    } else if (this.nlink > 0) {
      const link = new Link(dir, name, this);
      const rarities = (this.#rarities ??= noRarities());
      (rarities.links ??= new Set()).add(link);
      rarities.latest = link;
      this.nlink++;
      return link;
    }
    this.nlink++;
    this.dir = dir;
    this.name = name;
    return this;
  }

  /** It no longer has this name, which is in no row any more; where it was the first one, another is that now. */
  removeName(entry: Entry): void {
    this.#range.touch();
    const { directory } = this;
    this.nlink--;
    if (directory) {
      this.nlink--;
      directory.parent = undefined;
      entry.dir.nlink--;
    }
    const links = this.#rarities?.links;
    if (!links) return;
    let gone = entry as Link;
    if (entry === this) {
      [gone] = links as Set<Link> & [Link];
      const { directory } = gone.dir;
      directory!.set(directory!.rowOf(gone.name), this);
      this.dir = gone.dir;
      this.name = gone.name;
    }
    links.delete(gone);
    if (this.#rarities!.latest === gone) this.#rarities!.latest = this;
    if (!links.size) this.#rarities!.links = this.#rarities!.latest = undefined;
  }

  /** Without names: those that it has again are counted when they are told. */
  forgetNames(): void {
    this.dir = this;
    this.name = '';
    if (this.#rarities) this.#rarities.links = this.#rarities.latest = undefined;
  }

  /** What it was called by `entry` it is called in another place, or otherwise. */
  moveName(entry: Entry, dir: Inode, name: string): void {
    this.#range.touch();
    if (this.directory && entry.dir !== dir) {
      this.directory.parent = dir;
      entry.dir.nlink--;
      dir.nlink++;
    }
    const moved = entry as Inode | Link;
    moved.dir = dir;
    moved.name = name;
    this.entry = entry;
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
    return timeAt(this.#range.words, this.#at, ATIME, 0);
  }

  set atime(time: Timespec) {
    putTime(this.#range.touch(), this.#at, ATIME, 0, time);
  }

  get mtime(): Timespec {
    return timeAt(this.#range.words, this.#at, MTIME, 8);
  }

  set mtime(time: Timespec) {
    putTime(this.#range.touch(), this.#at, MTIME, 8, time);
  }

  get ctime(): Timespec {
    return timeAt(this.#range.words, this.#at, CTIME, 16);
  }

  set ctime(time: Timespec) {
    putTime(this.#range.touch(), this.#at, CTIME, 16, time);
  }

  get btime(): Timespec {
    return timeAt(this.#range.words, this.#at, BTIME, 24);
  }

  set btime(time: Timespec) {
    putTime(this.#range.touch(), this.#at, BTIME, 24, time);
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
  return { generation: 1, rdev: 0, linkable: false, xattrs: undefined, links: undefined, latest: undefined };
}
