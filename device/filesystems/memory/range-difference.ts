import { AbsentBytes } from '../../fs/origin.ts';
import { fail, record } from './invalid.ts';
import { RANGE } from './range.ts';
import { WORDS } from './record.ts';
import type { MemoryState, RangeState } from './state.ts';

/*
 * A range of a filesystem on an image, as what is different in it from the range that the image has. Groups are compared by inode: what an inode has in
 * a group is in the difference whole, or not at all.
 */

/** The columns of each group, with the bytes of a row in each: a number, a text with a NUL after it, or an item of a list. */
const GROUPS = {
  inodes: { inodes: 4 * WORDS },
  entries: { ino: 4, dir: 4, cookie: 4, names: 'text' },
  directories: { ino: 4, nextCookie: 4 },
  files: { ino: 4, size: 8, chunks: 4 },
  symlinks: { ino: 4, targets: 'text' },
  xattrs: { ino: 4, names: 'text', values: 'item' },
  special: { ino: 4, generation: 4, rdev: 4, linkable: 4 },
} as const satisfies Record<string, Widths>;
/** Those of a file follow those of the file before. */
const CHUNKS = { index: 8, map: 4, bytes: 'item' } as const satisfies Widths;

/** Bytes from which on they are compared as words. */
const MANY = 256;

type Widths = Record<string, number | 'text' | 'item'>;
/** What an image has, by index. */
export type Base = ReadonlyMap<number, RangeState>;

export function baseOf({ ranges }: Pick<MemoryState, 'ranges'>): Base {
  return new Map(ranges.map((range) => [range.index, range]));
}

/** All ranges, by index, where those in `listed` take the place of the image's; differences as they are. */
export function together(listed: readonly RangeState[], base: Base): RangeState[] {
  const own = new Set(listed.map((range) => record(range, 'ranges')['index']));
  const isGone = ({ inodes, changed }: RangeState) => inodes instanceof Uint8Array && !inodes.length && !changed;
  const others = [...base.values()].filter(({ index }) => !own.has(index));
  return [...others, ...listed.filter((range) => !isGone(range))].sort((a, b) => a.index - b.index);
}

/** As {@link together}, and all of them whole. */
export function completed(listed: readonly RangeState[], base: Base): RangeState[] {
  return together(listed, base).map((range) => (range.changed ? withDifference(base.get(range.index), range) : range));
}

export type GroupName = keyof typeof GROUPS;
const NAMES = Object.keys(GROUPS) as GroupName[];

/** What `range` has that `base`, of the same inode numbers, has not; `base` itself where there is nothing. Both are sound; columns may be borrowed. */
export function differenceFrom(base: RangeState, range: RangeState): RangeState {
  const changed: Partial<Record<GroupName, Uint8Array>> = {};
  const difference: RangeState = { index: range.index, inodes: new Uint8Array(0), changed };
  for (const name of NAMES) {
    // Mostly it is, as for names where files were read; and this is done while a guest is paused.
    if (isSameGroup(base, range, name)) continue;
    const [own, other] = [new Group(range, name), new Group(base, name)];
    const inos: number[] = [];
    const picked: number[] = [];
    let [row, otherRow] = [0, 0];
    while (row < own.count || otherRow < other.count) {
      const ino = Math.min(own.ino(row), other.ino(otherRow));
      const [end, otherEnd] = [own.endOf(ino, row), other.endOf(ino, otherRow)];
      if (!own.isSame(row, end, other, otherRow, otherEnd)) {
        inos.push(ino % RANGE);
        for (let at = row; at < end; at++) picked.push(at);
      }
      [row, otherRow] = [end, otherEnd];
    }
    if (!inos.length) continue;
    changed[name] = Uint8Array.from(inos);
    if (picked.length)
      put(
        difference,
        name,
        picked.map((at) => [own, at]),
      );
  }
  return Object.keys(changed).length ? difference : base;
}

/** Whether two ranges have just the same in a group: it may be said of those that they have not. */
function isSameGroup(a: RangeState, b: RangeState, name: GroupName): boolean {
  if (name === 'inodes') return isSameBytes(a.inodes, b.inodes);
  return isSameColumns(a[name], b[name]) && (name !== 'files' || isSameColumns(a.chunks, b.chunks));
}

function isSameColumns(a: object | undefined, b: object | undefined): boolean {
  if (!a || !b) return a === b;
  const others = b as Record<string, unknown>;
  for (const [name, column] of Object.entries(a) as [string, Uint8Array | unknown[]][]) {
    const other = others[name] as typeof column;
    if (column.length !== other.length) return false;
    if (column instanceof Uint8Array) {
      if (!isSameBytes(column, other as Uint8Array)) return false;
    } else for (let n = 0; n < column.length; n++) if (!isSameItem(column[n], other[n])) return false;
  }
  return true;
}

