import { S_IFDIR, S_IFMT } from '../../fs/constants.ts';
import type { CheckedFiles } from '../../fs/persistence.ts';
import { type AddedEntries, addedEntries, firstRowOf } from './added-entries.ts';
import { type CheckedRange, checkRange, recordAt } from './check-range.ts';
import type { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import { fail, list, record } from './invalid.ts';
import { type Range, rangeOf } from './range.ts';
import { type Base, together } from './range-difference.ts';
import { MODE } from './record.ts';
import { entryCost, rangesCost, type Usage } from './space.ts';
import type { RangeState } from './state.ts';
import { MAX_INO } from './values.ts';

const ROOT = 1;

/** A state that was found sound. */
export interface CheckedState extends CheckedFiles {
  readonly uuid: string;
  readonly nextIno: number;
  /** Some of its content may be elsewhere. */
  readonly hasOrigin: boolean;
  /** Nothing that is here stays as it is. */
  readonly isAnew: boolean;
  /** All ranges, by index. */
  readonly sources: ReadonlyMap<number, RangeState>;
  /** Those of them that are not here already, as they were when this was checked. */
  readonly ranges: ReadonlyMap<number, CheckedRange>;
  /** What those have in each directory; of use once. */
  added: ReadonlyMap<number, AddedEntries> | undefined;
  /** What it will be charged. */
  readonly usage: Usage;
}

/**
 * Finds a state sound. Changes nothing. What is in `table` just so and was found sound before is not looked at again, so the work is as much
 * as is different: all of it, without a table.
 *
 * `base`: of the image that a difference is from. Default: that of the table.
 *
 * @throws TypeError that says what is wrong with it; RangeError when its content is on another image than that of `table`, or `base` is missing.
 */
export function checkState(state: unknown, table?: InodeTable, base = table?.base): CheckedState {
  const source = record(state, 'state');
  const { uuid, nextIno, origin, isDifference } = source as Record<string, unknown> & { nextIno: number };
  if (typeof uuid !== 'string' || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid))
    fail('its uuid is invalid');
  if (!Number.isInteger(nextIno) || nextIno < 2 || nextIno > MAX_INO + 1) fail(`nextIno ${nextIno} is out of range`);
  if (origin !== undefined && !(typeof origin === 'string' && /^[0-9a-f]{64}$/.test(origin)))
    fail('the id of its image is invalid');
  if (table) checkOrigin(origin as string | undefined, table.space.fetched?.origin.id);
  const listed = list<RangeState>(source['ranges'], 'ranges');
  const from = isDifference ? checkBase(origin as string | undefined, base) : undefined;
  const present = new Map<RangeState, Range>();
  for (const range of table?.ranges() ?? []) if (range.saved) present.set(range.saved, range);
  const sources = new Map<number, RangeState>();
  const ranges = new Map<number, CheckedRange>();
  const kept = new Map<number, Range>();
  let last = -1;
  for (const range of from ? together(listed, from) : listed) {
    const here = present.get(range);
    const checked = here?.isSound ? undefined : checkRange(range, nextIno, origin !== undefined, from);
    const index = checked?.index ?? here!.index;
    if (index <= last) fail(`range ${index} is out of order`);
    last = index;
    if (!checked && here!.last >= nextIno) fail(`range ${index} is out of range`);
    sources.set(index, range);
    if (checked) ranges.set(index, checked);
    else kept.set(index, here!);
  }
  const tree = new Tree(ranges, kept, table);
  if (tree.hasMoved()) return { ...checkState(source, undefined, base), isAnew: true };
  tree.check();
  for (const [source, range] of present) if (sources.get(range.index) === source) range.isSound = true;
  return {
    uuid: uuid as string,
    nextIno,
    hasOrigin: origin !== undefined,
    isAnew: false,
    sources,
    ranges,
    usage: tree.usage(),
    added: tree.added,
    inode: (ino) => tree.inode(ino),
  };
}

