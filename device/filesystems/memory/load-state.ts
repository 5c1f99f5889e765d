import { type AddedEntries, addedEntries } from './added-entries.ts';
import { type CheckedRange, checkRange, recordAt } from './check-range.ts';
import type { CheckedState } from './check-state.ts';
import type { Directory } from './directory.ts';
import type { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import { rangeOf } from './range.ts';
import { RangeSource } from './range-source.ts';
import { INO, WORDS } from './record.ts';
import { rangesCost } from './space.ts';

/**
 * Makes a table what a checked state says. Ranges that the state has just as they are here are left alone; of others, files with one name become objects
 * when somebody asks for them.
 */
export function loadState(table: InodeTable, state: CheckedState): void {
  new Load(table, state).run();
}

class Load {
  readonly #table: InodeTable;
  readonly #state: CheckedState;
  /** By index. */
  readonly #kept = new Set<number>();
  readonly #ranges = new Map<number, CheckedRange>();
  readonly #sources = new Map<number, RangeSource>();
  readonly #added: ReadonlyMap<number, AddedEntries>;
  readonly #before = new Map<number, Inode>();
  /** Those whom somebody retains and the state does not have, with their records. */
  readonly #left: { inode: Inode; record: Int32Array }[] = [];
  /** The names that there were, and that are not there again yet, by cookie. */
  readonly #names = new Map<Directory, Map<number, string>>();

  constructor(table: InodeTable, state: CheckedState) {
    this.#table = table;
    this.#state = state;
    for (const { index, saved } of table.ranges())
      if (!state.isAnew && saved && state.sources.get(index) === saved) this.#kept.add(index);
    let isAsChecked = true;
    for (const [index, source] of state.sources) {
      if (this.#kept.has(index)) continue;
      let range = state.ranges.get(index);
      if (!range) {
        // It was here when the state was checked.
        isAsChecked = false;
        range = checkRange(source, state.nextIno, state.hasOrigin, table.base);
      }
      this.#ranges.set(index, range);
      this.#sources.set(index, new RangeSource(table, range));
    }
    isAsChecked &&= this.#ranges.size === state.ranges.size;
    this.#added = (isAsChecked && state.added) || addedEntries(this.#ranges);
    state.added = undefined;
  }

  run(): void {
    const table = this.#table;
    const { space } = table;
    table.nextIno = Math.max(table.nextIno, this.#state.nextIno);
    const before = table.ranges().filter(({ index }) => !this.#kept.has(index));
    for (const range of before) for (const inode of range.inodes()) this.#takeOut(inode);
    for (const range of before) table.drop(range);
    space.metadata -= rangesCost(before.length);
    for (const { index, words, directories, usage } of this.#ranges.values()) {
      const range = table.range(index);
      range.load(words);
      for (const ino of directories.ino) this.#make(index, recordAt(this.#ranges.get(index)!, ino));
      space.pages += usage.pages;
      space.metadata += usage.metadata + rangesCost(1);
      space.inodes += usage.inodes;
    }
    for (const range of this.#ranges.values()) this.#nameDirectories(range);
    for (const [dir, added] of this.#added) this.#loadEntries(table.inode(dir)!.directory!, added);
    for (const [directory, names] of this.#names)
      for (const cookie of names.keys()) directory.remove(directory.rowOfCookie(cookie));
    const isLeft = new Set(this.#left.map(({ record }) => rangeOf(record[INO]!)));
    for (const range of this.#ranges.values()) this.#makeSome(range, isLeft.has(range.index));
    for (const { inode, record } of this.#left) {
      const range = table.range(rangeOf(record[INO]!));
      if (!range.count) space.metadata += rangesCost(1);
      range.add(inode, record[INO]!, record);
      this.#charge(inode, 1);
    }
    for (const { index, source } of this.#ranges.values()) {
      if (isLeft.has(index)) continue;
      const range = table.range(index);
      range.keep(source, this.#sources.get(index)!);
      range.isSound = true;
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
      from.uncharge(name);
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

  #make(index: number, at: number): Inode {
    const range = this.#table.range(index);
    const inode = this.#sources.get(index)!.make(range, at, this.#before.get(range.words[at]!));
    range.set(at, inode);
    return inode;
  }

  #nameDirectories({ index, directories, entries }: CheckedRange): void {
    let row = 0;
    for (const ino of directories.ino) {
      while (row < entries.ino.length && entries.ino[row]! < ino) row++;
      if (entries.ino[row] !== ino) continue;
      const dir = this.#table.inode(entries.dir[row]!)!;
      this.#table.range(index).find(ino)!.named(dir, entries.names.at(row));
    }
  }

  /** Those names that stay as they are stay where they are. */
  #loadEntries(directory: Directory, added: AddedEntries): void {
    const names = this.#names.get(directory);
    const kept = new Set<number>();
    for (const [cookie, name] of names ?? []) {
      const row = added.rowOfCookie(cookie);
      if (row < 0 || added.nameAt(row) !== name) continue;
      names!.delete(cookie);
      kept.add(row);
      directory.setNumber(directory.rowOfCookie(cookie), added.numberAt(row));
    }
    directory.fill(added, kept);
  }

  /** Makes the objects of those that were there before, that have several names or none, or of all. */
  #makeSome({ index, words, entries }: CheckedRange, isAll: boolean): void {
    const range = this.#table.range(index);
    let row = 0;
    for (let at = 0; at < words.length; at += WORDS) {
      const ino = words[at]!;
      const first = row;
      while (entries.ino[row] === ino) row++;
      if ((isAll || row - first !== 1 || this.#before.has(ino)) && !range.has(at)) this.#make(index, at);
    }
  }

  /** Counts an inode, or no longer. What directories are charged for their entries they count themselves. */
  #charge(inode: Inode, sign: number): void {
    this.#table.space.metadata += sign * (inode.metadata - (inode.directory?.cost ?? 0));
    this.#table.space.inodes += sign;
  }
}
