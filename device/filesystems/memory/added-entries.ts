import type { CheckedRange } from './check-range.ts';
import { fail } from './invalid.ts';
import { NameTable } from './name-table.ts';
import { rangeOf } from './range.ts';

/** One of the entries of a range. */
interface Place {
  range: CheckedRange;
  row: number;
}

/** What checked ranges have in one directory, with the numbers that a `Directory` has. */
export class AddedEntries extends NameTable<Place> {
  /** What they are charged, in bytes. */
  cost = 0;
  readonly #dir: number;
  readonly #ranges: ReadonlyMap<number, CheckedRange>;

  constructor(dir: number, ranges: ReadonlyMap<number, CheckedRange>) {
    super();
    this.#dir = dir;
    this.#ranges = ranges;
  }

  nameAt(row: number): string {
    const { range, row: own } = this.#placeAt(row);
    return range.entries.names.at(own);
  }

  protected override isNamed(row: number, { range, row: other }: Place): boolean {
    const place = this.#placeAt(row);
    return place.range.entries.names.isSame(place.row, range.entries.names, other);
  }

  #placeAt(row: number): Place {
    const ino = Math.abs(this.numberAt(row));
    const range = this.#ranges.get(rangeOf(ino))!;
    const { dir, cookie } = range.entries;
    let own = firstRowOf(range.entries.ino, ino);
    while (dir[own] !== this.#dir || cookie[own] !== this.cookieAt(row)) own++;
    return { range, row: own };
  }
}

/** What ranges have in each directory. @throws TypeError for a name or a cookie that is there twice. */
export function addedEntries(ranges: ReadonlyMap<number, CheckedRange>): Map<number, AddedEntries> {
  const all = new Map<number, AddedEntries>();
  const counts = countEntries(ranges);
  let dir = -1;
  let added!: AddedEntries;
  for (const range of ranges.values()) {
    const { entries } = range;
    for (let row = 0; row < entries.ino.length; row++) {
      if (entries.dir[row] !== dir) {
        dir = entries.dir[row]!;
        added = all.get(dir) ?? new AddedEntries(dir, ranges);
        if (!added.length) added.reserve(counts.get(dir)!);
        all.set(dir, added);
      }
      const hash = entries.names.hashAt(row);
      if (added.find(hash, { range, row }) >= 0)
        fail(`directory ${dir} has an entry twice, ${JSON.stringify(entries.names.at(row))}`);
      const ino = entries.ino[row]!;
      added.put(entries.ino[row - 1] === ino ? -ino : ino, entries.cookie[row]!, hash);
      added.cost += entries.costs[row]!;
    }
  }
  for (const [dir, each] of all) {
    const double = each.order();
    if (double !== undefined) fail(`an entry of directory ${dir} has the invalid cookie ${double}`);
  }
  return all;
}

/** How many entries each directory has. */
function countEntries(ranges: ReadonlyMap<number, CheckedRange>): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { entries } of ranges.values()) {
    for (let row = 0; row < entries.dir.length; ) {
      const dir = entries.dir[row]!;
      const first = row;
      while (entries.dir[row] === dir) row++;
      counts.set(dir, (counts.get(dir) ?? 0) + row - first);
    }
  }
  return counts;
}

/** The first row of an inode in a column of their numbers, which grow; -1 when it has none. */
export function firstRowOf(column: Uint32Array, ino: number): number {
  let low = 0;
  let high = column.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (column[middle]! < ino) low = middle + 1;
    else high = middle;
  }
  return column[low] === ino ? low : -1;
}
