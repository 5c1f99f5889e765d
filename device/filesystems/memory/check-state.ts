import { PAGE_SIZE } from '../../bytes.ts';
import { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG } from '../../fs/constants.ts';
import { FIRST_COOKIE } from '../../fs/cookies.ts';
import { FsError } from '../../fs/errno.ts';
import { isEntryName, nameLength } from '../../fs/names.ts';
import { ACL_ACCESS, ACL_DEFAULT, Acl } from './acl.ts';
import { countBits, PAGES_PER_CHUNK } from './chunk.ts';
import { entryCost, inodeCost, xattrCost, xattrsCost } from './space.ts';
import { type CheckedState, F64, type InodeColumns, U32 } from './state.ts';
import { checkNode, checkSize, checkTime, checkXattr, checkXattrList, LINK_MAX, MAX_FILE_SIZE } from './values.ts';

const MAX_U31 = 2 ** 31;

/** Finds a state sound. Changes nothing. @throws TypeError that says what is wrong with it. */
export function checkState(state: unknown): CheckedState {
  const source = record(state, 'state');
  const { uuid, nextIno } = source as { uuid: unknown; nextIno: number };
  if (typeof uuid !== 'string' || !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(uuid))
    fail('its uuid is invalid');
  if (!Number.isInteger(nextIno) || nextIno < 2 || nextIno > MAX_U31) fail(`nextIno ${nextIno} is out of range`);

  const inodes = Object.fromEntries([
    ...U32.map((name) => [name, u32Column(record(source.inodes, 'inodes'), `inodes.${name}`)] as const),
    ...F64.map((name) => [name, f64Column(record(source.inodes, 'inodes'), `inodes.${name}`)] as const),
  ]) as unknown as InodeColumns;
  sameLength('inodes', Object.values(inodes));
  const rows = checkInodes(inodes, nextIno);
  const modeOf = (ino: number) =>
    inodes.mode[rows.get(ino) ?? fail(`a name refers to inode ${ino}, which does not exist`)]!;
  const typeOf = (ino: number) => modeOf(ino) & S_IFMT;

  const directories = record(source.directories, 'directories');
  const entries = record(source.entries, 'entries');
  const files = record(source.files, 'files');
  const chunks = record(source.chunks, 'chunks');
  const usage = { pages: 0, metadata: 0, inodes: inodes.ino.length };
  const checked: CheckedState = {
    usage,
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
    entries: {
      names: list(entries.names, 'entries.names'),
      ino: u32Column(entries, 'entries.ino'),
      cookie: u32Column(entries, 'entries.cookie'),
    },
    files: {
      ino: u32Column(files, 'files.ino'),
      size: f64Column(files, 'files.size'),
      chunks: u32Column(files, 'files.chunks'),
    },
    chunks: {
      index: f64Column(chunks, 'chunks.index'),
      map: u32Column(chunks, 'chunks.map'),
      bytes: list(chunks.bytes, 'chunks.bytes'),
    },
    symlinks: list(source.symlinks, 'symlinks'),
    xattrs: list(source.xattrs, 'xattrs'),
  };
  for (const name of ['directories', 'entries', 'files', 'chunks'] as const)
    sameLength(name, Object.values(checked[name]));
  checkDirectories(checked, typeOf);
  checkFiles(checked, typeOf);
  checkSymlinks(checked, typeOf);
  checkXattrs(checked, modeOf);
  for (const map of checked.chunks.map) usage.pages += countBits(map);
  const targets = new Map(checked.symlinks.map(({ ino, target }) => [ino, target]));
  inodes.mode.forEach((mode, row) => (usage.metadata += inodeCost(mode, targets.get(inodes.ino[row]!))));
  for (const name of checked.entries.names) usage.metadata += entryCost(name);
  const attributes = new Map<number, number>();
  for (const { ino, name, value } of checked.xattrs)
    attributes.set(ino, (attributes.get(ino) ?? 0) + xattrCost(name, value));
  for (const bytes of attributes.values()) usage.metadata += xattrsCost(bytes);
  return checked;
}

function checkInodes(inodes: InodeColumns, nextIno: number): Map<number, number> {
  const rows = new Map<number, number>();
  for (let row = 0; row < inodes.ino.length; row++) {
    const ino = inodes.ino[row]!;
    const mode = inodes.mode[row]!;
    if (ino < 1 || ino >= nextIno || rows.has(ino))
      fail(`inode number ${ino} ${rows.has(ino) ? 'occurs twice' : 'is out of range'}`);
    judge(
      () => checkNode(mode, inodes.rdev[row]!, (mode & S_IFMT) === S_IFLNK ? '.' : undefined),
      () => `inode ${ino} has the invalid mode 0${mode.toString(8)}`,
    );
    for (const name of F64)
      judge(
        () => checkTime({ sec: inodes[name][row]!, nsec: inodes[`${name}Nsec`][row]! }),
        () => `${name} of inode ${ino} is invalid`,
      );
    rows.set(ino, row);
  }
  const root = rows.get(1) ?? fail('the root is missing');
  if ((inodes.mode[root]! & S_IFMT) !== S_IFDIR) fail('the root is not a directory');
  return rows;
}

