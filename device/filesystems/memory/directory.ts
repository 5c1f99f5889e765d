import { PAGE_SIZE } from '../../bytes.ts';
import { NAME_MAX } from '../../fs/constants.ts';
import { FIRST_COOKIE, firstAfter, MAX_COOKIE } from '../../fs/cookies.ts';
import { ENOSPC, FsError } from '../../fs/errno.ts';
import type { AddedEntries } from './added-entries.ts';
import type { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import { hashName } from './name-hash.ts';
import { NameTable } from './name-table.ts';
import { entryCost } from './space.ts';

/** Entries in one directory, at most. */
const MAX_ENTRIES = 2 ** 23;

/** Where an entry is, or was. */
export interface Place {
  readonly dir: Inode;
  readonly name: string;
}

/**
 * A name of an inode, which goes where its inode goes: what is renamed is the same entry in another place. Not to be kept, for a file that has lost
 * its first name calls another so.
 */
export interface Entry extends Place {
  readonly inode: Inode;
}

/** A further name of an inode that has several. */
export class Link implements Entry {
  dir: Inode;
  name: string;
  readonly inode: Inode;

  constructor(dir: Inode, name: string, inode: Inode) {
    this.dir = dir;
    this.name = name;
    this.inode = inode;
  }
}

/**
 * The entries of one directory, by growing cookies; "." and ".." are not among them. Their numbers are those of their inodes, negative where it is a
 * {@link Link} of one.
 */
export class Directory extends NameTable<string> {
  /** The directory that it is in; the root is in itself. Undefined once it was removed. */
  parent: Inode | undefined;
  readonly #inode: Inode;
  readonly #table: InodeTable;
  /** By cookie. */
  #links: Map<number, Link> | undefined;
  #nextCookie = FIRST_COOKIE;
  #numbering = 0;
  /** The cookies that the entries of then had before they were numbered anew, in their order. */
  #former: Uint32Array | undefined;
  #cost = 0;

  constructor(inode: Inode, table: InodeTable) {
    super();
    this.#inode = inode;
    this.#table = table;
  }

  /** What the entries are charged, in bytes. */
  get cost(): number {
    return this.#cost;
  }

  /** Its size as it is shown. */
  get pages(): number {
    return Math.max(1, Math.ceil(this.#cost / PAGE_SIZE));
  }

  get nextCookie(): number {
    return this.#nextCookie;
  }

  /** Of one that is loaded. */
  set nextCookie(nextCookie: number) {
    this.#nextCookie = nextCookie;
  }

  /** Counts how often the entries were numbered anew, because the cookies had run out. */
  get numbering(): number {
    return this.#numbering;
  }

  /** The cookie now of what had `cookie` before the entries were numbered anew, or of the last entry before it. */
  renumbered(cookie: number): number {
    const position = firstAfter(this.#former!, cookie);
    return position ? FIRST_COOKIE + position - 1 : Math.min(cookie, FIRST_COOKIE - 1);
  }

  get(name: string): Entry | undefined {
    const row = this.rowOf(name);
    return row < 0 ? undefined : this.at(row);
  }

  /** The row of the entry with this name, or -1. */
  rowOf(name: string): number {
    return this.length && name.length <= NAME_MAX ? this.find(hashName(name), name) : -1;
  }

  protected override isNamed(row: number, name: string): boolean {
    return this.at(row).name === name;
  }

  /** What is in a row. */
  at(row: number): Entry {
    const number = this.numberAt(row);
    return number > 0 ? this.#table.inode(number)! : this.#links!.get(this.cookieAt(row))!;
  }

  /** Entries may come and go meanwhile. */
  *entries(): Generator<Entry, undefined> {
    let numbering = this.#numbering;
    for (let row = this.rowAfter(0); row >= 0; ) {
      let cookie = this.cookieAt(row);
      yield this.at(row);
      if (numbering !== this.#numbering) {
        numbering = this.#numbering;
        cookie = this.renumbered(cookie);
      }
      row = this.rowAfter(cookie, row);
    }
  }

  /** Counts a name that is about to be appended. @throws FsError ENOSPC, with nothing changed. */
  charge(name: string): void {
    if (this.length >= MAX_ENTRIES) throw FsError.of(ENOSPC);
    this.#take(entryCost(name));
  }

  /** Appends an entry, whose place is here, for a name that is not there and was charged. */
  append(entry: Entry): void {
    if (this.#nextCookie >= MAX_COOKIE) this.#renumber();
    this.#inode.touch();
    this.#put(entry, this.#nextCookie++);
  }

  #put(entry: Entry, cookie: number): void {
    this.put(this.#numberOf(entry, cookie), cookie, hashName(entry.name));
  }

  /** Puts another entry into the place of one, whose name it will have. */
  set(row: number, entry: Entry): void {
    const cookie = this.cookieAt(row);
    this.#links?.delete(cookie);
    this.setNumber(row, this.#numberOf(entry, cookie));
  }

  #numberOf(entry: Entry, cookie: number): number {
    if (!(entry instanceof Link)) return entry.inode.ino;
    this.link(cookie, entry);
    return -entry.inode.ino;
  }

  /** The entry with a cookie, whose number is negative. */
  link(cookie: number, link: Link): void {
    (this.#links ??= new Map()).set(cookie, link);
  }

  delete(name: string): void {
    const row = this.rowOf(name);
    if (row >= 0) this.removeName(row, name);
  }

  /** Takes an entry away, which has or had this name. */
  removeName(row: number, name: string): void {
    this.uncharge(name);
    this.remove(row);
  }

  /** What {@link charge} counted of a name is counted no longer. */
  uncharge(name: string): void {
    this.#take(-entryCost(name));
  }

  override remove(row: number): void {
    this.#links?.delete(this.cookieAt(row));
    super.remove(row);
  }

  /** Puts what a snapshot has here in, but for the rows in `kept`. It is charged here, and counted in no {@link Space} yet. */
  fill(added: AddedEntries, kept?: ReadonlySet<number>): void {
    this.#cost += added.cost;
    if (this.length === 0) {
      this.take(added);
      return;
    }
    this.reserve(added.length - (kept?.size ?? 0));
    for (let row = added.rowAfter(0); row >= 0; row = added.rowAfter(added.cookieAt(row), row))
      if (!kept?.has(row)) this.put(added.numberAt(row), added.cookieAt(row), added.hashAt(row));
    this.order();
  }

  /** Puts entries in by their cookies, which grow, are free and below {@link nextCookie}. They are not limited by the quota. */
  insert(entries: readonly { entry: Entry; cookie: number }[]): void {
    if (!entries.length) return;
    this.reserve(entries.length);
    for (const { entry, cookie } of entries) this.#put(entry, cookie);
    this.order();
    const cost = entries.reduce((sum, { entry }) => sum + entryCost(entry.name), 0);
    this.#cost += cost;
    this.#table.space.metadata += cost;
  }

  /** Two thousand million names have been here, which is once in weeks: those that are left begin anew. */
  #renumber(): void {
    const all = Array.from(this.entries());
    this.#former = Uint32Array.from(all, ({ name }) => this.cookieAt(this.rowOf(name)));
    this.clear();
    this.#links = undefined;
    this.#nextCookie = FIRST_COOKIE;
    for (const entry of all) {
      entry.inode.touch();
      this.#put(entry, this.#nextCookie++);
    }
    this.#numbering++;
  }

  #take(bytes: number): void {
    this.#table.space.takeMetadata(bytes);
    this.#cost += bytes;
  }
}
