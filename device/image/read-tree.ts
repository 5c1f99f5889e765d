import { rangeOf } from '../filesystems/memory/range.ts';
import { recordOf, WORDS } from '../filesystems/memory/record.ts';
import { makeRange, type RangeLists, type RangeState } from '../filesystems/memory/state.ts';
import { S_IFDIR, S_IFMT } from '../fs/constants.ts';
import { FIRST_COOKIE } from '../fs/cookies.ts';
import { decodeName } from '../fs/names.ts';
import type { AbsentBytes } from '../fs/origin.ts';
import { decodeFields } from '../snapshot/fields.ts';
import { refusal, unpackU32, unpackU53 } from './columns.ts';

/** The bounds of the seconds that inodes can have, in 2^32 s. */
const ERAS = 512;

/** What the tree of an image says, for {@link MemoryState}. */
export interface DecodedTree {
  nextIno: number;
  ranges: RangeState[];
}

export interface TreeLimits {
  inodes: number;
  /** Pieces of files. */
  chunks: number;
}

type Columns = Record<string, unknown>;

interface Draft extends RangeLists {
  records: Int32Array[];
}

/**
 * Reads what {@link encodeTree} made. `chunkAt` gives what stands for the content of the n-th chunk of the image, or undefined.
 * What is wrong with the tree that only shows when it is whole is for `checkState` of the filesystem to find.
 *
 * @throws SnapshotError for the rest, and for more than the limits, before memory is taken for it.
 */
export function decodeTree(
  bytes: Uint8Array,
  chunkAt: (n: number) => AbsentBytes | undefined,
  limits: TreeLimits,
): DecodedTree {
  const tree = decodeFields(bytes) as Columns;
  const drafts: Draft[] = [];
  const count = takeInodes(group(tree, 'inodes'), drafts, limits);
  const draftOf = (ino: number): Draft => {
    if (ino < 1 || ino > count) throw refusal(`it speaks of an inode ${ino} that is not there`);
    return drafts[rangeOf(ino)]!;
  };
  takeEntries(tree, count, draftOf);
  takeFiles(tree, draftOf, chunkAt, limits);
  takeRest(tree, draftOf);
  return {
    nextIno: count + 1,
    ranges: drafts.map((draft, index) => {
      const inodes = new Int32Array(draft.records.length * WORDS);
      draft.records.forEach((record, row) => inodes.set(record, row * WORDS));
      return makeRange(index, new Uint8Array(inodes.buffer), draft);
    }),
  };
}

function takeInodes(columns: Columns, drafts: Draft[], limits: TreeLimits): number {
  const all = (name: string) => unpackU32(columns[name], `inodes.${name}`);
  const { length } = (columns['mode'] ?? []) as Uint8Array;
  const count = length / 4;
  if (count > limits.inodes)
    throw refusal(
      `it has ${count} files and directories, and there is room for ${limits.inodes}: make the filesystem with more \`inodes\``,
    );
  const [mode, uid, gid, sec, era, nsec] = [all('mode'), all('uid'), all('gid'), all('sec'), all('era'), all('nsec')];
  sameLength('inodes', [mode, uid, gid, sec, era, nsec]);
  for (let row = 0; row < count; row++) {
    const ino = row + 1;
    const upper = era[row]! | 0;
    if (upper < -ERAS || upper >= ERAS) throw refusal(`the time of inode ${ino} is out of range`);
    const mtime = { sec: sec[row]! + upper * 2 ** 32, nsec: nsec[row]! };
    if (mtime.nsec > 999_999_999) throw refusal(`the time of inode ${ino} has too many nanoseconds`);
    const draft = (drafts[rangeOf(ino)] ??= emptyDraft());
    draft.records.push(
      recordOf({
        ino,
        mode: mode[row]!,
        uid: uid[row]!,
        gid: gid[row]!,
        atime: mtime,
        mtime,
        ctime: mtime,
        btime: mtime,
      }),
    );
    if ((mode[row]! & S_IFMT) === S_IFDIR) {
      draft.directories.ino.push(ino);
      draft.directories.nextCookie.push(FIRST_COOKIE);
    }
  }
  return count;
}

interface Name {
  dir: number;
  cookie: number;
  name: string;
}

function takeEntries(tree: Columns, count: number, draftOf: (ino: number) => Draft): void {
  const entries = readEntries(group(tree, 'entries'), 'entries');
  if (entries.length !== Math.max(0, count - 1)) throw refusal('not each of its inodes has a name');
  const links = group(tree, 'links');
  const inos = unpackU32(links['ino'], 'links.ino');
  const further = readEntries(links, 'links');
  sameLength('links', [inos, further]);
  const several = new Map<number, Name[]>();
  further.forEach((entry, row) => {
    const ino = inos[row]!;
    if (ino < 2 || ino > count) throw refusal(`it has a name for an inode ${ino} that is not there`);
    const names = several.get(ino);
    if (names) names.push(entry);
    else several.set(ino, [entries[ino - 2]!, entry]);
  });
  const nextCookies = new Map<number, number>();
  for (const [row, entry] of entries.entries()) {
    const ino = row + 2;
    const names = several.get(ino)?.sort((a, b) => a.dir - b.dir || a.cookie - b.cookie) ?? [entry];
    const draft = draftOf(ino).entries;
    for (const { dir, cookie, name } of names) {
      draft.ino.push(ino);
      draft.dir.push(dir);
      draft.cookie.push(cookie);
      draft.names.push(name);
      nextCookies.set(dir, Math.max(nextCookies.get(dir) ?? 0, cookie + 1));
    }
  }
  for (const [dir, nextCookie] of nextCookies) {
    const { ino, nextCookie: all } = draftOf(dir).directories;
    const row = ino.indexOf(dir);
    if (row < 0) throw refusal(`something is in inode ${dir}, which is no directory`);
    all[row] = nextCookie;
  }
}

