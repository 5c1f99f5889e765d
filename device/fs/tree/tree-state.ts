import type { Timespec } from '../backend.ts';
import { PATH_MAX, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, XATTR_NAME_MAX, XATTR_SIZE_MAX } from '../constants.ts';
import { isFileName, nameLength } from '../names.ts';
import { CHUNK_SIZE, countBits } from './chunk.ts';
import { MAX_FILE_SIZE } from './content.ts';
import { Entry, FIRST_COOKIE } from './directory.ts';
import { Inode, symlinkPages } from './inode.ts';
import { PAGE_SIZE } from './space.ts';
import type { Tree } from './tree.ts';
import { chargeXattrs } from './xattrs.ts';

/**
 * A filesystem as plain data. Long lists are kept as columns: bytes that hold one little-endian
 * number per row, u32 or f64 as said, so that 100,000 inodes are a few megabytes and a few
 * milliseconds.
 */
export interface TreeState {
  uuid: string;
  nextIno: number;
  inodes: {
    /** u32, all of them */
    ino: Uint8Array;
    generation: Uint8Array;
    mode: Uint8Array;
    uid: Uint8Array;
    gid: Uint8Array;
    rdev: Uint8Array;
    /** u32; 1 for a file of O_TMPFILE that may get its first name. */
    linkable: Uint8Array;
    /** f64 */
    atime: Uint8Array;
    mtime: Uint8Array;
    ctime: Uint8Array;
    btime: Uint8Array;
    /** u32 */
    atimeNsec: Uint8Array;
    mtimeNsec: Uint8Array;
    ctimeNsec: Uint8Array;
    btimeNsec: Uint8Array;
  };
  directories: {
    /** u32 */
    ino: Uint8Array;
    nextCookie: Uint8Array;
    /** u32: how many of the entries are its own, which follow those of the directory before. */
    entries: Uint8Array;
  };
  /** In each directory by growing cookie. */
  entries: {
    names: string[];
    /** u32 */
    ino: Uint8Array;
    cookie: Uint8Array;
  };
  files: {
    /** u32 */
    ino: Uint8Array;
    /** f64, bytes */
    size: Uint8Array;
    /** u32: how many of the chunks are its own, which follow those of the file before. */
    chunks: Uint8Array;
  };
  /** 64 KiB each, those that have anything stored; in each file by growing index. */
  chunks: {
    /** f64: the chunk begins at byte index × 65,536 of the file. */
    index: Uint8Array;
    /** u32: bit n says that page n of 4 KiB is stored. */
    map: Uint8Array;
    /** The stored pages one after the other; where it ends early the rest is zeros. */
    bytes: Uint8Array[];
  };
  symlinks: { ino: number; target: string }[];
  xattrs: { ino: number; name: string; value: Uint8Array }[];
}

const U32 = ['ino', 'generation', 'mode', 'uid', 'gid', 'rdev', 'linkable', 'atimeNsec', 'mtimeNsec', 'ctimeNsec', 'btimeNsec'] as const;
const F64 = ['atime', 'mtime', 'ctime', 'btime'] as const;
const TYPES = new Set([S_IFSOCK, S_IFLNK, S_IFREG, S_IFBLK, S_IFDIR, S_IFCHR, S_IFIFO]);
const MAX_U31 = 2 ** 31;

type InodeColumns = Record<(typeof U32)[number], Uint32Array> & Record<(typeof F64)[number], Float64Array>;

/** A state that was found sound, with its columns as numbers. */
export interface CheckedTreeState {
  /** Whether there is an inode with this number. */
  has(ino: number): boolean;
  /** What is known of the inode with this number; undefined when there is none. */
  inode(ino: number): { readonly generation: number } | undefined;
  /** Type and permission bits of an inode that is there. */
  modeOf(ino: number): number;
  readonly uuid: string;
  readonly nextIno: number;
  readonly inodes: InodeColumns;
  readonly directories: { ino: Uint32Array; nextCookie: Uint32Array; entries: Uint32Array };
  readonly entries: { names: string[]; ino: Uint32Array; cookie: Uint32Array };
  readonly files: { ino: Uint32Array; size: Float64Array; chunks: Uint32Array };
  readonly chunks: { index: Float64Array; map: Uint32Array; bytes: Uint8Array[] };
  readonly symlinks: { ino: number; target: string }[];
  readonly xattrs: { ino: number; name: string; value: Uint8Array }[];
}

