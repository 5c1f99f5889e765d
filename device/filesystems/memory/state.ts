import { encodeName } from '../../fs/names.ts';
import type { AbsentBytes } from '../../fs/origin.ts';
import { PAGES_PER_CHUNK } from './chunk.ts';
import type { Entry } from './directory.ts';
import type { Inode } from './inode.ts';
import type { InodeTable } from './inode-table.ts';
import type { Range } from './range.ts';
import { differenceFrom, type GroupName } from './range-difference.ts';

/**
 * A filesystem as plain data: its inodes in ranges of 256 numbers, each with all that its inodes have. A range is the same object in every
 * state until something in it changes, so that what did not change costs nothing, however much it is.
 */
export interface MemoryState {
  uuid: string;
  nextIno: number;
  /** The id of the `Origin` that has the content which stands in it as {@link AbsentBytes}. Default: no content is absent. */
  origin?: string;
  /** What it has no range of is as in the image of `origin`; and one there of which it has a range without inodes is gone. Default: it is all there is. */
  isDifference?: boolean;
  /** By growing index, those that have any inode. */
  ranges: RangeState[];
}

/**
 * Never changed. Lists are columns: bytes that hold one little-endian number per row, u32 or f64 as said. They go by growing inode number, and
 * what no inode of the range has is left out.
 */
export interface RangeState {
  /** The inode numbers from 256 times this on. */
  index: number;
  /**
   * Only in a difference, of a range that the image has too: the inodes of which this says what they have in each group, by the low 8 bits of their
   * numbers; what others have there is as in the image. `files` includes chunks. Default: it is the whole range.
   */
  changed?: Partial<Record<GroupName, Uint8Array>>;
  /** 13 words an inode: see record.ts. */
  inodes: Uint8Array;
  /** The names that they have; several names of one by directory and cookie. */
  entries?: {
    /** u32 */
    ino: Uint8Array;
    dir: Uint8Array;
    cookie: Uint8Array;
    /** Bytes as a guest has them, with a NUL after each. */
    names: Uint8Array;
  };
  /** All of them. */
  directories?: {
    /** u32 */
    ino: Uint8Array;
    nextCookie: Uint8Array;
  };
  /** Those that are not empty. */
  files?: {
    /** u32 */
    ino: Uint8Array;
    /** f64, bytes */
    size: Uint8Array;
    /** u32: how many of the chunks are its own, which follow those of the file before. */
    chunks: Uint8Array;
  };
  /** Up to 64 KiB each, those that have anything stored; in each file by growing index, and none over the next. */
  chunks?: {
    /** f64, a multiple of 1/16: the chunk begins at byte index × 65,536 of the file. */
    index: Uint8Array;
    /** u32: bit n says that page n of 4 KiB is stored. */
    map: Uint8Array;
    /** The stored pages one after the other, here or elsewhere; where it ends early the rest is zeros. */
    bytes: (Uint8Array | AbsentBytes)[];
  };
  symlinks?: {
    /** u32 */
    ino: Uint8Array;
    /** With a NUL after each. */
    targets: Uint8Array;
  };
  xattrs?: {
    /** u32 */
    ino: Uint8Array;
    /** With a NUL after each. */
    names: Uint8Array;
    values: Uint8Array[];
  };
  /** Of those that have anything but 1, 0, 0 here. */
  special?: {
    /** u32 */
    ino: Uint8Array;
    generation: Uint8Array;
    rdev: Uint8Array;
    /** u32; 1 for a file of O_TMPFILE that may get its first name. */
    linkable: Uint8Array;
  };
}

export function saveState(table: InodeTable, uuid: string): MemoryState {
  const { nextIno, base } = table;
  const present = table.ranges();
  const ranges = present.map((range) => range.saved ?? saveRange(range, base?.get(range.index)));
  table.space.epoch++;
  const origin = table.origin?.id;
  const state = { uuid, nextIno, ...(origin !== undefined && { origin }) };
  if (!base) return { ...state, ranges };
  const gone = new Set(base.keys());
  for (const { index } of present) gone.delete(index);
  const changed = ranges.filter((range) => range !== base.get(range.index));
  for (const index of gone) changed.push({ index, inodes: new Uint8Array(0) });
  return { ...state, isDifference: true, ranges: changed.sort((a, b) => a.index - b.index) };
}

