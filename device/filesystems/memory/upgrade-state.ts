import { FsError } from '../../fs/errno.ts';
import { isEntryName } from '../../fs/names.ts';
import { f64Column, u32Column } from './check-range.ts';
import { fail, list, record } from './invalid.ts';
import { rangeOf } from './range.ts';
import { recordOf, WORDS } from './record.ts';
import { makeRange, type RangeLists } from './state.ts';
import { checkTime } from './values.ts';

const U32 = ['ino', 'generation', 'mode', 'uid', 'gid', 'rdev', 'linkable'] as const;
const TIMES = ['atime', 'mtime', 'ctime', 'btime'] as const;
const NSEC = ['atimeNsec', 'mtimeNsec', 'ctimeNsec', 'btimeNsec'] as const;

type Source = Record<string, unknown>;

/** A range that is being made: its rows come in any order. */
interface Draft extends Omit<RangeLists, 'files' | 'chunks'> {
  records: Int32Array[];
  files: { ino: number; size: number; chunks: { index: number; map: number; bytes: Uint8Array }[] }[];
}

/**
 * Makes ranges of the columns of schema versions 1 and 2, in which all inodes were in one list. What is wrong with them is found by the
 * checks that follow, as far as ranges can say it.
 *
 * @throws TypeError for the rest.
 */
export function upgradeToRanges(state: Source): void {
  const drafts = new Map<number, Draft>();
  const draftOf = (ino: number): Draft => {
    const index = rangeOf(ino);
    let draft = drafts.get(index);
    if (!draft) drafts.set(index, (draft = emptyDraft()));
    return draft;
  };
  const group = (name: string) => record(state[name], name);
  takeInodes(group('inodes'), draftOf);
  takeEntries(group('directories'), group('entries'), draftOf);
  takeFiles(group('files'), group('chunks'), draftOf);
  for (const row of list(state['symlinks'], 'symlinks')) {
    const { ino, target } = record(row, 'symlinks');
    const { symlinks } = draftOf(Number(ino));
    symlinks.ino.push(Number(ino));
    symlinks.targets.push(text(target));
  }
  for (const row of list(state['xattrs'], 'xattrs')) {
    const { ino, name, value } = record(row, 'xattrs');
    const { xattrs } = draftOf(Number(ino));
    xattrs.ino.push(Number(ino));
    xattrs.names.push(text(name));
    xattrs.values.push(value as Uint8Array);
  }
  for (const name of ['inodes', 'directories', 'entries', 'files', 'chunks', 'symlinks', 'xattrs']) delete state[name];
  state['ranges'] = [...drafts].sort(([a], [b]) => a - b).map(([index, draft]) => rangeFrom(index, draft));
}

function emptyDraft(): Draft {
  return {
    records: [],
    entries: { ino: [], dir: [], cookie: [], names: [] },
    directories: { ino: [], nextCookie: [] },
    files: [],
    symlinks: { ino: [], targets: [] },
    xattrs: { ino: [], names: [], values: [] },
    special: { ino: [], generation: [], rdev: [], linkable: [] },
  };
}

function takeInodes(inodes: Source, draftOf: (ino: number) => Draft): void {
  const u32 = Object.fromEntries(U32.map((name) => [name, u32Column(inodes, `inodes.${name}`)])) as Record<
    (typeof U32)[number],
    Uint32Array
  >;
  const times = TIMES.map((name, n) => ({
    sec: f64Column(inodes, `inodes.${name}`),
    nsec: u32Column(inodes, `inodes.${NSEC[n]}`),
  }));
  sameLength('inodes', [...Object.values(u32), ...times.flatMap(({ sec, nsec }) => [sec, nsec])]);
  u32.ino.forEach((ino, row) => {
    const { records, special } = draftOf(ino);
    const [atime, mtime, ctime, btime] = times.map(({ sec, nsec }) =>
      timeFrom(sec[row]!, nsec[row]!, `a time of inode ${ino} is invalid`),
    );
    records.push(
      recordOf({
        ino,
        mode: u32.mode[row]!,
        uid: u32.uid[row]!,
        gid: u32.gid[row]!,
        atime: atime!,
        mtime: mtime!,
        ctime: ctime!,
        btime: btime!,
      }),
    );
    const generation = u32.generation[row]!;
    const rdev = u32.rdev[row]!;
    const linkable = u32.linkable[row]!;
    if (generation === 1 && !rdev && linkable !== 1) return;
    special.ino.push(ino);
    special.generation.push(generation);
    special.rdev.push(rdev);
    special.linkable.push(linkable === 1 ? 1 : 0);
  });
}

