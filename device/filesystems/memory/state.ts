import { S_IFMT } from '../../fs/constants.ts';
import type { CheckedFiles } from '../../fs/persistence.ts';
import { PAGES_PER_CHUNK } from './chunk.ts';
import { Entry } from './directory.ts';
import { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import type { Usage } from './space.ts';
import { checkTime } from './values.ts';
import { addXattr } from './xattrs.ts';

/**
 * A filesystem as plain data. Long lists are kept as columns: bytes that hold one little-endian
 * number per row, u32 or f64 as said, so that 100,000 inodes are a few megabytes and a few
 * milliseconds.
 */
export interface MemoryState {
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
  /** Up to 64 KiB each, those that have anything stored; in each file by growing index, and none over the next. */
  chunks: {
    /** f64, a multiple of 1/16: the chunk begins at byte index × 65,536 of the file. */
    index: Uint8Array;
    /** u32: bit n says that page n of 4 KiB is stored. */
    map: Uint8Array;
    /** The stored pages one after the other; where it ends early the rest is zeros. */
    bytes: Uint8Array[];
  };
  symlinks: { ino: number; target: string }[];
  xattrs: { ino: number; name: string; value: Uint8Array }[];
}

export const U32 = [
  'ino',
  'generation',
  'mode',
  'uid',
  'gid',
  'rdev',
  'linkable',
  'atimeNsec',
  'mtimeNsec',
  'ctimeNsec',
  'btimeNsec',
] as const;
export const F64 = ['atime', 'mtime', 'ctime', 'btime'] as const;

export type InodeColumns = Record<(typeof U32)[number], Uint32Array> & Record<(typeof F64)[number], Float64Array>;

/** A state that was found sound, with its columns as numbers. */
export interface CheckedState extends CheckedFiles {
  /** Type and permission bits of an inode that is there. */
  modeOf(ino: number): number;
  /** What it is charged. */
  readonly usage: Usage;
  readonly nextIno: number;
  readonly inodes: InodeColumns;
  readonly directories: { ino: Uint32Array; nextCookie: Uint32Array; entries: Uint32Array };
  readonly entries: { names: string[]; ino: Uint32Array; cookie: Uint32Array };
  readonly files: { ino: Uint32Array; size: Float64Array; chunks: Uint32Array };
  readonly chunks: { index: Float64Array; map: Uint32Array; bytes: Uint8Array[] };
  readonly symlinks: { ino: number; target: string }[];
  readonly xattrs: { ino: number; name: string; value: Uint8Array }[];
}

export function saveState(table: InodeTable, uuid: string): MemoryState {
  const count = table.inodes.size;
  const columns = Object.fromEntries([
    ...U32.map((name) => [name, new Uint32Array(count)] as const),
    ...F64.map((name) => [name, new Float64Array(count)] as const),
  ]) as unknown as InodeColumns;
  const directories = { ino: [] as number[], nextCookie: [] as number[], entries: [] as number[] };
  const entries = { names: [] as string[], ino: [] as number[], cookie: [] as number[] };
  const files = { ino: [] as number[], size: [] as number[], chunks: [] as number[] };
  const chunks = { index: [] as number[], map: [] as number[], bytes: [] as Uint8Array[] };
  const symlinks: MemoryState['symlinks'] = [];
  const xattrs: MemoryState['xattrs'] = [];

  let row = 0;
  for (const inode of table.inodes.values()) {
    const { ino, directory, target } = inode;
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
    } else if (inode.isRegular) {
      const before = chunks.bytes.length;
      for (const chunk of inode.written?.chunks() ?? []) {
        chunks.index.push(chunk.at / PAGES_PER_CHUNK);
        chunks.map.push(chunk.map);
        chunks.bytes.push(chunk.stored());
      }
      files.ino.push(ino);
      files.size.push(inode.size);
      files.chunks.push(chunks.bytes.length - before);
    } else if (target !== undefined) {
      symlinks.push({ ino, target });
    }
    if (inode.xattrs) for (const [name, value] of inode.xattrs.entries()) xattrs.push({ ino, name, value });
  }
  table.space.epoch++;

  return {
    uuid,
    nextIno: table.nextIno,
    inodes: Object.fromEntries(
      Object.entries(columns).map(([name, column]) => [name, bytesOf(column)]),
    ) as MemoryState['inodes'],
    directories: {
      ino: u32(directories.ino),
      nextCookie: u32(directories.nextCookie),
      entries: u32(directories.entries),
    },
    entries: { names: entries.names, ino: u32(entries.ino), cookie: u32(entries.cookie) },
    files: { ino: u32(files.ino), size: f64(files.size), chunks: u32(files.chunks) },
    chunks: { index: f64(chunks.index), map: u32(chunks.map), bytes: chunks.bytes },
    symlinks,
    xattrs,
  };
}