function checkOrigin(origin: string | undefined, here: string | undefined): void {
  if (origin === undefined || origin === here) return;
  throw new RangeError(
    `the files are those of image ${origin} and what was changed of them, and the filesystem here has ${here ? `image ${here}` : 'no image'}: attach that image`,
  );
}

function checkBase(origin: string | undefined, base: Base | undefined): Base {
  if (origin === undefined) fail('it is a difference, and does not say from what');
  if (base) return base;
  throw new RangeError(
    `the files are what was changed of image ${origin}, and what that has is not known here: attach that image`,
  );
}

/** The tree that checked ranges make together with those that are here and stay. */
class Tree {
  readonly #ranges: ReadonlyMap<number, CheckedRange>;
  readonly #kept: ReadonlyMap<number, Range>;
  readonly #table: InodeTable | undefined;
  /** What the checked ranges have in each directory. */
  added: ReadonlyMap<number, AddedEntries> = new Map();
  /** The directory that a directory of theirs is in. */
  readonly #parents = new Map<number, number>();
  readonly #nextCookies = new Map<number, number>();

  constructor(ranges: ReadonlyMap<number, CheckedRange>, kept: ReadonlyMap<number, Range>, table?: InodeTable) {
    this.#ranges = ranges;
    this.#kept = kept;
    this.#table = table;
  }

  inode(ino: number): { readonly generation: number } | undefined {
    const range = this.#ranges.get(rangeOf(ino));
    if (!range) return this.#keptInode(ino);
    if (recordAt(range, ino) < 0) return undefined;
    const row = range.special.ino.indexOf(ino);
    return { generation: row < 0 ? 1 : range.special.generation[row]! };
  }