function takeEntries(directories: Source, entries: Source, draftOf: (ino: number) => Draft): void {
  const names = list<string>(entries['names'], 'entries.names');
  const ino = u32Column(entries, 'entries.ino');
  const cookie = u32Column(entries, 'entries.cookie');
  const dirs = u32Column(directories, 'directories.ino');
  const nextCookie = u32Column(directories, 'directories.nextCookie');
  const counts = u32Column(directories, 'directories.entries');
  sameLength('entries', [names, ino, cookie]);
  sameLength('directories', [dirs, nextCookie, counts]);
  let row = 0;
  dirs.forEach((dir, at) => {
    const draft = draftOf(dir).directories;
    draft.ino.push(dir);
    draft.nextCookie.push(nextCookie[at]!);
    const end = row + counts[at]!;
    if (end > names.length) fail(`directory ${dir} claims more entries than there are`);
    for (; row < end; row++) {
      const name = names[row]!;
      if (typeof name !== 'string' || !isEntryName(name))
        fail(`directory ${dir} has an entry with a bad name, ${JSON.stringify(name)}`);
      const own = draftOf(ino[row]!).entries;
      own.ino.push(ino[row]!);
      own.dir.push(dir);
      own.cookie.push(cookie[row]!);
      own.names.push(name);
    }
  });
  if (row !== names.length) fail('some entries belong to no directory');
}

function takeFiles(files: Source, chunks: Source, draftOf: (ino: number) => Draft): void {
  const inos = u32Column(files, 'files.ino');
  const sizes = f64Column(files, 'files.size');
  const counts = u32Column(files, 'files.chunks');
  const index = f64Column(chunks, 'chunks.index');
  const map = u32Column(chunks, 'chunks.map');
  const bytes = list<Uint8Array>(chunks['bytes'], 'chunks.bytes');
  sameLength('files', [inos, sizes, counts]);
  sameLength('chunks', [index, map, bytes]);
  const seen = new Set<number>();
  let row = 0;
  inos.forEach((ino, at) => {
    if (seen.has(ino)) fail(`file ${ino} occurs twice`);
    seen.add(ino);
    const own: Draft['files'][number]['chunks'] = [];
    const end = row + counts[at]!;
    if (end > bytes.length) fail(`file ${ino} claims more chunks than there are`);
    for (; row < end; row++) own.push({ index: index[row]!, map: map[row]!, bytes: bytes[row]! });
    if (sizes[at] || own.length) draftOf(ino).files.push({ ino, size: sizes[at]!, chunks: own });
  });
  if (row !== bytes.length) fail('some chunks belong to no file');
}

/** With its rows in order. */
function rangeFrom(index: number, draft: Draft): ReturnType<typeof makeRange> {
  draft.records.sort((a, b) => a[0]! - b[0]!);
  const words = new Int32Array(draft.records.length * WORDS);
  draft.records.forEach((own, row) => words.set(own, row * WORDS));
  const { entries } = draft;
  const files = draft.files.sort((a, b) => a.ino - b.ino);
  const chunks = files.flatMap((file) => file.chunks);
  return makeRange(index, new Uint8Array(words.buffer), {
    entries: sorted(
      entries,
      (a, b) =>
        entries.ino[a]! - entries.ino[b]! ||
        entries.dir[a]! - entries.dir[b]! ||
        entries.cookie[a]! - entries.cookie[b]!,
    ),
    directories: sorted(draft.directories),
    files: {
      ino: files.map(({ ino }) => ino),
      size: files.map(({ size }) => size),
      chunks: files.map((file) => file.chunks.length),
    },
    chunks: {
      index: chunks.map((chunk) => chunk.index),
      map: chunks.map(({ map }) => map),
      bytes: chunks.map(({ bytes }) => bytes),
    },
    symlinks: sorted(draft.symlinks),
    xattrs: sorted(draft.xattrs),
    special: sorted(draft.special),
  });
}

/** Columns by growing inode number, or as `compare` says of two rows. */
function sorted<T extends { ino: number[] }>(
  columns: T,
  compare = (a: number, b: number) => columns.ino[a]! - columns.ino[b]!,
): T {
  const rows = Array.from(columns.ino, (_, row) => row).sort(compare);
  return Object.fromEntries(
    Object.entries(columns as Record<string, unknown[]>).map(([name, column]) => [
      name,
      rows.map((row) => column[row]),
    ]),
  ) as T;
}

function timeFrom(sec: number, nsec: number, what: string): ReturnType<typeof checkTime> {
  try {
    return checkTime({ sec, nsec });
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    return fail(what);
  }
}

function text(value: unknown): string {
  if (typeof value !== 'string' || value.includes('\0'))
    fail('where it should have a text it has something else, or a text with a NUL');
  return value as string;
}

function sameLength(what: string, columns: { length: number }[]): void {
  if (columns.some(({ length }) => length !== columns[0]!.length)) fail(`the columns of ${what} differ in length`);
}
