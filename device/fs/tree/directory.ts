import type { DirectoryEntry, DirectoryReader } from '../backend.ts';
import { ENOSPC, FsError } from '../errno.ts';
import { nameLength } from '../names.ts';
import type { Inode } from './inode.ts';
import { PAGE_SIZE, type Space } from './space.ts';

const DOT_COOKIE = 1;
const DOT_DOT_COOKIE = 2;
export const FIRST_COOKIE = 3;
const MAX_COOKIE = 2 ** 31 - 1;
/** What an entry is charged besides its name, in bytes. */
const ENTRY_OVERHEAD = 64;

/** A name in a directory. */
export class Entry {
  readonly dir: Inode;
  readonly name: string;
  inode: Inode;
  /** Where a reader continues after it. Grows from entry to entry, is never used again. */
  readonly cookie: number;
  /** What the host sees of it; made by {@link MemfsBackend}. */
  view: unknown;

  constructor(dir: Inode, name: string, inode: Inode, cookie: number, view?: unknown) {
    this.dir = dir;
    this.name = name;
    this.inode = inode;
    this.cookie = cookie;
    this.view = view;
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
  #bytes = 0;
  #pages = 1;

  /** The first page of `space` is charged by whoever makes it. */
  constructor(inode: Inode, space: Space) {
    this.#inode = inode;
    this.#space = space;
  }

  get length(): number {
    return this.#entries.size;
  }

  get pages(): number {
    return this.#pages;
  }

  get nextCookie(): number {
    return this.#nextCookie;
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
  add(name: string, inode: Inode, view?: unknown): Entry {
    if (this.#nextCookie >= MAX_COOKIE) throw FsError.of(ENOSPC);
    this.#charge(entryBytes(name));
    const entry = new Entry(this.#inode, name, inode, this.#nextCookie++, view);
    this.#entries.set(name, entry);
    return entry;
  }

  delete(name: string): void {
    if (this.#entries.delete(name)) this.#charge(-entryBytes(name));
  }

  /** Replaces everything; `entries` have growing cookies below `nextCookie`. The pages are not limited by the quota. */
  load(entries: Iterable<Entry>, nextCookie: number): void {
    this.#entries.clear();
    this.#bytes = 0;
    for (const entry of entries) {
      this.#entries.set(entry.name, entry);
      this.#bytes += entryBytes(entry.name);
    }
    this.#nextCookie = nextCookie;
    const pages = pagesFor(this.#bytes);
    this.#space.pages += pages - this.#pages;
    this.#pages = pages;
  }

  #charge(bytes: number): void {
    const pages = pagesFor(this.#bytes + bytes);
    if (pages !== this.#pages) this.#space.takePages(pages - this.#pages);
    this.#bytes += bytes;
    this.#pages = pages;
  }
}

/**
 * Goes through a directory while it changes. In sequence every step is constant time, on whatever
 * was added or removed meanwhile; a jump costs one pass over the entries before it.
 */
export class Reader implements DirectoryReader {
  readonly #inode: Inode;
  readonly #directory: Directory;
  #iterator: MapIterator<Entry> | undefined;
  /** The last cookie passed. */
  #position = 0;
  #current: Entry | undefined;

  constructor(inode: Inode) {
    this.#inode = inode;
    this.#directory = inode.directory!;
  }

  seek(cookie: number): void {
    if (cookie === this.#position) return;
    this.#position = cookie;
    this.#iterator = this.#current = undefined;
  }

  peek(): DirectoryEntry | undefined {
    const { parent } = this.#directory;
    if (!parent) return undefined;
    if (this.#position < DOT_COOKIE) return { name: '.', inode: this.#inode, mode: this.#inode.mode, cookie: DOT_COOKIE };
    if (this.#position < DOT_DOT_COOKIE) return { name: '..', inode: parent, mode: parent.mode, cookie: DOT_DOT_COOKIE };
    const entry = this.#entry();
    return entry && { name: entry.name, inode: entry.inode, mode: entry.inode.mode, cookie: entry.cookie };
  }

  advance(): void {
    const entry = this.peek();
    if (!entry) return;
    this.#position = entry.cookie;
    this.#current = undefined;
  }

  #entry(): Entry | undefined {
    const current = this.#current;
    if (current && this.#directory.get(current.name) === current) return current;
    if (!this.#iterator) {
      if (this.#directory.nextCookie <= this.#position + 1) return undefined;
      this.#iterator = this.#directory.entries();
    }
    for (;;) {
      const { done, value } = this.#iterator.next();
      if (done) {
        // A map iterator that has ended stays at its end, whatever is added later.
        this.#iterator = this.#current = undefined;
        return undefined;
      }
      if (value.cookie > this.#position) return (this.#current = value);
    }
  }
}

function entryBytes(name: string): number {
  return ENTRY_OVERHEAD + nameLength(name);
}

function pagesFor(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / PAGE_SIZE));
}
