import { DOT_COOKIE, DOT_DOT_COOKIE } from '../../fs/cookies.ts';
import type { DirectoryEntry, OpenDirectory } from '../../fs/filesystem.ts';
import type { Directory } from './directory.ts';
import type { Inode } from './inode.ts';

/**
 * Goes through a directory while it changes, up to the last entry that was there when it began: whoever
 * renames entries meanwhile, which gives them new cookies, would never let it end.
 */
export class Reader implements OpenDirectory, IterableIterator<DirectoryEntry, undefined> {
  readonly #inode: Inode;
  readonly #directory: Directory;
  readonly #accessed: () => void;
  /** The last cookie that was passed, as it was told; and what it is now, unless the entries were numbered anew since. */
  #told = 0;
  #position = 0;
  /** What was given out last, while nobody has gone on after it. */
  #given: DirectoryEntry | undefined;
  #end: number;
  #numbering: number;
  /** Where the entry is that was found last. */
  #row = -1;

  /** `end`: of an earlier reader that this one takes the place of. */
  constructor(inode: Inode, directory: Directory, accessed: () => void, end?: number) {
    this.#inode = inode;
    this.#directory = directory;
    this.#accessed = accessed;
    this.#end = end ?? directory.nextCookie;
    this.#numbering = directory.numbering;
  }

  get end(): number {
    return this.#end;
  }

  read(cookie: number, _plus: boolean, noatime: boolean): Iterable<DirectoryEntry> {
    if (!noatime) this.#accessed();
    this.#seek(cookie);
    return this;
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<DirectoryEntry, undefined> {
    if (this.#given) this.#pass(this.#given.cookie);
    const value = this.#peek();
    this.#given = value;
    return value ? { done: false, value } : { done: true, value };
  }

  #seek(cookie: number): void {
    if (cookie === 0) {
      this.#end = this.#directory.nextCookie;
      this.#numbering = this.#directory.numbering;
    } else if (cookie === this.#told) {
      this.#given = undefined;
      return;
    } else if (cookie === this.#given?.cookie) {
      this.#pass(cookie);
      return;
    }
    this.#told = this.#position = cookie;
    this.#given = undefined;
  }

  #pass(cookie: number): void {
    this.#told = this.#position = cookie;
    this.#given = undefined;
  }

  #peek(): DirectoryEntry | undefined {
    const { parent } = this.#directory;
    if (!parent) return undefined;
    if (this.#position < DOT_COOKIE)
      return { name: '.', inode: this.#inode, mode: this.#inode.mode, cookie: DOT_COOKIE };
    if (this.#position < DOT_DOT_COOKIE)
      return { name: '..', inode: parent, mode: parent.mode, cookie: DOT_DOT_COOKIE };
    this.#follow();
    const directory = this.#directory;
    const row = directory.rowAfter(this.#position, this.#row);
    const cookie = row < 0 ? this.#end : directory.cookieAt(row);
    if (cookie >= this.#end) {
      // Nothing is left up to the end: what is added later comes after it.
      this.#position = Math.max(this.#position, this.#end - 1);
      return undefined;
    }
    this.#row = row;
    const { name, inode } = directory.at(row);
    return { name, inode, mode: inode.mode, cookie, attr: inode };
  }

  /** Entries keep their order when they are numbered anew. */
  #follow(): void {
    const directory = this.#directory;
    if (this.#numbering === directory.numbering) return;
    this.#numbering = directory.numbering;
    this.#position = directory.renumbered(this.#position);
    this.#end = directory.renumbered(this.#end - 1) + 1;
  }
}