export function loadState(table: InodeTable, state: CheckedState): void {
  const before = new Map(table.inodes);
  table.inodes.clear();
  table.nextIno = Math.max(table.nextIno, state.nextIno);
  for (const inode of before.values()) {
    if (state.inode(inode.ino) || inode.retained === 0) {
      inode.written?.clear();
      inode.xattrs = undefined;
    }
    inode.directory?.load([], inode.directory.nextCookie);
    inode.nlink = 0;
    inode.entry = undefined;
    if (inode.directory && inode !== table.root) inode.directory.parent = undefined;
  }
  loadInodes(table, state, before);
  for (const inode of before.values()) {
    if (!table.inodes.has(inode.ino) && inode.retained > 0) table.inodes.set(inode.ino, inode);
  }
  loadDirectories(table, state);
  loadFiles(table, state);
  for (const { ino, target } of state.symlinks) table.inodes.get(ino)!.target = target;
  for (const { ino, name, value } of state.xattrs) addXattr(table.inodes.get(ino)!, name, value.slice());
  table.space.inodes = table.inodes.size;
  table.space.metadata = 0;
  for (const inode of table.inodes.values()) table.space.metadata += inode.metadata;
}

function loadInodes(table: InodeTable, { inodes }: CheckedState, before: Map<number, Inode>): void {
  for (let row = 0; row < inodes.ino.length; row++) {
    const ino = inodes.ino[row]!;
    const mode = inodes.mode[row]!;
    const generation = inodes.generation[row]!;
    let inode = before.get(ino);
    if (!inode || inode.generation !== generation || (inode.mode & S_IFMT) !== (mode & S_IFMT)) {
      inode = new Inode(ino, generation, mode, table.space, table.now());
    }
    inode.mode = mode;
    inode.uid = inodes.uid[row]!;
    inode.gid = inodes.gid[row]!;
    inode.rdev = inodes.rdev[row]!;
    inode.linkable = inodes.linkable[row] === 1;
    inode.atime = checkTime({ sec: inodes.atime[row]!, nsec: inodes.atimeNsec[row]! });
    inode.mtime = checkTime({ sec: inodes.mtime[row]!, nsec: inodes.mtimeNsec[row]! });
    inode.ctime = checkTime({ sec: inodes.ctime[row]!, nsec: inodes.ctimeNsec[row]! });
    inode.btime = checkTime({ sec: inodes.btime[row]!, nsec: inodes.btimeNsec[row]! });
    table.inodes.set(ino, inode);
  }
  table.root.nlink = 2;
}

function loadDirectories(table: InodeTable, { directories, entries }: CheckedState): void {
  let row = 0;
  for (let at = 0; at < directories.ino.length; at++) {
    const dir = table.inodes.get(directories.ino[at]!)!;
    const loaded: Entry[] = [];
    for (const end = row + directories.entries[at]!; row < end; row++) {
      loaded.push(new Entry(dir, entries.names[row]!, table.inodes.get(entries.ino[row]!)!, entries.cookie[row]!));
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

function loadFiles(table: InodeTable, { files, chunks }: CheckedState): void {
  let row = 0;
  for (let at = 0; at < files.ino.length; at++) {
    const own: { at: number; map: number; bytes: Uint8Array }[] = [];
    for (const end = row + files.chunks[at]!; row < end; row++)
      own.push({ at: chunks.index[row]! * PAGES_PER_CHUNK, map: chunks.map[row]!, bytes: chunks.bytes[row]! });
    if (files.size[at] || own.length) table.inodes.get(files.ino[at]!)!.content!.load(files.size[at]!, own);
  }
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