/** The whole range of which `difference` says how it is different from `base`. It is not checked in itself. @throws TypeError when the difference makes no sense. */
export function withDifference(base: RangeState | undefined, difference: RangeState): RangeState {
  const { index } = difference;
  const changed = record(difference.changed, 'changed') as Record<string, unknown>;
  if (!base) fail(`range ${index} is a difference, and the image has no such range`);
  const whole: RangeState = { ...base };
  for (const name of NAMES) {
    const own = new Group(difference, name);
    const inos = changed[name];
    if (inos === undefined) {
      if (own.count) fail(`range ${index} has ${name}, and does not say of which inodes`);
      continue;
    }
    if (!(inos instanceof Uint8Array)) fail(`the changed ${name} are no bytes`);
    const isChanged = new Set(inos as Uint8Array);
    const kept = new Group(base, name);
    const rows: [Group, number][] = [];
    let row = 0;
    for (let at = 0; at < own.count; at++) {
      const ino = own.ino(at);
      if (!isChanged.has(ino % RANGE)) fail(`range ${index} has ${name} of an inode ${ino} that it does not name`);
      for (; kept.ino(row) < ino; row++) if (!isChanged.has(kept.ino(row) % RANGE)) rows.push([kept, row]);
      rows.push([own, at]);
    }
    for (; row < kept.count; row++) if (!isChanged.has(kept.ino(row) % RANGE)) rows.push([kept, row]);
    put(whole, name, rows);
  }
  return whole;
}

/** Makes a group of a range of rows of others. */
function put(range: RangeState, name: GroupName, rows: readonly (readonly [Group, number])[]): void {
  const groups = range as unknown as Record<string, unknown>;
  if (name === 'files') delete groups['chunks'];
  if (name === 'inodes') {
    range.inodes = gathered(rows, 'inodes') as Uint8Array;
    return;
  }
  delete groups[name];
  if (!rows.length) return;
  groups[name] = Object.fromEntries(Object.keys(GROUPS[name]).map((column) => [column, gathered(rows, column)]));
  if (name !== 'files') return;
  const pieces: [Rows, number][] = [];
  for (const [group, row] of rows) {
    const chunks = group.chunks!;
    for (let at = chunks.startOf(row); at < chunks.startOf(row + 1); at++) pieces.push([chunks, at]);
  }
  if (pieces.length)
    groups['chunks'] = Object.fromEntries(Object.keys(CHUNKS).map((column) => [column, gathered(pieces, column)]));
}

/** A column of rows of others. */
function gathered(rows: readonly (readonly [Rows, number])[], name: string): Uint8Array | unknown[] {
  const cells = rows.map(([group, row]) => group.columns[name]!.cell(row));
  if (!(cells[0] instanceof Uint8Array) || rows[0]![0].columns[name]!.isList) return cells;
  let length = 0;
  for (const cell of cells as Uint8Array[]) length += cell.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const cell of cells as Uint8Array[]) {
    bytes.set(cell, at);
    at += cell.length;
  }
  return bytes;
}

/** A column as rows. @throws TypeError when it is not a column. */
class Column {
  readonly count: number;
  readonly isList: boolean;
  readonly #bytes: Uint8Array = new Uint8Array(0);
  readonly #items: readonly unknown[] = [];
  readonly #width: number = 0;
  /** Of numbers, where they stand so that they can be read as such. */
  readonly #words: Int32Array | undefined;
  /** Of texts: where each begins, and the last one ends. */
  readonly #starts: number[] | undefined;