export function saveTree(tree: Tree): TreeState {
  const count = tree.inodes.size;
  const columns = Object.fromEntries([
    ...U32.map((name) => [name, new Uint32Array(count)] as const),
    ...F64.map((name) => [name, new Float64Array(count)] as const),
  ]) as unknown as InodeColumns;
  const directories = { ino: [] as number[], nextCookie: [] as number[], entries: [] as number[] };
  const entries = { names: [] as string[], ino: [] as number[], cookie: [] as number[] };
  const files = { ino: [] as number[], size: [] as number[], chunks: [] as number[] };
  const chunks = { index: [] as number[], map: [] as number[], bytes: [] as Uint8Array[] };
  const symlinks: TreeState['symlinks'] = [];
  const xattrs: TreeState['xattrs'] = [];

  let row = 0;
  for (const inode of tree.inodes.values()) {
    const { ino, content, directory, target } = inode;
    columns.ino[row] = ino;
    columns.generation[row] = inode.generation;
    columns.mode[row] = inode.mode;
    columns.uid[row] = inode.uid;
    columns.gid[row] = inode.gid;
    columns.rdev[row] = inode.rdev;
    columns.linkable[row] = inode.linkable ? 1 : 0;
    columns.atime[row] = inode.atime.sec;
    columns.mtime[row] = inode.mtime.sec;
    columns.ctime[row] = inode.ctime.sec;
    columns.btime[row] = inode.btime.sec;
    columns.atimeNsec[row] = inode.atime.nsec;
    columns.mtimeNsec[row] = inode.mtime.nsec;
    columns.ctimeNsec[row] = inode.ctime.nsec;
    columns.btimeNsec[row] = inode.btime.nsec;
    row++;
    if (directory) {
      directories.ino.push(ino);
      directories.nextCookie.push(directory.nextCookie);
      directories.entries.push(directory.length);
      for (const entry of directory.entries()) {
        entries.names.push(entry.name);
        entries.ino.push(entry.inode.ino);
        entries.cookie.push(entry.cookie);
      }
    } else if (content) {
      const before = chunks.bytes.length;
      for (const [index, chunk] of content.chunks()) {
        chunks.index.push(index);
        chunks.map.push(chunk.map);
        chunks.bytes.push(chunk.stored());
      }
      files.ino.push(ino);
      files.size.push(content.size);
      files.chunks.push(chunks.bytes.length - before);
    } else if (target !== undefined) {
      symlinks.push({ ino, target });
    }
    if (inode.xattrs) for (const [name, value] of inode.xattrs) xattrs.push({ ino, name, value });
  }
  tree.space.epoch++;

  return {
    uuid: tree.uuid,
    nextIno: tree.nextIno,
    inodes: Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, bytesOf(column)])) as TreeState['inodes'],
    directories: { ino: u32(directories.ino), nextCookie: u32(directories.nextCookie), entries: u32(directories.entries) },
    entries: { names: entries.names, ino: u32(entries.ino), cookie: u32(entries.cookie) },
    files: { ino: u32(files.ino), size: f64(files.size), chunks: u32(files.chunks) },
    chunks: { index: f64(chunks.index), map: u32(chunks.map), bytes: chunks.bytes },
    symlinks,
    xattrs,
  };
}

export function checkTreeState(state: unknown): CheckedTreeState {
  const source = record(state, 'state');
  const { uuid, nextIno } = source as { uuid: unknown; nextIno: number };
  if (typeof uuid !== 'string' || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid)) fail('its uuid is none');
  if (!Number.isInteger(nextIno) || nextIno < 2 || nextIno > MAX_U31) fail(`nextIno is ${nextIno}`);

  const inodes = Object.fromEntries([
    ...U32.map((name) => [name, u32Column(record(source.inodes, 'inodes'), `inodes.${name}`)] as const),
    ...F64.map((name) => [name, f64Column(record(source.inodes, 'inodes'), `inodes.${name}`)] as const),
  ]) as unknown as InodeColumns;
  sameLength('inodes', Object.values(inodes));
  const rows = checkInodes(inodes, nextIno);
  const typeOf = (ino: number) => inodes.mode[rows.get(ino) ?? fail(`inode ${ino} is named but is not there`)]! & S_IFMT;

  const directories = record(source.directories, 'directories');
  const entries = record(source.entries, 'entries');
  const files = record(source.files, 'files');
  const chunks = record(source.chunks, 'chunks');
  const checked: CheckedTreeState = {
    has: (ino) => rows.has(ino),
    inode: (ino) => {
      const row = rows.get(ino);
      return row === undefined ? undefined : { generation: inodes.generation[row]! };
    },
    modeOf: (ino) => inodes.mode[rows.get(ino)!]!,
    uuid: uuid as string,
    nextIno,
    inodes,
    directories: {
      ino: u32Column(directories, 'directories.ino'),
      nextCookie: u32Column(directories, 'directories.nextCookie'),
      entries: u32Column(directories, 'directories.entries'),
    },
    entries: { names: list(entries.names, 'entries.names'), ino: u32Column(entries, 'entries.ino'), cookie: u32Column(entries, 'entries.cookie') },
    files: { ino: u32Column(files, 'files.ino'), size: f64Column(files, 'files.size'), chunks: u32Column(files, 'files.chunks') },
    chunks: { index: f64Column(chunks, 'chunks.index'), map: u32Column(chunks, 'chunks.map'), bytes: list(chunks.bytes, 'chunks.bytes') },
    symlinks: list(source.symlinks, 'symlinks'),
    xattrs: list(source.xattrs, 'xattrs'),
  };
  for (const name of ['directories', 'entries', 'files', 'chunks'] as const) sameLength(name, Object.values(checked[name]));
  checkDirectories(checked, typeOf);
  checkFiles(checked, typeOf);
  checkSymlinks(checked, typeOf);
  checkXattrs(checked, typeOf);
  return checked;
}

