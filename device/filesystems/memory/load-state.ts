import { S_IFMT } from '../../fs/constants.ts';
import type { AbsentBytes } from '../../fs/origin.ts';
import { type CheckedRange, checkRange, recordAt } from './check-range.ts';
import type { CheckedState } from './check-state.ts';
import { PAGES_PER_CHUNK } from './chunk.ts';
import type { Directory, Entry } from './directory.ts';
import { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import { INO, MODE, rangeOf, WORDS } from './range.ts';
import { rangesCost } from './space.ts';
import { addXattr } from './xattrs.ts';

/** Makes a table what a checked state says. Ranges that the state has just as they are here are left alone. */
export function loadState(table: InodeTable, state: CheckedState): void {
  new Load(table, state).run();
}

class Load {
  readonly #table: InodeTable;
  readonly #state: CheckedState;
  /** By index. */
  readonly #kept = new Set<number>();
  readonly #ranges = new Map<number, CheckedRange>();
  readonly #before = new Map<number, Inode>();
  /** Those whom somebody retains and the state does not have, with their records. */
  readonly #left: { inode: Inode; record: Int32Array }[] = [];
  /** The names that there were, and that are not there again yet, by cookie. */
  readonly #names = new Map<Directory, Map<number, string>>();
  /** Names that come into each directory. */
  readonly #added = new Map<Directory, { entry: Entry; cookie: number }[]>();

  constructor(table: InodeTable, state: CheckedState) {
    this.#table = table;
    this.#state = state;
    for (const { index, saved } of table.ranges())
      if (!state.isAnew && saved && state.sources.get(index) === saved) this.#kept.add(index);
    for (const [index, source] of state.sources)
      if (!this.#kept.has(index))
        this.#ranges.set(
          index,
          state.ranges.get(index) ?? checkRange(source, state.nextIno, state.hasOrigin, table.base),
        );
  }

  run(): void {
    const table = this.#table;
    table.nextIno = Math.max(table.nextIno, this.#state.nextIno);
    const before = table.ranges().filter(({ index }) => !this.#kept.has(index));
    for (const range of before) for (const inode of range.inodes()) this.#takeOut(inode);
    for (const range of before) table.drop(range);
    table.space.metadata -= rangesCost(before.length);
    for (const range of this.#ranges.values()) this.#loadInodes(range);
    for (const { inode, record } of this.#left) {
      table.range(rangeOf(record[INO]!)).add(inode, record[INO]!, record);
      this.#charge(inode, 1);
    }
    for (const range of this.#ranges.values()) this.#loadEntries(range);
    for (const [directory, names] of this.#names)
      for (const [cookie, name] of names) directory.removeName(directory.rowAfter(cookie - 1), name);
    for (const [directory, entries] of this.#added) {
      entries.sort((a, b) => a.cookie - b.cookie);
      directory.insert(entries);
    }
    for (const range of this.#ranges.values()) this.#loadContent(range);
    const isLeft = new Set(this.#left.map(({ inode }) => rangeOf(inode.ino)));
    table.space.metadata += rangesCost(new Set([...this.#ranges.keys(), ...isLeft]).size);
    for (const { index, source } of this.#ranges.values()) {
      if (isLeft.has(index)) continue;
      table.range(index).keep(source);
      table.range(index).isSound = true;
    }
  }

  /** Whether the state has an inode that does not stay as it is. */
  #has(ino: number): boolean {
    const range = this.#ranges.get(rangeOf(ino));
    return range !== undefined && recordAt(range, ino) >= 0;
  }

  #takeOut(inode: Inode): void {
    const { ino, directory } = inode;
    this.#before.set(ino, inode);
    this.#charge(inode, -1);
    for (const { dir, name } of inode.names()) {
      const from = dir.directory!;
      const names = this.#names.get(from) ?? new Map<number, string>();
      this.#names.set(from, names.set(from.cookieAt(from.rowOf(name)), name));
      if (directory) dir.nlink--;
    }
    if (!directory) inode.nlink = 0;
    else if (inode !== this.#table.root) {
      if (directory.parent) inode.nlink -= 2;
      directory.parent = undefined;
    }
    inode.forgetNames();
    const isThere = this.#has(ino);
    if (isThere || inode.retained === 0) {
      inode.written?.clear();
      inode.xattrs = undefined;
    }
    if (!isThere && inode.retained > 0) this.#left.push({ inode, record: inode.record() });
  }

  #loadInodes({ index, words, special, directories, symlinks }: CheckedRange): void {
    const table = this.#table;
    const inodes: Inode[] = [];
    const rare = new Map(Array.from(special.ino, (ino, row) => [ino, row]));
    for (let at = 0; at < words.length; at += WORDS) {
      const ino = words[at]!;
      const row = rare.get(ino);
      const generation = row === undefined ? 1 : special.generation[row]!;
      let inode = this.#before.get(ino);
      const isSame = inode?.generation === generation && inode.type === (words[at + MODE]! & S_IFMT);
      if (!inode || !isSame) inode = new Inode(table.range(index), generation);
      inode.rdev = row === undefined ? 0 : special.rdev[row]!;
      inode.linkable = row !== undefined && special.linkable[row] === 1;
      inodes.push(inode);
    }
    table.range(index).load(inodes, words);
    for (const inode of inodes) inode.embody(table);
    directories.ino.forEach((ino, row) => {
      table.inode(ino)!.directory!.nextCookie = directories.nextCookie[row]!;
    });
    symlinks.ino.forEach((ino, row) => {
      table.inode(ino)!.target = symlinks.targets[row]!;
    });
  }

  #loadEntries({ entries }: CheckedRange): void {
    entries.names.forEach((name, row) => {
      const dir = this.#table.inode(entries.dir[row]!)!;
      const inode = this.#table.inode(entries.ino[row]!)!;
      const cookie = entries.cookie[row]!;
      const directory = dir.directory!;
      const entry = inode.addName(dir, name);
      const names = this.#names.get(directory);
      if (names?.get(cookie) === name) {
        names.delete(cookie);
        directory.set(directory.rowAfter(cookie - 1), entry);
        return;
      }
      const added = this.#added.get(directory);
      if (added) added.push({ entry, cookie });
      else this.#added.set(directory, [{ entry, cookie }]);
    });
  }

  #loadContent({ index, files, chunks, xattrs }: CheckedRange): void {
    const range = this.#table.range(index);
    let row = 0;
    for (let at = 0; at < files.ino.length; at++) {
      const own: { at: number; map: number; bytes: Uint8Array | AbsentBytes }[] = [];
      for (const end = row + files.chunks[at]!; row < end; row++)
        own.push({ at: chunks.index[row]! * PAGES_PER_CHUNK, map: chunks.map[row]!, bytes: chunks.bytes[row]! });
      range.find(files.ino[at]!)!.content!.load(files.size[at]!, own);
    }
    xattrs.names.forEach((name, at) => addXattr(range.find(xattrs.ino[at]!)!, name, xattrs.values[at]!.slice()));
    for (const inode of range.inodes()) if (this.#has(inode.ino)) this.#charge(inode, 1);
  }

  /** Counts an inode, or no longer. What directories are charged for their entries they count themselves. */
  #charge(inode: Inode, sign: number): void {
    this.#table.space.metadata += sign * (inode.metadata - (inode.directory?.cost ?? 0));
    this.#table.space.inodes += sign;
  }
}
