import { S_IFMT } from '../../fs/constants.ts';
import type { Inode } from './inode.ts';
import type { RangeSource } from './range-source.ts';
import { MODE, WORDS } from './record.ts';
import type { RangeState } from './state.ts';

const RANGE_BITS = 8;
/** Inode numbers that one range is for: those from a multiple of it on. */
export const RANGE = 1 << RANGE_BITS;

/** The index of the range that a number is in. */
export function rangeOf(ino: number): number {
  return ino >>> RANGE_BITS;
}

const FEWEST = 4;
/** Records of inodes that are gone are left until there are so many, and more than of others. */
const MOST_GONE = 8;

/**
 * The inodes whose numbers are in one range, with a record of {@link WORDS} words for each: what a snapshot takes as it is, and takes again
 * as long as nothing in it has changed.
 */
export class Range {
  /** The first number is so many times {@link RANGE}. */
  readonly index: number;
  /** By number, as the records are; undefined for those that are gone, whose records are still there, and those that {@link source} makes. */
  #rows: (Inode | undefined)[] = [];
  /** Makes those of which nobody had need yet, as long as nothing has changed. */
  #source: RangeSource | undefined;
  #words: Int32Array = new Int32Array(FEWEST * WORDS);
  #saved: RangeState | undefined;
  /** Whether {@link saved} was found sound, together with the others. */
  isSound = false;
  #count = 0;

  constructor(index: number) {
    this.index = index;
  }

  /** How many inodes it has. */
  get count(): number {
    return this.#count;
  }

  /** The largest number that it has or had. */
  get last(): number {
    return this.#words[(this.#rows.length - 1) * WORDS]!;
  }

  /** Borrowed, until something changes. */
  get words(): Int32Array {
    return this.#words;
  }

  /** What a snapshot has of it, while that is what it is. */
  get saved(): RangeState | undefined {
    return this.#saved;
  }

  /** Something of it is about to change. Returns the records, to be changed. */
  touch(): Int32Array {
    if (this.#saved) this.#part();
    return this.#words;
  }

  /** It is no longer as the snapshot has it. */
  #part(): void {
    if (this.#source) for (let row = 0; row < this.#rows.length; row++) this.#at(row);
    this.#source = this.#saved = undefined;
    this.#words = new Int32Array(this.#words);
  }

  /** The records of all inodes one after the other: borrowed until {@link keep}, and after it for ever. */
  packed(): Int32Array {
    if (this.#count < this.#rows.length) this.#pack();
    return this.#words.subarray(0, this.#count * WORDS);
  }

  /** A snapshot has it as it is, its records too. `source`: of the inodes that there is no object for. */
  keep(saved: RangeState, source?: RangeSource): void {
    this.#saved = saved;
    this.#source = source;
    this.isSound = false;
  }

  *inodes(): Generator<Inode> {
    for (let row = 0; row < this.#rows.length; row++) {
      const inode = this.#at(row);
      if (inode) yield inode;
    }
  }

  #at(row: number): Inode | undefined {
    return this.#rows[row] ?? (this.#source && (this.#rows[row] = this.#source.make(this, row * WORDS)));
  }

  /** Those without a name that nobody retains: of those there are objects. */
  unused(): Inode[] {
    const found: Inode[] = [];
    for (const inode of this.#rows) if (inode?.nlink === 0 && inode.retained === 0) found.push(inode);
    return found;
  }

  find(ino: number): Inode | undefined {
    const row = this.#rowOf(ino);
    return row < this.#rows.length && this.#words[row * WORDS] === ino ? this.#at(row) : undefined;
  }

  /** Has inodes with these records, and no others; `words` don't change any more once they are those of {@link keep}. Their objects come by {@link set}. */
  load(words: Int32Array): void {
    this.#rows = new Array<undefined>(words.length / WORDS).fill(undefined);
    this.#count = this.#rows.length;
    this.#words = words;
  }

  /** The inode whose record begins at `at`. */
  set(at: number, inode: Inode): void {
    this.#rows[at / WORDS] = inode;
  }

  /** Whether there is an object for that inode. */
  has(at: number): boolean {
    return this.#rows[at / WORDS] !== undefined;
  }

  /** Gives an inode a record. Its number must not have one yet. */
  add(inode: Inode, ino: number, record?: Int32Array): void {
    const at = this.#insert(ino, inode);
    if (record) this.#words.set(record, at);
    inode.place(this, at);
  }

  #insert(ino: number, inode: Inode): number {
    this.touch();
    const row = this.#rowOf(ino);
    const rows = this.#rows.length;
    const at = row * WORDS;
    this.#count++;
    if (row < rows && this.#words[at] === ino) {
      this.#words.fill(0, at + 1, at + WORDS);
      this.#rows[row] = inode;
      return at;
    }
    if (rows * WORDS >= this.#words.length) this.#resize(2 * rows);
    this.#words.copyWithin(at + WORDS, at, rows * WORDS);
    this.#words.fill(0, at, at + WORDS);
    this.#words[at] = ino;
    if (row === rows) {
      this.#rows.push(inode);
      // A full one grows no more: without the room that arrays have for that.
      if (row === RANGE - 1) this.#rows = [...this.#rows];
    } else {
      this.#rows.splice(row, 0, inode);
      this.#moved(row + 1);
    }
    return at;
  }

  /** Takes an inode out. */
  remove(inode: Inode): void {
    this.touch();
    this.#rows[this.#rowOf(inode.ino)] = undefined;
    inode.place(new Gone(inode), 0);
    const gone = this.#rows.length - --this.#count;
    if (gone > this.#count && gone >= MOST_GONE) this.#pack();
  }

  #pack(): void {
    const words = this.#words;
    const rows: Inode[] = [];
    for (let row = 0; row < this.#rows.length; row++) {
      const inode = this.#rows[row];
      if (!inode) continue;
      if (row > rows.length) words.copyWithin(rows.length * WORDS, row * WORDS, (row + 1) * WORDS);
      rows.push(inode);
    }
    this.#rows = rows;
    this.#resize(rows.length);
    this.#moved(0);
  }

  #resize(rows: number): void {
    const words = new Int32Array(Math.min(Math.max(rows, FEWEST), RANGE) * WORDS);
    words.set(this.#words.subarray(0, words.length));
    this.#words = words;
  }

  #moved(from: number): void {
    for (let row = from; row < this.#rows.length; row++) this.#rows[row]?.place(this, row * WORDS);
  }

  /** Where the record with this number is, or would be. */
  #rowOf(ino: number): number {
    const words = this.#words;
    // Numbers are given out one after the other, so it is here, or before where some are missing.
    let high = Math.min(ino - this.index * RANGE, this.#rows.length);
    if (high < this.#rows.length && words[high * WORDS] === ino) return high;
    if (high > 0 && words[(high - 1) * WORDS]! < ino) return high;
    let low = 0;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (words[middle * WORDS]! < ino) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** In place of the range of an inode that is gone. Its record says its type alone, and what is changed of it nobody will know. */
export class Gone {
  /** By the four bits that tell types apart. */
  static readonly #records = Array.from({ length: 16 }, (_, type) =>
    Int32Array.from({ length: WORDS }, (_, word) => (word === MODE ? type << 12 : 0)),
  );
  readonly ino: number;
  readonly words: Int32Array;

  constructor({ ino, mode }: Inode) {
    this.ino = ino;
    this.words = Gone.#records[(mode & S_IFMT) >>> 12]!;
  }

  touch(): Int32Array {
    return new Int32Array(WORDS);
  }
}
