import { copyOf, PAGE_SIZE } from '../../bytes.ts';
import { NAME_MAX, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import { FIRST_COOKIE, MAX_COOKIE } from '../../fs/cookies.ts';
import { FsError } from '../../fs/errno.ts';
import { decodeName, isEntryName, nameLength } from '../../fs/names.ts';
import { AbsentBytes } from '../../fs/origin.ts';
import { ACL_ACCESS, ACL_DEFAULT, Acl } from './acl.ts';
import { countBits, PAGES_PER_CHUNK } from './chunk.ts';
import { fail, list, record } from './invalid.ts';
import { RANGE } from './range.ts';
import { type Base, withDifference } from './range-difference.ts';
import { ATIME, BTIME, CTIME, HIGH, MODE, MTIME, timeIn, WORDS } from './record.ts';
import { entryCost, inodeCost, linksCost, plainEntryCost, type Usage, xattrCost, xattrsCost } from './space.ts';
import type { RangeState } from './state.ts';
import { Texts } from './texts.ts';
import { checkNode, checkSize, checkTime, checkXattr, checkXattrList, LINK_MAX, MAX_FILE_SIZE } from './values.ts';

/** A range that is sound as far as it can be told from itself, with its columns as numbers and strings. */
export interface CheckedRange {
  /** Where it is a difference, that. */
  readonly source: RangeState;
  readonly index: number;
  /** Records: see record.ts. Borrowed from the source where they can be. */
  readonly words: Int32Array;
  /** With what each is charged. */
  readonly entries: { ino: Uint32Array; dir: Uint32Array; cookie: Uint32Array; names: Texts; costs: Uint16Array };
  readonly directories: { ino: Uint32Array; nextCookie: Uint32Array };
  readonly files: { ino: Uint32Array; size: Float64Array; chunks: Uint32Array };
  readonly chunks: { index: Float64Array; map: Uint32Array; bytes: readonly (Uint8Array | AbsentBytes)[] };
  readonly symlinks: { ino: Uint32Array; targets: readonly string[] };
  readonly xattrs: { ino: Uint32Array; names: readonly string[]; values: readonly Uint8Array[] };
  readonly special: { ino: Uint32Array; generation: Uint32Array; rdev: Uint32Array; linkable: Uint32Array };
  /** What it will be charged. */
  readonly usage: Usage;
}

const TIMES = [
  ['atime', ATIME, 0],
  ['mtime', MTIME, 8],
  ['ctime', CTIME, 16],
  ['btime', BTIME, 24],
] as const;

/**
 * Finds a range sound in itself, where content may be elsewhere if `hasOrigin`. `base`: what the image has that it may be a difference from.
 *
 * @throws TypeError that says what is wrong with it.
 */
export function checkRange(state: unknown, nextIno: number, hasOrigin: boolean, base?: Base): CheckedRange {
  const source = record(state, 'ranges') as unknown as RangeState;
  const { index } = source;
  if (!Number.isInteger(index) || index < 0 || index * RANGE >= nextIno) fail(`range ${index} is out of range`);
  const whole = source.changed ? withDifference(base?.get(index), source) : source;
  const entries = group(whole, 'entries');
  const directories = group(whole, 'directories');
  const files = group(whole, 'files');
  const chunks = group(whole, 'chunks');
  const symlinks = group(whole, 'symlinks');
  const xattrs = group(whole, 'xattrs');
  const special = group(whole, 'special');
  const named = u32Column(entries, 'entries.ino');
  const range: CheckedRange = {
    source,
    index,
    words: wordColumn(whole.inodes),
    entries: {
      ino: named,
      dir: u32Column(entries, 'entries.dir'),
      cookie: u32Column(entries, 'entries.cookie'),
      names: new Texts(byteColumn(entries, 'entries.names'), named.length),
      costs: new Uint16Array(named.length),
    },
    directories: {
      ino: u32Column(directories, 'directories.ino'),
      nextCookie: u32Column(directories, 'directories.nextCookie'),
    },
    files: {
      ino: u32Column(files, 'files.ino'),
      size: f64Column(files, 'files.size'),
      chunks: u32Column(files, 'files.chunks'),
    },
    chunks: {
      index: f64Column(chunks, 'chunks.index'),
      map: u32Column(chunks, 'chunks.map'),
      bytes: list(chunks['bytes'] ?? [], 'chunks.bytes'),
    },
    symlinks: { ino: u32Column(symlinks, 'symlinks.ino'), targets: textColumn(symlinks, 'symlinks.targets') },
    xattrs: {
      ino: u32Column(xattrs, 'xattrs.ino'),
      names: textColumn(xattrs, 'xattrs.names'),
      values: list(xattrs['values'] ?? [], 'xattrs.values'),
    },
    special: {
      ino: u32Column(special, 'special.ino'),
      generation: u32Column(special, 'special.generation'),
      rdev: u32Column(special, 'special.rdev'),
      linkable: u32Column(special, 'special.linkable'),
    },
    usage: { pages: 0, metadata: 0, inodes: 0 },
  };
  for (const name of ['entries', 'directories', 'files', 'chunks', 'symlinks', 'xattrs', 'special'] as const) {
    const columns = Object.values(range[name]) as { length: number }[];
    if (columns.some(({ length }) => length !== columns[0]!.length)) fail(`the columns of ${name} differ in length`);
  }
  checkInodes(range, nextIno);
  checkEntries(range);
  checkDirectories(range);
  checkFiles(range, hasOrigin);
  checkSymlinks(range);
  checkXattrs(range);
  return range;
}

/** Where the record of an inode is in the words of its range; -1 when there is none. */
export function recordAt({ words }: CheckedRange, ino: number): number {
  let low = 0;
  let high = words.length / WORDS;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (words[middle * WORDS]! < ino) low = middle + 1;
    else high = middle;
  }
  return words[low * WORDS] === ino ? low * WORDS : -1;
}