/** `base`: what the image has in its place. */
function saveRange(range: Range, base: RangeState | undefined): RangeState {
  const entries = { ino: [] as number[], dir: [] as number[], cookie: [] as number[], names: [] as string[] };
  const directories = { ino: [] as number[], nextCookie: [] as number[] };
  const files = { ino: [] as number[], size: [] as number[], chunks: [] as number[] };
  const chunks = { index: [] as number[], map: [] as number[], bytes: [] as (Uint8Array | AbsentBytes)[] };
  const symlinks = { ino: [] as number[], targets: [] as string[] };
  const xattrs = { ino: [] as number[], names: [] as string[], values: [] as Uint8Array[] };
  const special = { ino: [] as number[], generation: [] as number[], rdev: [] as number[], linkable: [] as number[] };

  for (const inode of range.inodes()) {
    const { ino, directory, written, target, generation, rdev, linkable } = inode;
    for (const { name, dir } of inOrder(inode.names())) {
      entries.ino.push(ino);
      entries.dir.push(dir.ino);
      entries.cookie.push(cookieOf(dir, name));
      entries.names.push(name);
    }
    if (directory) {
      directories.ino.push(ino);
      directories.nextCookie.push(directory.nextCookie);
    } else if (written && (written.size || written.pages)) {
      const before = chunks.bytes.length;
      for (const chunk of written.chunks()) {
        chunks.index.push(chunk.at / PAGES_PER_CHUNK);
        chunks.map.push(chunk.map);
        chunks.bytes.push(chunk.stored());
      }
      files.ino.push(ino);
      files.size.push(written.size);
      files.chunks.push(chunks.bytes.length - before);
    } else if (target !== undefined) {
      symlinks.ino.push(ino);
      symlinks.targets.push(target);
    }
    for (const [name, value] of inode.xattrs?.entries() ?? []) {
      xattrs.ino.push(ino);
      xattrs.names.push(name);
      xattrs.values.push(value);
    }
    if (generation !== 1 || rdev || linkable) {
      special.ino.push(ino);
      special.generation.push(generation);
      special.rdev.push(rdev);
      special.linkable.push(linkable ? 1 : 0);
    }
  }
  const whole = makeRange(range.index, bytesOf(range.packed()), {
    entries,
    directories,
    files,
    chunks,
    symlinks,
    xattrs,
    special,
  });
  const state = base ? differenceFrom(base, whole) : whole;
  range.keep(state);
  return state;
}

function cookieOf(dir: Inode, name: string): number {
  const directory = dir.directory!;
  return directory.cookieAt(directory.rowOf(name));
}

function inOrder(names: readonly Entry[]): readonly Entry[] {
  if (names.length < 2) return names;
  return [...names].sort((a, b) => a.dir.ino - b.dir.ino || cookieOf(a.dir, a.name) - cookieOf(b.dir, b.name));
}

/** What a range is made of, as lists. */
export interface RangeLists {
  entries: { ino: number[]; dir: number[]; cookie: number[]; names: string[] };
  directories: { ino: number[]; nextCookie: number[] };
  files: { ino: number[]; size: number[]; chunks: number[] };
  chunks: { index: number[]; map: number[]; bytes: (Uint8Array | AbsentBytes)[] };
  symlinks: { ino: number[]; targets: string[] };
  xattrs: { ino: number[]; names: string[]; values: Uint8Array[] };
  special: { ino: number[]; generation: number[]; rdev: number[]; linkable: number[] };
}

/** The strings have no NUL. */
export function makeRange(index: number, inodes: Uint8Array, lists: RangeLists): RangeState {
  const { entries, directories, files, chunks, symlinks, xattrs, special } = lists;
  return {
    index,
    inodes,
    ...(entries.ino.length && {
      entries: {
        ino: u32(entries.ino),
        dir: u32(entries.dir),
        cookie: u32(entries.cookie),
        names: joined(entries.names),
      },
    }),
    ...(directories.ino.length && {
      directories: { ino: u32(directories.ino), nextCookie: u32(directories.nextCookie) },
    }),
    ...(files.ino.length && { files: { ino: u32(files.ino), size: f64(files.size), chunks: u32(files.chunks) } }),
    ...(chunks.bytes.length && { chunks: { index: f64(chunks.index), map: u32(chunks.map), bytes: chunks.bytes } }),
    ...(symlinks.ino.length && { symlinks: { ino: u32(symlinks.ino), targets: joined(symlinks.targets) } }),
    ...(xattrs.ino.length && {
      xattrs: { ino: u32(xattrs.ino), names: joined(xattrs.names), values: xattrs.values },
    }),
    ...(special.ino.length && {
      special: {
        ino: u32(special.ino),
        generation: u32(special.generation),
        rdev: u32(special.rdev),
        linkable: u32(special.linkable),
      },
    }),
  };
}

function joined(texts: readonly string[]): Uint8Array {
  return encodeName(`${texts.join('\0')}\0`);
}

function u32(values: number[]): Uint8Array {
  return bytesOf(Uint32Array.from(values));
}

function f64(values: number[]): Uint8Array {
  return bytesOf(Float64Array.from(values));
}

function bytesOf(column: Int32Array | Uint32Array | Float64Array): Uint8Array {
  return new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}
