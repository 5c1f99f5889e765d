import { BytesSink, PAGE_SIZE } from '../bytes.ts';
import { CHUNK_SIZE, PAGES_PER_CHUNK } from '../filesystems/memory/chunk.ts';
import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import type { Inode } from '../filesystems/memory/inode.ts';
import { S_IFLNK } from '../fs/constants.ts';
import { FIRST_COOKIE } from '../fs/cookies.ts';
import type { Timespec } from '../fs/filesystem.ts';
import { whenHere } from '../fs/not-yet.ts';
import { dataSegments } from '../trees/sparse.ts';
import { emptyRows, type TreeRows } from './tree.ts';

/** What {@link survey} finds. */
export interface Survey {
  /** All but the content of files, which is to be added by {@link addContent}. */
  rows: TreeRows;
  /** Regular files that are not empty, in the order of their numbers. */
  files: { ino: number; inode: Inode; size: number }[];
  /** Bytes of them, holes included. */
  bytes: number;
  /** When the last of them all was changed, in seconds. */
  newest: number;
}

/**
 * Lists a tree so that the same files make the same rows, whatever their numbers and their order were: directory after directory, each
 * one's entries by name, numbered as they come first. Times after `latest` seconds become that; fractions stay of earlier ones.
 */
export function survey(filesystem: MemoryFileSystem, latest = Infinity): Survey {
  const rows = emptyRows();
  const found: Survey = { rows, files: [], bytes: 0, newest: -Infinity };
  const numbers = new Map<Inode, number>();
  const add = (inode: Inode): number => {
    const ino = numbers.size + 1;
    numbers.set(inode, ino);
    addInode(found, inode, ino, latest);
    return ino;
  };
  const directories = [filesystem.root];
  add(filesystem.root);
  for (const dir of directories) {
    const number = numbers.get(dir)!;
    const entries = filesystem.entries(dir).sort((a, b) => (a.name < b.name ? -1 : 1));
    entries.forEach(({ name, inode }, n) => {
      const cookie = FIRST_COOKIE + n;
      const ino = numbers.get(inode);
      if (ino === undefined) {
        add(inode);
        put(rows.entries, number, cookie, name);
        if (inode.isDirectory) directories.push(inode);
      } else {
        rows.links.ino.push(ino);
        put(rows.links, number, cookie, name);
      }
    });
  }
  return found;
}

function put(entries: TreeRows['entries'], dir: number, cookie: number, name: string): void {
  entries.dir.push(dir);
  entries.cookie.push(cookie);
  entries.names.push(name);
}

function addInode(found: Survey, inode: Inode, ino: number, latest: number): void {
  const { inodes, symlinks, xattrs, devices } = found.rows;
  const mtime = clamped(inode.mtime, latest);
  inodes.mode.push(inode.mode);
  inodes.uid.push(inode.uid);
  inodes.gid.push(inode.gid);
  inodes.sec.push(mtime.sec);
  inodes.nsec.push(mtime.nsec);
  found.newest = Math.max(found.newest, mtime.sec);
  if (inode.type === S_IFLNK) {
    symlinks.ino.push(ino);
    symlinks.targets.push(inode.target!);
  }
  if (inode.rdev) {
    devices.ino.push(ino);
    devices.rdev.push(inode.rdev);
  }
  for (const [name, value] of [...(inode.xattrs?.entries() ?? [])].sort(([a], [b]) => (a < b ? -1 : 1))) {
    xattrs.ino.push(ino);
    xattrs.names.push(name);
    xattrs.values.push(value);
  }
  if (!inode.isRegular || inode.size === 0) return;
  found.files.push({ ino, inode, size: inode.size });
  found.bytes += inode.size;
}

function clamped(time: Timespec, latest: number): Timespec {
  return time.sec > latest || (time.sec === latest && time.nsec > 0) ? { sec: latest, nsec: 0 } : time;
}

/** A piece of a file that is not only zeros. */
export interface Piece {
  /** Of 64 KiB in the file. */
  index: number;
  map: number;
  /** The pages of `map`, without zeros at the end; borrowed until the next one is asked for. */
  bytes: Uint8Array;
}

/** What a file has, the same however it was written. Fetches what is not here. */
export async function* piecesOf(filesystem: MemoryFileSystem, inode: Inode, size: number): AsyncGenerator<Piece> {
  const buffer = new Uint8Array(CHUNK_SIZE);
  let next = 0;
  for (const { start, end } of dataSegments(filesystem, inode, size)) {
    for (let index = Math.max(next, Math.floor(start / CHUNK_SIZE)); index * CHUNK_SIZE < end; index++) {
      next = index + 1;
      const length = Math.min(CHUNK_SIZE, size - index * CHUNK_SIZE);
      const sink = new BytesSink(buffer);
      const count = await whenHere(() => filesystem.read(inode, index * CHUNK_SIZE, length, sink, 0, true));
      const map = squeeze(buffer.fill(0, count));
      if (map) yield { index, map, bytes: buffer.subarray(0, endOf(buffer, map)) };
    }
  }
}

/** Moves the pages that are not zeros to the front. Returns which those are. */
function squeeze(buffer: Uint8Array): number {
  let map = 0;
  let kept = 0;
  for (let page = 0; page < PAGES_PER_CHUNK; page++) {
    const at = page * PAGE_SIZE;
    if (isZero(buffer, at)) continue;
    map |= 1 << page;
    if (kept < at) buffer.copyWithin(kept, at, at + PAGE_SIZE);
    kept += PAGE_SIZE;
  }
  buffer.fill(0, kept);
  return map;
}

function isZero({ buffer, byteOffset }: Uint8Array, at: number): boolean {
  for (const word of new Int32Array(buffer, byteOffset + at, PAGE_SIZE / 4)) if (word !== 0) return false;
  return true;
}

function endOf(buffer: Uint8Array, map: number): number {
  let end = buffer.length;
  while (end > 0 && buffer[end - 1] === 0) end--;
  return map ? end : 0;
}