  constructor(value: unknown, width: number | 'text' | 'item', what: string) {
    this.isList = width === 'item';
    if (width === 'item') {
      if (!Array.isArray(value)) fail(`${what} is not a list`);
      this.#items = value as unknown[];
      this.count = this.#items.length;
      return;
    }
    if (!(value instanceof Uint8Array)) fail(`${what} is not a column`);
    const bytes = (this.#bytes = value as Uint8Array);
    if (width === 'text') {
      const starts = (this.#starts = [0]);
      for (let at = bytes.indexOf(0); at >= 0; at = bytes.indexOf(0, at + 1)) starts.push(at + 1);
      if (starts.at(-1) !== bytes.length) fail(`${what} is not a column of texts`);
      this.count = starts.length - 1;
    } else {
      this.#width = width;
      this.count = bytes.length / width;
      if (!Number.isInteger(this.count)) fail(`${what} is not a column of numbers`);
      if (bytes.byteOffset % 4 === 0) this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    }
  }

  #start(row: number): number {
    return this.#starts ? this.#starts[row]! : row * this.#width;
  }

  /** Bytes, borrowed, or an item. */
  cell(row: number): unknown {
    return this.isList ? this.#items[row] : this.#bytes.subarray(this.#start(row), this.#start(row + 1));
  }

  u32(row: number): number {
    if (this.#words) return this.#words[(row * this.#width) >> 2]! >>> 0;
    const bytes = this.#bytes;
    const at = row * this.#width;
    return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
  }

  isSame(row: number, other: Column, otherRow: number): boolean {
    if (this.isList) return isSameItem(this.#items[row], other.#items[otherRow]);
    if (this.#words && other.#words) return this.#isSameNumbers(row, other, otherRow);
    const [from, at] = [this.#start(row), other.#start(otherRow)];
    const length = this.#start(row + 1) - from;
    if (length !== other.#start(otherRow + 1) - at) return false;
    return isSamePart(this.#bytes, from, other.#bytes, at, length);
  }

  #isSameNumbers(row: number, other: Column, otherRow: number): boolean {
    const count = this.#width >> 2;
    const [words, others] = [this.#words!, other.#words!];
    for (let n = 0; n < count; n++) if (words[row * count + n] !== others[otherRow * count + n]) return false;
    return true;
  }
}

function isSameItem(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (a instanceof AbsentBytes) return b instanceof AbsentBytes && a.length === b.length && isSameBytes(a.hash, b.hash);
  return a instanceof Uint8Array && b instanceof Uint8Array && isSameBytes(a, b);
}

function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && isSamePart(a, 0, b, 0, a.length);
}

/** Four at a time where that can be. */
function isSamePart(a: Uint8Array, from: number, b: Uint8Array, at: number, length: number): boolean {
  let n = 0;
  const [start, otherStart] = [a.byteOffset + from, b.byteOffset + at];
  if (length >= MANY && start % 4 === 0 && otherStart % 4 === 0) {
    const [words, others] = [
      new Int32Array(a.buffer, start, length >> 2),
      new Int32Array(b.buffer, otherStart, length >> 2),
    ];
    for (let word = 0; word < words.length; word++) if (words[word] !== others[word]) return false;
    n = words.length * 4;
  }
  for (; n < length; n++) if (a[from + n] !== b[at + n]) return false;
  return true;
}

/** Columns of the same length. @throws TypeError when they are not. */
class Rows {
  readonly count: number;
  readonly columns: Readonly<Record<string, Column>>;
  readonly #list: readonly Column[];

  constructor(source: unknown, widths: Widths, what: string) {
    const values = source === undefined ? undefined : record(source, what);
    this.columns = Object.fromEntries(
      Object.entries(widths).map(([name, width]) => [
        name,
        new Column(values ? values[name] : width === 'item' ? [] : new Uint8Array(0), width, `${what}.${name}`),
      ]),
    );
    this.#list = Object.values(this.columns);
    this.count = this.#list[0]!.count;
    if (this.#list.some(({ count }) => count !== this.count)) fail(`the columns of ${what} differ in length`);
  }

  /** `other` has the same columns. */
  isSameRow(row: number, other: Rows, otherRow: number): boolean {
    for (let n = 0; n < this.#list.length; n++)
      if (!this.#list[n]!.isSame(row, other.#list[n]!, otherRow)) return false;
    return true;
  }
}

class Chunks extends Rows {
  /** Where those of each file begin, and the last ones end. */
  readonly #starts = [0];

  constructor(source: unknown, counts: Column) {
    super(source, CHUNKS, 'chunks');
    let at = 0;
    for (let row = 0; row < counts.count; row++) this.#starts.push((at += counts.u32(row)));
    if (at !== this.count) fail('some chunks belong to no file, or there are fewer than files claim');
  }

  startOf(file: number): number {
    return this.#starts[file]!;
  }
}

/** A group of a range. */
class Group extends Rows {
  /** Of files. */
  readonly chunks: Chunks | undefined;
  readonly #ino: Column;

  constructor(range: RangeState, name: GroupName) {
    super(name === 'inodes' ? { inodes: range.inodes } : range[name], GROUPS[name], name);
    this.#ino = Object.values(this.columns)[0]!;
    if (name === 'files') this.chunks = new Chunks(range.chunks, this.columns['chunks']!);
  }

  /** That of a row; beyond the last one, a number that no inode has. */
  ino(row: number): number {
    return row < this.count ? this.#ino.u32(row) : Infinity;
  }

  /** The row after those of an inode, from `row` on. */
  endOf(ino: number, row: number): number {
    let end = row;
    while (this.ino(end) === ino) end++;
    return end;
  }

  isSame(from: number, to: number, other: Group, otherFrom: number, otherTo: number): boolean {
    if (to - from !== otherTo - otherFrom) return false;
    for (let n = 0; n < to - from; n++) {
      if (!this.isSameRow(from + n, other, otherFrom + n)) return false;
      if (this.chunks && !this.#sameChunks(from + n, other, otherFrom + n)) return false;
    }
    return true;
  }

  #sameChunks(row: number, other: Group, otherRow: number): boolean {
    const [own, others] = [this.chunks!, other.chunks!];
    const [start, otherStart] = [own.startOf(row), others.startOf(otherRow)];
    for (let n = 0; n < own.startOf(row + 1) - start; n++)
      if (!own.isSameRow(start + n, others, otherStart + n)) return false;
    return true;
  }
}