  /** Whether a directory with names that stay is another one now: then there is nothing to build on. */
  hasMoved(): boolean {
    for (const dir of this.#replaced()) {
      if (!dir.directory || dir.generation === this.inode(dir.ino)?.generation) continue;
      for (const { inode } of dir.directory.entries()) if (this.#isKept(inode)) return true;
    }
    return false;
  }

  check(): void {
    if (!this.#isDirectory(ROOT)) fail('the root is missing, or not a directory');
    for (const range of this.#ranges.values()) {
      const { entries, directories } = range;
      directories.ino.forEach((ino, row) => {
        this.#nextCookies.set(ino, directories.nextCookie[row]!);
        const named = firstRowOf(entries.ino, ino);
        if (named >= 0) this.#parents.set(ino, entries.dir[named]!);
      });
    }
    this.added = addedEntries(this.#ranges);
    for (const [dir, added] of this.added) this.#checkAdded(dir, added);
    for (const dir of this.#replaced()) if (dir.directory) this.#checkStaying(dir);
    this.#checkReachable();
  }

  usage(): Usage {
    const usage = { pages: 0, metadata: 0, inodes: 0 };
    if (this.#table) {
      const { pages, metadata, inodes } = this.#table.space;
      Object.assign(usage, { pages, metadata, inodes });
      for (const { index } of this.#table.ranges()) if (!this.#kept.has(index)) usage.metadata -= rangesCost(1);
      for (const inode of this.#replaced()) {
        usage.pages -= inode.written?.pages ?? 0;
        usage.metadata -= inode.metadata - (inode.directory?.cost ?? 0);
        for (const { name } of inode.names()) usage.metadata -= entryCost(name);
        usage.inodes--;
      }
    }
    for (const range of this.#ranges.values()) {
      usage.metadata += rangesCost(1);
      usage.pages += range.usage.pages;
      usage.metadata += range.usage.metadata;
      usage.inodes += range.usage.inodes;
    }
    return usage;
  }

  /** The inodes that are here and don't stay as they are. */
  *#replaced(): Generator<Inode> {
    for (const range of this.#table?.ranges() ?? []) if (!this.#kept.has(range.index)) yield* range.inodes();
  }

  #isKept({ ino }: Inode): boolean {
    return this.#kept.has(rangeOf(ino));
  }

  #keptInode(ino: number): Inode | undefined {
    return this.#kept.get(rangeOf(ino))?.find(ino);
  }

  #isDirectory(ino: number): boolean {
    const range = this.#ranges.get(rangeOf(ino));
    if (!range) return this.#keptInode(ino)?.isDirectory ?? false;
    const at = recordAt(range, ino);
    return at >= 0 && (range.words[at + MODE]! & S_IFMT) === S_IFDIR;
  }

  #nextCookie(dir: number): number {
    return this.#nextCookies.get(dir) ?? this.#keptInode(dir)!.directory!.nextCookie;
  }

  #checkAdded(dir: number, added: AddedEntries): void {
    if (!this.#isDirectory(dir))
      fail(`${JSON.stringify(added.nameAt(added.rowAfter(0)))} is in directory ${dir}, which does not exist`);
    if (added.lastCookie >= this.#nextCookie(dir))
      fail(`an entry of directory ${dir} has the invalid cookie ${added.lastCookie}`);
    const here = this.#table?.inode(dir)?.directory;
    if (!here?.length) return;
    for (let row = added.rowAfter(0); row >= 0; row = added.rowAfter(added.cookieAt(row), row)) {
      const name = added.nameAt(row);
      const entry = here.get(name);
      if (entry && this.#isKept(entry.inode)) fail(`directory ${dir} has an entry twice, ${JSON.stringify(name)}`);
      const own = here.rowOfCookie(added.cookieAt(row));
      if (own >= 0 && this.#isKept(here.at(own).inode))
        fail(`an entry of directory ${dir} has the invalid cookie ${added.cookieAt(row)}`);
    }
  }

  /** Of a directory that has another record now: the names that stay in it. */
  #checkStaying({ ino, directory }: Inode): void {
    const nextCookie = this.#nextCookies.get(ino) ?? 0;
    if (nextCookie >= directory!.nextCookie) return;
    for (let row = directory!.rowAfter(nextCookie - 1); row >= 0; ) {
      const cookie = directory!.cookieAt(row);
      const { name, inode } = directory!.at(row);
      row = directory!.rowAfter(cookie, row);
      if (this.#isKept(inode))
        fail(
          `${JSON.stringify(name)} is in directory ${ino}, which does not exist, or has the invalid cookie ${cookie}`,
        );
    }
  }

  /** Every directory is below the root, or is empty and has no name. */
  #checkReachable(): void {
    const reached = new Set([ROOT]);
    for (const { directories } of this.#ranges.values()) {
      for (const dir of directories.ino) {
        if (dir !== ROOT && !this.#parents.has(dir)) {
          if (!this.#isEmpty(dir)) fail(`directory ${dir} was removed and is not empty`);
        } else this.#climb(dir, reached);
      }
    }
    for (const dir of this.added.keys()) if (!this.#nextCookies.has(dir)) this.#climb(dir, reached);
  }

  #climb(from: number, reached: Set<number>): void {
    const path = new Set<number>();
    for (let dir: number | undefined = from; !reached.has(dir); dir = this.#parentOf(dir)) {
      if (path.has(dir)) fail(`directory ${from} is not below the root`);
      path.add(dir);
    }
    for (const dir of path) reached.add(dir);
  }

  #parentOf(dir: number): number {
    const parent = this.#nextCookies.has(dir) ? this.#parents.get(dir) : this.#keptInode(dir)?.directory?.parent?.ino;
    return parent ?? fail(`directory ${dir} is not below the root`);
  }

  #isEmpty(dir: number): boolean {
    if (this.added.has(dir)) return false;
    for (const { inode } of this.#table?.inode(dir)?.directory?.entries() ?? []) if (this.#isKept(inode)) return false;
    return true;
  }
}