function checkInodes({ index, words, special, usage }: CheckedRange, nextIno: number): void {
  let last = Math.max(0, index * RANGE - 1);
  let lastMode: number | undefined;
  for (let at = 0; at < words.length; at += WORDS) {
    const ino = words[at]!;
    if (ino <= last || ino >= Math.min(nextIno, (index + 1) * RANGE))
      fail(`inode number ${ino} ${ino === last ? 'occurs twice' : 'is out of range, or of order'}`);
    last = ino;
    const mode = words[at + MODE]!;
    if (mode !== lastMode)
      judge(
        () => checkNode(mode, 0, (mode & S_IFMT) === S_IFLNK ? '.' : undefined),
        () => `inode ${ino} has the invalid mode 0${mode.toString(8)}`,
      );
    lastMode = mode;
    for (const [name, word, shift] of TIMES) {
      const rest = words[at + word + 1]!;
      const high = words[at + HIGH]! >> shift;
      // Most are in the years that need no more bits.
      if ((high & 0xff) === 0 && rest >>> 2 <= 999_999_999) continue;
      const time = timeIn(words[at + word]!, rest, high);
      judge(
        () => checkTime(time) === time || fail(`${name} of inode ${ino} is out of range`),
        () => `${name} of inode ${ino} is invalid`,
      );
    }
    usage.metadata += inodeCost(mode, undefined);
    usage.inodes++;
  }
  if (usage.inodes === 0) fail(`range ${index} has no inodes`);
  checkOrder(words, special.ino, 'special');
}