export function loadTree(tree: Tree, state: CheckedTreeState): void {
  const before = new Map(tree.inodes);
  tree.inodes.clear();
  tree.uuid = state.uuid;
  tree.nextIno = Math.max(tree.nextIno, state.nextIno);
  for (const inode of before.values()) {
    if (state.has(inode.ino) || inode.retained === 0) {
      inode.content?.clear();
      chargeXattrs(tree.space, inode, undefined, false);
    }
    inode.directory?.load([], inode.directory.nextCookie);
    inode.nlink = 0;
    inode.entry = undefined;
    if (inode.directory && inode !== tree.root) inode.directory.parent = undefined;
  }
  loadInodes(tree, state, before);
  for (const inode of before.values()) {
    const replaced = tree.inodes.get(inode.ino);
    if (replaced === inode) continue;
    if (!replaced && inode.retained > 0) {
      tree.inodes.set(inode.ino, inode);
    } else {
      tree.space.givePages(inode.pages);
      tree.space.giveInode();
    }
  }
  loadDirectories(tree, state);
  loadFiles(tree, state);
  for (const { ino, target } of state.symlinks) {
    const inode = tree.inodes.get(ino)!;
    tree.space.pages += symlinkPages(target) - symlinkPages(inode.target);
    inode.target = target;
  }
  const xattrs = new Map<number, Map<string, Uint8Array>>();
  for (const { ino, name, value } of state.xattrs) {
    const attributes = xattrs.get(ino) ?? new Map<string, Uint8Array>();
    xattrs.set(ino, attributes.set(name, value.slice()));
  }
  for (const [ino, attributes] of xattrs) chargeXattrs(tree.space, tree.inodes.get(ino)!, attributes, false);
}

function loadInodes(tree: Tree, { inodes }: CheckedTreeState, before: Map<number, Inode>): void {
  for (let row = 0; row < inodes.ino.length; row++) {
    const ino = inodes.ino[row]!;
    const mode = inodes.mode[row]!;
    const generation = inodes.generation[row]!;
    let inode = before.get(ino);
    if (!inode || inode.generation !== generation || (inode.mode & S_IFMT) !== (mode & S_IFMT)) {
      inode = new Inode(ino, generation, mode, tree.space, tree.now());
      tree.space.inodes++;
      tree.space.pages += inode.pages;
    }
    inode.mode = mode;
    inode.uid = inodes.uid[row]!;
    inode.gid = inodes.gid[row]!;
    inode.rdev = inodes.rdev[row]!;
    inode.linkable = inodes.linkable[row] === 1;
    inode.atime = time(inodes.atime[row]!, inodes.atimeNsec[row]!);
    inode.mtime = time(inodes.mtime[row]!, inodes.mtimeNsec[row]!);
    inode.ctime = time(inodes.ctime[row]!, inodes.ctimeNsec[row]!);
    inode.btime = time(inodes.btime[row]!, inodes.btimeNsec[row]!);
    tree.inodes.set(ino, inode);
  }
  tree.root.nlink = 2;
}

function loadDirectories(tree: Tree, { directories, entries }: CheckedTreeState): void {
  let row = 0;
  for (let at = 0; at < directories.ino.length; at++) {
    const dir = tree.inodes.get(directories.ino[at]!)!;
    const loaded: Entry[] = [];
    for (const end = row + directories.entries[at]!; row < end; row++) {
      loaded.push(new Entry(dir, entries.names[row]!, tree.inodes.get(entries.ino[row]!)!, entries.cookie[row]!));
    }
    loadEntries(dir, loaded, directories.nextCookie[at]!);
  }
}

