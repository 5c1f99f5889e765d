import { BytesSource } from '../bytes.ts';
import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import type { Inode } from '../filesystems/memory/inode.ts';
import { SEEK_DATA, SEEK_HOLE } from '../fs/constants.ts';
import { ENXIO, FsError } from '../fs/errno.ts';

/** What holes are looked for in, in bytes: a page of the filesystem. */
const BLOCK = 4096;
/**
 * The largest file that is written to a host or into an archive by default, holes included. A guest can make one of
 * 8 PiB that takes nothing; whatever reads it as it stands, a backup say, never ends.
 */
export const MAX_FILE_LENGTH = 1024 ** 4;

/** A part of a file that holds data, in bytes. */
export interface Segment {
  start: number;
  end: number;
}

/** The parts of the first `size` bytes of a file that are no holes, in order. */
export function* dataSegments(filesystem: MemoryFileSystem, inode: Inode, size: number): Generator<Segment> {
  for (let at = 0; at < size; ) {
    let start: number;
    try {
      start = filesystem.lseek(inode, at, SEEK_DATA);
    } catch (error) {
      if (error === FsError.of(ENXIO)) return;
      throw error;
    }
    if (start >= size) return;
    const end = Math.min(size, filesystem.lseek(inode, start, SEEK_HOLE));
    yield { start, end };
    at = end;
  }
}

/** Fills a file from its beginning, with holes. */
export class SparseWriter {
  readonly #filesystem: MemoryFileSystem;
  readonly #inode: Inode;
  #size = 0;

  constructor(filesystem: MemoryFileSystem, inode: Inode) {
    this.#filesystem = filesystem;
    this.#inode = inode;
  }

  /** Bytes so far, holes included. */
  get size(): number {
    return this.#size;
  }

  /** `bytes` are copied. @throws FsError ENOSPC, EFBIG. */
  write(bytes: Uint8Array): void {
    if (bytes.length) this.#filesystem.write(this.#inode, this.#size, bytes.length, new BytesSource(bytes));
    this.#size += bytes.length;
  }

  /** As {@link write}; whole blocks of zeros become holes. `bytes` begin and end at blocks, but for the last ones. */
  writeSparse(bytes: Uint8Array): void {
    let start = 0;
    for (let at = 0; at < bytes.length; at += BLOCK) {
      const end = Math.min(bytes.length, at + BLOCK);
      if (!isZero(bytes.subarray(at, end))) continue;
      this.write(bytes.subarray(start, at));
      this.skip(end - at);
      start = end;
    }
    this.write(bytes.subarray(start));
  }

  /** Leaves a hole. */
  skip(length: number): void {
    this.#size += length;
  }

  /** Gives the file its size, which ends in a hole maybe. @throws FsError EFBIG. */
  end(): void {
    if (this.#filesystem.getattr(this.#inode).size !== this.#size)
      this.#filesystem.setattr(this.#inode, { size: this.#size });
  }
}

function isZero(bytes: Uint8Array): boolean {
  let at = 0;
  if (bytes.byteOffset % 4 === 0) {
    const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    for (const word of words) if (word !== 0) return false;
    at = words.length * 4;
  }
  for (; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}