function checkEntries(range: CheckedRange): void {
  const { words, entries, usage } = range;
  checkOrder(words, entries.ino, 'entries', true);
  let count = 0;
  const { names } = entries;
  for (let row = 0; row < names.length; row++) {
    const ino = entries.ino[row]!;
    const dir = entries.dir[row]!;
    const cookie = entries.cookie[row]!;
    const length = names.lengthAt(row);
    const isPlain = length > 2 && length <= NAME_MAX && names.isPlain(row);
    const name = isPlain ? '' : names.at(row);
    if (!isPlain && !isEntryName(name)) fail(`directory ${dir} has an entry with a bad name, ${JSON.stringify(name)}`);
    if (cookie < FIRST_COOKIE || cookie >= MAX_COOKIE)
      fail(`entry ${JSON.stringify(names.at(row))} of directory ${dir} has the invalid cookie ${cookie}`);
    const isFirst = row === 0 || entries.ino[row - 1] !== ino;
    count = isFirst ? 1 : count + 1;
    if (ino === 1) fail('the root has a name');
    if (!isFirst) {
      if ((words[recordAt(range, ino) + MODE]! & S_IFMT) === S_IFDIR) fail(`directory ${ino} has two names`);
      if ((entries.dir[row - 1]! - dir || entries.cookie[row - 1]! - cookie) >= 0)
        fail(`the names of inode ${ino} are out of order`);
      if (count > LINK_MAX) fail(`inode ${ino} has more than ${LINK_MAX} names`);
    }
    const cost = (entries.costs[row] = isPlain ? plainEntryCost(length) : entryCost(name));
    usage.metadata += cost + linksCost(count) - linksCost(count - 1);
  }
}

function checkDirectories({ words, directories }: CheckedRange): void {
  checkOrder(words, directories.ino, 'directories', false, S_IFDIR);
  checkCount(words, directories.ino, S_IFDIR, 'directories have no cookie');
  directories.nextCookie.forEach((nextCookie, row) => {
    if (nextCookie < FIRST_COOKIE || nextCookie > MAX_COOKIE)
      fail(`directory ${directories.ino[row]} has the invalid nextCookie ${nextCookie}`);
  });
}

function checkFiles({ words, files, chunks, usage }: CheckedRange, hasOrigin: boolean): void {
  checkOrder(words, files.ino, 'files', false, S_IFREG);
  let row = 0;
  for (let at = 0; at < files.ino.length; at++) {
    const ino = files.ino[at]!;
    const size = files.size[at]!;
    judge(
      () => checkSize(size),
      () => `file ${ino} has the invalid size ${size}`,
    );
    const end = row + files.chunks[at]!;
    if (end > chunks.bytes.length) fail(`file ${ino} claims more chunks than there are`);
    let next = 0;
    for (; row < end; row++) {
      const index = chunks.index[row]!;
      const map = chunks.map[row]!;
      const bytes = chunks.bytes[row] as unknown;
      const page = index * PAGES_PER_CHUNK;
      if (!Number.isInteger(page) || page < next || page >= MAX_FILE_SIZE / PAGE_SIZE)
        fail(`file ${ino} has a chunk with the invalid index ${index}`);
      next = page + 32 - Math.clz32(map);
      const isContent = bytes instanceof Uint8Array || bytes instanceof AbsentBytes;
      if (!(map > 0 && map <= 0xffff && isContent && bytes.length <= countBits(map) * PAGE_SIZE))
        fail(`chunk ${index} of file ${ino} is malformed`);
      if (bytes instanceof AbsentBytes && !hasOrigin)
        fail(`chunk ${index} of file ${ino} is elsewhere, and it does not say where`);
      usage.pages += countBits(map);
    }
  }
  if (row !== chunks.bytes.length) fail('some chunks belong to no file');
}

function checkSymlinks({ words, symlinks, usage }: CheckedRange): void {
  checkOrder(words, symlinks.ino, 'symlinks', false, S_IFLNK);
  checkCount(words, symlinks.ino, S_IFLNK, 'symbolic links have no target');
  symlinks.targets.forEach((target, row) => {
    judge(
      () => checkNode(S_IFLNK, 0, target),
      () => `the target of symbolic link ${symlinks.ino[row]} is invalid`,
    );
    usage.metadata += inodeCost(S_IFLNK, target) - inodeCost(S_IFLNK, undefined);
  });
}