/** Gives a directory its entries, with growing cookies below `nextCookie`, and what is in it its link counts. */
export function loadEntries(dir: Inode, entries: Entry[], nextCookie: number): void {
  for (const entry of entries) {
    const { inode } = entry;
    inode.entry = entry;
    if (inode.directory) {
      inode.directory.parent = dir;
      inode.nlink += 2;
      dir.nlink++;
    } else {
      inode.nlink++;
    }
  }
  dir.directory!.load(entries, nextCookie);
}

function loadFiles(tree: Tree, { files, chunks }: CheckedTreeState): void {
  let row = 0;
  for (let at = 0; at < files.ino.length; at++) {
    const own: [number, number, Uint8Array][] = [];
    for (const end = row + files.chunks[at]!; row < end; row++) own.push([chunks.index[row]!, chunks.map[row]!, chunks.bytes[row]!]);
    tree.inodes.get(files.ino[at]!)!.content!.load(files.size[at]!, own);
  }
}

function checkInodes(inodes: InodeColumns, nextIno: number): Map<number, number> {
  const rows = new Map<number, number>();
  for (let row = 0; row < inodes.ino.length; row++) {
    const ino = inodes.ino[row]!;
    const mode = inodes.mode[row]!;
    if (ino < 1 || ino >= nextIno || rows.has(ino)) fail(`inode number ${ino} ${rows.has(ino) ? 'is there twice' : 'is out of range'}`);
    if (!TYPES.has(mode & S_IFMT) || mode > 0o177777) fail(`inode ${ino} has mode 0${mode.toString(8)}`);
    for (const name of F64) {
      const sec = inodes[name][row]!;
      if (!Number.isSafeInteger(sec) || inodes[`${name}Nsec`][row]! >= 1_000_000_000) fail(`inode ${ino} has no proper ${name}`);
    }
    rows.set(ino, row);
  }
  const root = rows.get(1) ?? fail('it has no root');
  if ((inodes.mode[root]! & S_IFMT) !== S_IFDIR) fail('its root is no directory');
  return rows;
}

function checkDirectories({ inodes, directories, entries }: CheckedTreeState, typeOf: (ino: number) => number): void {
  const children = new Map<number, number[]>();
  const parents = new Map<number, number>();
  let row = 0;
  for (let at = 0; at < directories.ino.length; at++) {
    const dir = directories.ino[at]!;
    const nextCookie = directories.nextCookie[at]!;
    if (typeOf(dir) !== S_IFDIR || children.has(dir)) fail(`directory ${dir} is none, or there twice`);
    const end = row + directories.entries[at]!;
    if (end > entries.names.length) fail(`directory ${dir} has more entries than there are`);
    const names = new Set<string>();
    const below: number[] = [];
    let last = FIRST_COOKIE - 1;
    for (; row < end; row++) {
      const name = entries.names[row] as unknown;
      const ino = entries.ino[row]!;
      const cookie = entries.cookie[row]!;
      if (typeof name !== 'string' || !isFileName(name) || names.has(name)) fail(`directory ${dir} has an entry with a bad name, ${JSON.stringify(name)}`);
      if (cookie <= last || cookie >= nextCookie) fail(`entry ${JSON.stringify(name)} of directory ${dir} has cookie ${cookie}`);
      last = cookie;
      names.add(name);
      if (typeOf(ino) !== S_IFDIR) continue;
      if (ino === 1 || parents.has(ino)) fail(`directory ${ino} has two places`);
      parents.set(ino, dir);
      below.push(ino);
    }
    if (nextCookie < FIRST_COOKIE || nextCookie >= MAX_U31) fail(`directory ${dir} has nextCookie ${nextCookie}`);
    children.set(dir, below);
  }
  if (row !== entries.names.length) fail('some entries are in no directory');
  checkReachable(inodes, children, parents);
}

/** Every directory is below the root, or is empty and has no name. */
function checkReachable(inodes: InodeColumns, children: Map<number, number[]>, parents: Map<number, number>): void {
  const reached = new Set([1]);
  for (const dir of reached) for (const child of children.get(dir) ?? []) reached.add(child);
  for (let row = 0; row < inodes.ino.length; row++) {
    const ino = inodes.ino[row]!;
    if ((inodes.mode[row]! & S_IFMT) !== S_IFDIR) continue;
    if (!children.has(ino)) fail(`directory ${ino} has no list of entries`);
    if (parents.has(ino) && !reached.has(ino)) fail(`directory ${ino} is not below the root`);
    if (!reached.has(ino) && children.get(ino)!.length) fail(`directory ${ino} was removed and is not empty`);
  }
}