function readEntries(columns: Columns, what: string): Name[] {
  const dir = unpackU32(columns['dir'], `${what}.dir`);
  const cookie = unpackU32(columns['cookie'], `${what}.cookie`);
  const names = texts(columns['names'], `${what}.names`);
  sameLength(what, [dir, cookie, names]);
  return names.map((name, row) => ({ dir: dir[row]!, cookie: cookie[row]!, name }));
}

function takeFiles(
  tree: Columns,
  draftOf: (ino: number) => Draft,
  chunkAt: (n: number) => AbsentBytes | undefined,
  limits: TreeLimits,
): void {
  const files = group(tree, 'files');
  const ino = unpackU32(files['ino'], 'files.ino');
  const size = unpackU53(files['size'], 'files.size');
  const counts = unpackU32(files['chunks'], 'files.chunks');
  sameLength('files', [ino, size, counts]);
  const chunks = group(tree, 'chunks');
  const { length } = (chunks['map'] ?? []) as Uint8Array;
  if (length / 4 > limits.chunks)
    throw refusal(`its files have ${length / 4} pieces, and there is room for ${limits.chunks}`);
  const index = unpackU53(chunks['index'], 'chunks.index');
  const map = unpackU32(chunks['map'], 'chunks.map');
  const chunk = unpackU32(chunks['chunk'], 'chunks.chunk');
  sameLength('chunks', [index, map, chunk]);
  let row = 0;
  for (let at = 0; at < ino.length; at++) {
    const draft = draftOf(ino[at]!);
    draft.files.ino.push(ino[at]!);
    draft.files.size.push(size[at]!);
    draft.files.chunks.push(counts[at]!);
    const end = row + counts[at]!;
    if (end > chunk.length) throw refusal(`file ${ino[at]} has more chunks than there are`);
    for (; row < end; row++) {
      const bytes = chunkAt(chunk[row]!);
      if (!bytes) throw refusal(`file ${ino[at]} has a chunk ${chunk[row]} that is not there`);
      draft.chunks.index.push(index[row]!);
      draft.chunks.map.push(map[row]!);
      draft.chunks.bytes.push(bytes);
    }
  }
  if (row !== chunk.length) throw refusal('some chunks belong to no file');
}

function takeRest(tree: Columns, draftOf: (ino: number) => Draft): void {
  const symlinks = group(tree, 'symlinks');
  const targets = texts(symlinks['targets'], 'symlinks.targets');
  const links = unpackU32(symlinks['ino'], 'symlinks.ino');
  sameLength('symlinks', [links, targets]);
  links.forEach((ino, row) => {
    const draft = draftOf(ino).symlinks;
    draft.ino.push(ino);
    draft.targets.push(targets[row]!);
  });
  const xattrs = group(tree, 'xattrs');
  const names = texts(xattrs['names'], 'xattrs.names');
  const owners = unpackU32(xattrs['ino'], 'xattrs.ino');
  const lengths = unpackU32(xattrs['length'], 'xattrs.length');
  const values = bytesIn(xattrs['values'], 'xattrs.values');
  sameLength('xattrs', [owners, names, lengths]);
  let from = 0;
  owners.forEach((ino, row) => {
    const to = from + lengths[row]!;
    if (to > values.length) throw refusal('its attributes have more values than there are');
    const draft = draftOf(ino).xattrs;
    draft.ino.push(ino);
    draft.names.push(names[row]!);
    draft.values.push(values.subarray(from, to));
    from = to;
  });
  if (from !== values.length) throw refusal('some values belong to no attribute');
  const devices = group(tree, 'devices');
  const nodes = unpackU32(devices['ino'], 'devices.ino');
  const rdev = unpackU32(devices['rdev'], 'devices.rdev');
  sameLength('devices', [nodes, rdev]);
  nodes.forEach((ino, row) => {
    const { special } = draftOf(ino);
    special.ino.push(ino);
    special.generation.push(1);
    special.rdev.push(rdev[row]!);
    special.linkable.push(0);
  });
}

function emptyDraft(): Draft {
  return {
    records: [],
    entries: { ino: [], dir: [], cookie: [], names: [] },
    directories: { ino: [], nextCookie: [] },
    files: { ino: [], size: [], chunks: [] },
    chunks: { index: [], map: [], bytes: [] },
    symlinks: { ino: [], targets: [] },
    xattrs: { ino: [], names: [], values: [] },
    special: { ino: [], generation: [], rdev: [], linkable: [] },
  };
}

function group(tree: Columns | null, name: string): Columns {
  const columns = tree?.[name];
  if (typeof columns !== 'object' || columns === null) throw refusal(`it has no ${name}`);
  return columns as Columns;
}

function bytesIn(value: unknown, what: string): Uint8Array {
  if (!(value instanceof Uint8Array)) throw refusal(`${what} is not a column of bytes`);
  return value;
}

function texts(value: unknown, what: string): string[] {
  const bytes = bytesIn(value, what);
  if (bytes.length && bytes.at(-1) !== 0) throw refusal(`${what} is not a column of texts`);
  const found: string[] = [];
  for (let from = 0; from < bytes.length; ) {
    const to = bytes.indexOf(0, from);
    found.push(decodeName(bytes.subarray(from, to)));
    from = to + 1;
  }
  return found;
}

function sameLength(what: string, columns: readonly { length: number }[]): void {
  if (columns.some(({ length }) => length !== columns[0]!.length))
    throw refusal(`the columns of ${what} differ in length`);
}