function checkDirectories({ inodes, directories, entries }: CheckedState, typeOf: (ino: number) => number): void {
  const children = new Map<number, number[]>();
  const parents = new Map<number, number>();
  const links = new Map<number, number>();
  let row = 0;
  for (let at = 0; at < directories.ino.length; at++) {
    const dir = directories.ino[at]!;
    const nextCookie = directories.nextCookie[at]!;
    if (typeOf(dir) !== S_IFDIR || children.has(dir)) fail(`directory ${dir} does not exist, or occurs twice`);
    const end = row + directories.entries[at]!;
    if (end > entries.names.length) fail(`directory ${dir} claims more entries than there are`);
    const names = new Set<string>();
    const below: number[] = [];
    let last = FIRST_COOKIE - 1;
    for (; row < end; row++) {
      const name = entries.names[row] as unknown;
      const ino = entries.ino[row]!;
      const cookie = entries.cookie[row]!;
      if (typeof name !== 'string' || !isEntryName(name) || names.has(name))
        fail(`directory ${dir} has an entry with a bad name, ${JSON.stringify(name)}`);
      if (cookie <= last || cookie >= nextCookie)
        fail(`entry ${JSON.stringify(name)} of directory ${dir} has the invalid cookie ${cookie}`);
      last = cookie;
      names.add(name);
      if (typeOf(ino) !== S_IFDIR) {
        const count = (links.get(ino) ?? 0) + 1;
        if (count > LINK_MAX) fail(`inode ${ino} has more than ${LINK_MAX} names`);
        links.set(ino, count);
        continue;
      }
      if (ino === 1 || parents.has(ino)) fail(`directory ${ino} has two names`);
      parents.set(ino, dir);
      below.push(ino);
    }
    if (nextCookie < FIRST_COOKIE || nextCookie >= MAX_U31)
      fail(`directory ${dir} has the invalid nextCookie ${nextCookie}`);
    children.set(dir, below);
  }
  if (row !== entries.names.length) fail('some entries belong to no directory');
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

function checkFiles({ inodes, files, chunks }: CheckedState, typeOf: (ino: number) => number): void {
  const seen = new Set<number>();
  let row = 0;
  for (let at = 0; at < files.ino.length; at++) {
    const ino = files.ino[at]!;
    const size = files.size[at]!;
    if (typeOf(ino) !== S_IFREG || seen.has(ino)) fail(`file ${ino} does not exist, or occurs twice`);
    seen.add(ino);
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
      const sound =
        map > 0 && map <= 0xffff && bytes instanceof Uint8Array && bytes.length <= countBits(map) * PAGE_SIZE;
      if (!sound) fail(`chunk ${index} of file ${ino} is malformed`);
    }
  }
  if (row !== chunks.bytes.length) fail('some chunks belong to no file');
  const regular = inodes.mode.reduce((count, mode) => count + ((mode & S_IFMT) === S_IFREG ? 1 : 0), 0);
  if (regular !== seen.size) fail('some files have no size');
}

function checkSymlinks({ inodes, symlinks }: CheckedState, typeOf: (ino: number) => number): void {
  const seen = new Set<number>();
  for (const link of symlinks as unknown[]) {
    const { ino, target } = record(link, 'symlinks') as { ino: number; target: unknown };
    if (typeOf(ino) !== S_IFLNK || seen.has(ino)) fail(`symbolic link ${ino} does not exist, or occurs twice`);
    if (typeof target !== 'string') fail(`symbolic link ${ino} has no target`);
    judge(
      () => checkNode(S_IFLNK, 0, target as string),
      () => `the target of symbolic link ${ino} is invalid`,
    );
    seen.add(ino);
  }
  const expected = inodes.mode.reduce((count, mode) => count + ((mode & S_IFMT) === S_IFLNK ? 1 : 0), 0);
  if (expected !== seen.size) fail('some symbolic links have no target');
}

function checkXattrs({ xattrs }: CheckedState, modeOf: (ino: number) => number): void {
  const seen = new Map<number, { names: Set<string>; bytes: number }>();
  for (const attribute of xattrs as unknown[]) {
    const { ino, name, value } = record(attribute, 'xattrs') as { ino: number; name: unknown; value: unknown };
    const mode = modeOf(ino);
    let own = seen.get(ino);
    if (!own) seen.set(ino, (own = { names: new Set(), bytes: 0 }));
    const what = () => `inode ${ino} has a malformed attribute ${JSON.stringify(name)}`;
    if (typeof name !== 'string' || !(value instanceof Uint8Array) || own.names.has(name)) fail(what());
    judge(() => checkXattr(mode, name as string, value as Uint8Array), what);
    if ((name === ACL_ACCESS || name === ACL_DEFAULT) && Acl.decode(value as Uint8Array).isEmpty) fail(what());
    own.names.add(name as string);
    own.bytes += nameLength(name as string) + 1;
    judge(
      () => checkXattrList(own.bytes),
      () => `inode ${ino} has too many attributes`,
    );
  }
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

function fail(what: string): never {
  throw new TypeError(`the filesystem state is invalid: ${what}`);
}

function record(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null) fail(`${what} is missing`);
  return value as Record<string, unknown>;
}

function list<T>(value: unknown, what: string): T[] {
  if (!Array.isArray(value)) fail(`${what} is not a list`);
  return value as T[];
}

function sameLength(what: string, columns: { length: number }[]): void {
  if (columns.some(({ length }) => length !== columns[0]!.length)) fail(`the columns of ${what} differ in length`);
}

function column(source: Record<string, unknown>, path: string, width: number): ArrayBuffer {
  const bytes = source[path.slice(path.indexOf('.') + 1)];
  if (!(bytes instanceof Uint8Array) || bytes.length % width) fail(`${path} is not a column of numbers`);
  return (bytes as Uint8Array).slice().buffer as ArrayBuffer;
}

function u32Column(source: Record<string, unknown>, path: string): Uint32Array {
  return new Uint32Array(column(source, path, 4));
}

function f64Column(source: Record<string, unknown>, path: string): Float64Array {
  return new Float64Array(column(source, path, 8));
}