function checkXattrs(range: CheckedRange): void {
  const { words, xattrs, usage } = range;
  checkOrder(words, xattrs.ino, 'xattrs', true);
  for (let row = 0; row < xattrs.ino.length; ) {
    const ino = xattrs.ino[row]!;
    const mode = words[recordAt(range, ino) + MODE]!;
    const names = new Set<string>();
    let cost = 0;
    let length = 0;
    for (; xattrs.ino[row] === ino; row++) {
      const name = xattrs.names[row]!;
      const value = xattrs.values[row] as unknown;
      const what = () => `inode ${ino} has a malformed attribute ${JSON.stringify(name)}`;
      if (!(value instanceof Uint8Array) || names.has(name)) fail(what());
      judge(() => checkXattr(mode, name, value as Uint8Array), what);
      if ((name === ACL_ACCESS || name === ACL_DEFAULT) && Acl.decode(value as Uint8Array).isEmpty) fail(what());
      names.add(name);
      length += nameLength(name) + 1;
      judge(
        () => checkXattrList(length),
        () => `inode ${ino} has too many attributes`,
      );
      cost += xattrCost(name, value as Uint8Array);
    }
    usage.metadata += xattrsCost(cost);
  }
}

/** Rows belong to inodes that are there, of a type if one is given, by growing number: one row each unless `mayRepeat`. */
function checkOrder(words: Int32Array, column: Uint32Array, what: string, mayRepeat = false, type?: number): void {
  let at = 0;
  let last = -1;
  for (const ino of column) {
    if (ino === last && !mayRepeat) fail(`inode ${ino} occurs twice in ${what}`);
    while (at < words.length && words[at]! < ino) at += WORDS;
    if (ino < last || words[at] !== ino) fail(`${what} have inode ${ino} out of order, or it does not exist`);
    if (type !== undefined && (words[at + MODE]! & S_IFMT) !== type) fail(`inode ${ino} is not one of ${what}`);
    last = ino;
  }
}

function checkCount(words: Int32Array, column: Uint32Array, type: number, what: string): void {
  let count = 0;
  for (let at = MODE; at < words.length; at += WORDS) if ((words[at]! & S_IFMT) === type) count++;
  if (count !== column.length) fail(`some ${what}`);
}

/** Turns what a check says of a value into what is wrong with the state. */
function judge(check: () => void, what: () => string): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    fail(what());
  }
}

function group(source: RangeState, name: keyof RangeState): Record<string, unknown> {
  return source[name] === undefined ? {} : record(source[name], name);
}

/** Memory that is aligned for numbers: that of the bytes, or a copy. */
function column(bytes: unknown, what: string, width: number): [ArrayBuffer, number, number] {
  if (!(bytes instanceof Uint8Array) || bytes.length % width) fail(`${what} is not a column of numbers`);
  const own = (bytes as Uint8Array).byteOffset % 8 ? copyOf(bytes as Uint8Array) : (bytes as Uint8Array);
  return [own.buffer as ArrayBuffer, own.byteOffset, own.length];
}

function bytesAt(source: Record<string, unknown>, path: string): unknown {
  return source[path.slice(path.indexOf('.') + 1)] ?? new Uint8Array(0);
}

function wordColumn(bytes: unknown): Int32Array {
  const [buffer, offset, length] = column(bytes, 'inodes', 4 * WORDS);
  return new Int32Array(buffer, offset, length / 4);
}

export function u32Column(source: Record<string, unknown>, path: string): Uint32Array {
  const [buffer, offset, length] = column(bytesAt(source, path), path, 4);
  return new Uint32Array(buffer, offset, length / 4);
}

export function f64Column(source: Record<string, unknown>, path: string): Float64Array {
  const [buffer, offset, length] = column(bytesAt(source, path), path, 8);
  return new Float64Array(buffer, offset, length / 8);
}

function byteColumn(source: Record<string, unknown>, path: string): Uint8Array {
  const bytes = bytesAt(source, path);
  if (!(bytes instanceof Uint8Array) || (bytes.length > 0 && bytes.at(-1) !== 0))
    fail(`${path} is not a column of texts`);
  return bytes as Uint8Array;
}

function textColumn(source: Record<string, unknown>, path: string): string[] {
  const bytes = byteColumn(source, path);
  const texts: string[] = [];
  for (let from = 0; from < bytes.length; ) {
    const to = bytes.indexOf(0, from);
    texts.push(decodeName(bytes.subarray(from, to)));
    from = to + 1;
  }
  return texts;
}
