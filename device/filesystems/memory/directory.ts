import { PAGE_SIZE } from '../../bytes.ts';
import { FIRST_COOKIE, firstAfter, MAX_COOKIE } from '../../fs/cookies.ts';
import { ENOSPC, FsError } from '../../fs/errno.ts';
import type { Inode } from './inode.ts';
import { entryCost, type Space } from './space.ts';

/** Entries in one directory, at most: half of what a `Map` can have, which has places for removed ones too. */
const MAX_ENTRIES = 2 ** 23;

/** A name in a directory. */
export class Entry {
  readonly dir: Inode;
  readonly name: string;
  inode: Inode;
  /** Where a reader continues after it. Grows from entry to entry; see {@link Directory.numbering}. */
  cookie: number;

  constructor(dir: Inode, name: string, inode: Inode, cookie: number) {
    this.dir = dir;
    this.name = name;
    this.inode = inode;
    this.cookie = cookie;
  }
}

/** The entries of one directory, in the order of their cookies. "." and ".." are not among them. */
export class Directory {
  /** The directory that it is in; the root is in itself. Undefined once it was removed. */
  parent: Inode | undefined;
  readonly #inode: Inode;
  readonly #space: Space;
  readonly #entries = new Map<string, Entry>();
  #nextCookie = FIRST_COOKIE;
  #numbering = 0;
  /** The cookies that the entries of then had before they were numbered anew, in their order. */
  #former: Uint32Array | undefined;
  #cost = 0;

  constructor(inode: Inode, space: Space) {
    this.#inode = inode;
    this.#space = space;
  }

  get length(): number {
    return this.#entries.size;
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
    return this.#entries.get(name);
  }

  entries(): MapIterator<Entry> {
    return this.#entries.values();
  }

  names(): MapIterator<string> {
    return this.#entries.keys();
  }

  /** Appends an entry for a name that is not there. @throws FsError ENOSPC, with nothing added. */
  add(name: string, inode: Inode): Entry {
    if (this.#entries.size >= MAX_ENTRIES) throw FsError.of(ENOSPC);
    if (this.#nextCookie >= MAX_COOKIE) this.#renumber();
    this.#charge(entryCost(name));
    this.#inode.touch();
    const entry = new Entry(this.#inode, name, inode, this.#nextCookie++);
    this.#entries.set(name, entry);
    return entry;
  }

  /** Two thousand million names have been here, which is once in weeks: those that are left begin anew. */
  #renumber(): void {
    this.#former = Uint32Array.from(this.#entries.values(), ({ cookie }) => cookie);
    this.#nextCookie = FIRST_COOKIE;
    for (const entry of this.#entries.values()) {
      entry.inode.touch();
      entry.cookie = this.#nextCookie++;
    }
    this.#numbering++;
  }

  delete(name: string): void {
    if (this.#entries.delete(name)) this.#charge(-entryCost(name));
  }

  /** Puts entries in by their cookies, which grow, are free and below {@link nextCookie}. They are not limited by the quota. */
  insert(entries: readonly Entry[]): void {
    let last = 0;
    for (const { cookie } of this.#entries.values()) last = cookie;
    let all = entries;
    if (entries[0] && entries[0].cookie < last) {
      all = [...this.#entries.values(), ...entries].sort((a, b) => a.cookie - b.cookie);
      this.#entries.clear();
    }
    for (const entry of all) this.#entries.set(entry.name, entry);
    const cost = entries.reduce((sum, { name }) => sum + entryCost(name), 0);
    this.#cost += cost;
    this.#space.metadata += cost;
  }

  #charge(bytes: number): void {
    this.#space.takeMetadata(bytes);
    this.#cost += bytes;
  }
}