function checkFiles({ inodes, files, chunks }: CheckedTreeState, typeOf: (ino: number) => number): void {
  const seen = new Set<number>();
  let row = 0;
  for (let at = 0; at < files.ino.length; at++) {
    const ino = files.ino[at]!;
    const size = files.size[at]!;
    if (typeOf(ino) !== S_IFREG || seen.has(ino)) fail(`file ${ino} is none, or there twice`);
    seen.add(ino);
    if (!Number.isInteger(size) || size < 0 || size > MAX_FILE_SIZE) fail(`file ${ino} has size ${size}`);
    const end = row + files.chunks[at]!;
    if (end > chunks.bytes.length) fail(`file ${ino} has more chunks than there are`);
    let last = -1;
    for (; row < end; row++) {
      const index = chunks.index[row]!;
      const map = chunks.map[row]!;
      const bytes = chunks.bytes[row] as unknown;
      if (!Number.isInteger(index) || index <= last || index >= MAX_FILE_SIZE / CHUNK_SIZE) fail(`file ${ino} has a chunk with index ${index}`);
      last = index;
      const sound = map > 0 && map <= 0xffff && bytes instanceof Uint8Array && bytes.length <= countBits(map) * PAGE_SIZE;
      if (!sound) fail(`chunk ${index} of file ${ino} is malformed`);
    }
  }
  if (row !== chunks.bytes.length) fail('some chunks are in no file');
  const regular = inodes.mode.reduce((count, mode) => count + ((mode & S_IFMT) === S_IFREG ? 1 : 0), 0);
  if (regular !== seen.size) fail('some files have no size');
}

function checkSymlinks({ inodes, symlinks }: CheckedTreeState, typeOf: (ino: number) => number): void {
  const seen = new Set<number>();
  for (const link of symlinks as unknown[]) {
    const { ino, target } = record(link, 'symlinks') as { ino: number; target: unknown };
    if (typeOf(ino) !== S_IFLNK || seen.has(ino)) fail(`symbolic link ${ino} is none, or there twice`);
    if (typeof target !== 'string' || target === '' || target.includes('\0') || nameLength(target) >= PATH_MAX) fail(`symbolic link ${ino} has no proper target`);
    seen.add(ino);
  }
  const expected = inodes.mode.reduce((count, mode) => count + ((mode & S_IFMT) === S_IFLNK ? 1 : 0), 0);
  if (expected !== seen.size) fail('some symbolic links have no target');
}

function checkXattrs({ xattrs }: CheckedTreeState, typeOf: (ino: number) => number): void {
  const seen = new Set<string>();
  for (const attribute of xattrs as unknown[]) {
    const { ino, name, value } = record(attribute, 'xattrs') as { ino: number; name: unknown; value: unknown };
    typeOf(ino);
    const key = `${ino} ${String(name)}`;
    const sound = typeof name === 'string' && name !== '' && nameLength(name) <= XATTR_NAME_MAX && value instanceof Uint8Array && value.length <= XATTR_SIZE_MAX;
    if (!sound || seen.has(key)) fail(`inode ${ino} has a malformed attribute ${JSON.stringify(name)}`);
    seen.add(key);
  }
}

function fail(what: string): never {
  throw new TypeError(`the filesystem state is not sound: ${what}`);
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) fail(`${what} is missing`);
  return value as Record<string, unknown>;
}

function list<T>(value: unknown, what: string): T[] {
  if (!Array.isArray(value)) fail(`${what} is no list`);
  return value as T[];
}

function sameLength(what: string, columns: { length: number }[]): void {
  if (columns.some(({ length }) => length !== columns[0]!.length)) fail(`the columns of ${what} differ in length`);
}

function column(source: Record<string, unknown>, path: string, width: number): ArrayBuffer {
  const bytes = source[path.slice(path.indexOf('.') + 1)];
  if (!(bytes instanceof Uint8Array) || bytes.length % width) fail(`${path} is no column of numbers`);
  return (bytes as Uint8Array).slice().buffer as ArrayBuffer;
}

function u32Column(source: Record<string, unknown>, path: string): Uint32Array {
  return new Uint32Array(column(source, path, 4));
}

function f64Column(source: Record<string, unknown>, path: string): Float64Array {
  return new Float64Array(column(source, path, 8));
}

function u32(values: number[]): Uint8Array {
  return bytesOf(Uint32Array.from(values));
}

function f64(values: number[]): Uint8Array {
  return bytesOf(Float64Array.from(values));
}

function bytesOf(column: Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}

function time(sec: number, nsec: number): Timespec {
  return { sec, nsec };
}
