import type { ByteSink, ByteSource } from '../../bytes.ts';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  SEEK_DATA,
  SEEK_HOLE,
} from '../constants.ts';
import { EINVAL, ENOSPC, ENXIO, EOPNOTSUPP, FsError } from '../errno.ts';
import { BytesSink, BytesSource } from './byte-io.ts';
import { CHUNK_SIZE, Chunk, PAGES_PER_CHUNK, countBits, wholePages, writeZeros } from './chunk.ts';
import { PAGE_SIZE, type Space } from './space.ts';
import { checkOffset, checkSize, MAX_FILE_SIZE } from './values.ts';

const MAX_INDEX = MAX_FILE_SIZE / CHUNK_SIZE;

/**
 * The bytes of one file: chunks of 64 KiB where something was written, nothing elsewhere. What has
 * storage is counted in {@link Space}, by pages.
 */
export class Content {
  readonly #space: Space;
  #size = 0;
  #pages = 0;
  /** Chunk 0, which is all that most files have. */
  #first: Chunk | undefined;
  #rest: Map<number, Chunk> | undefined;
  /** Indices of all chunks in order; undefined when chunks came or went since it was made. */
  #order: number[] | undefined;

  constructor(space: Space) {
    this.#space = space;
  }

  /** In bytes. */
  get size(): number {
    return this.#size;
  }

  /** Allocated pages. */
  get pages(): number {
    return this.#pages;
  }

  /** Copies up to `length` bytes from `offset` into `sink`; returns the count, short at the end of file or sink. */
  read(offset: number, length: number, sink: ByteSink, position: number): number {
    const end = Math.min(this.#size, offset + length);
    let at = offset;
    while (at < end) {
      const index = Math.floor(at / CHUNK_SIZE);
      const from = at - index * CHUNK_SIZE;
      const to = Math.min(CHUNK_SIZE, from + end - at);
      const chunk = this.#chunk(index);
      const copied = chunk ? chunk.read(from, to, sink, position) : writeZeros(sink, position, to - from);
      at += copied;
      position += copied;
      if (copied < to - from) break;
    }
    return Math.max(0, at - offset);
  }

  /** Takes up to `length` bytes from `source`; returns the count. @throws FsError ENOSPC, EFBIG, with nothing written. */
  write(offset: number, length: number, source: ByteSource): number {
    const end = offset + Math.min(length, source.remaining);
    checkOffset(offset);
    if (end === offset) return 0;
    checkSize(end);
    this.#take(this.#missing(offset, end));
    let at = offset;
    while (at < end) {
      const index = Math.floor(at / CHUNK_SIZE);
      const from = at - index * CHUNK_SIZE;
      const to = Math.min(CHUNK_SIZE, from + end - at);
      const chunk = this.#writable(index, to - from === CHUNK_SIZE);
      const sequential = from === 0 && index > 0 && chunk.map === 0 && this.#chunk(index - 1)?.full === true;
      const start = chunk.reserve(from, to, sequential);
      const copied = source.read(chunk.bytes, start, to - from);
      at += copied;
      if (copied < to - from) break;
    }
    if (at > this.#size) this.#size = at;
    return at - offset;
  }

  /** @throws FsError EINVAL, EFBIG. */
  truncate(size: number): void {
    checkSize(size);
    if (size < this.#size) this.#discard(size, MAX_FILE_SIZE);
    this.#size = size;
  }

  /** Gives all storage back. */
  clear(): void {
    this.#space.givePages(this.#pages);
    this.#pages = 0;
    this.#size = 0;
    this.#first = this.#rest = this.#order = undefined;
  }

  /** fallocate(2). @throws FsError EINVAL, EFBIG, ENOSPC, EOPNOTSUPP, with nothing changed. */
  fallocate(offset: number, length: number, mode: number): void {
    checkOffset(offset);
    checkOffset(length);
    if (length === 0) throw FsError.of(EINVAL);
    const end = offset + length;
    checkSize(end);
    const keepSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
      case 0:
        this.#take(this.#missing(offset, end));
        this.#preallocate(offset, end);
        if (!keepSize && end > this.#size) this.#size = end;
        return;
      case FALLOC_FL_PUNCH_HOLE:
        if (!keepSize) throw FsError.of(EOPNOTSUPP);
        this.#discard(offset, end);
        return;
      case FALLOC_FL_ZERO_RANGE:
        if (this.#missing(offset, end) > this.#space.freePages) throw FsError.of(ENOSPC);
        this.#discard(offset, end);
        this.#take(this.#missing(offset, end));
        this.#preallocate(offset, end);
        if (!keepSize && end > this.#size) this.#size = end;
        return;
      case FALLOC_FL_COLLAPSE_RANGE:
        if (keepSize) throw FsError.of(EINVAL);
        if (offset % PAGE_SIZE || length % PAGE_SIZE || end >= this.#size) throw FsError.of(EINVAL);
        this.#discard(offset, end);
        this.#shift(end, -length);
        this.#size -= length;
        return;
      case FALLOC_FL_INSERT_RANGE:
        if (keepSize) throw FsError.of(EINVAL);
        if (offset % PAGE_SIZE || length % PAGE_SIZE || offset >= this.#size) throw FsError.of(EINVAL);
        checkSize(this.#size + length);
        this.#shift(offset, length);
        this.#size += length;
        return;
      default:
        throw FsError.of(EOPNOTSUPP);
    }
  }

  /** lseek(2) with SEEK_DATA or SEEK_HOLE; the end of file is a hole. @throws FsError ENXIO, EINVAL. */
  seek(offset: number, whence: number): number {
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) throw FsError.of(EINVAL);
    if (offset < 0 || offset >= this.#size) throw FsError.of(ENXIO);
    const hole = whence === SEEK_HOLE;
    let expected = Math.floor(offset / CHUNK_SIZE);
    let from = offset - expected * CHUNK_SIZE;
    for (const index of this.#indices(expected, MAX_INDEX)) {
      if (hole && index > expected) break;
      if (index > expected) from = 0;
      const found = this.#chunk(index)!.find(from, hole);
      if (found < CHUNK_SIZE) return this.#found(index * CHUNK_SIZE + found, hole);
      expected = index + 1;
      from = 0;
    }
    return this.#found(hole ? Math.max(offset, expected * CHUNK_SIZE) : Infinity, hole);
  }

  /**
   * Copies `length` bytes, or up to `source`'s end; returns the count. Whole chunks are shared, not
   * copied, and holes stay holes. The ranges do not overlap when `source` is this file.
   *
   * @throws FsError EFBIG, ENOSPC when nothing could be copied; short when something was.
   */
  copyFrom(source: Content, sourceOffset: number, offset: number, length: number): number {
    const count = Math.min(length, source.#size - sourceOffset);
    if (count <= 0) return 0;
    checkSize(offset + count);
    let done = 0;
    try {
      while (done < count) {
        const from = sourceOffset + done;
        const to = offset + done;
        const sourceIndex = Math.floor(from / CHUNK_SIZE);
        const piece = Math.min(count - done, CHUNK_SIZE - (from % CHUNK_SIZE));
        const chunk = source.#chunk(sourceIndex);
        if (!chunk) this.#copyHole(to, piece);
        else if (piece === CHUNK_SIZE && to % CHUNK_SIZE === 0) this.#share(chunk, to / CHUNK_SIZE);
        else this.#copyPiece(source, from, to, piece);
        done += piece;
        if (to + piece > this.#size) this.#size = to + piece;
      }
    } catch (error) {
      if (done === 0) throw error;
    }
    return done;
  }

  /** The chunks in order, borrowed, never changed after the next step of {@link Space.epoch}. */
  *chunks(): Generator<[index: number, chunk: Chunk]> {
    for (const index of this.#indices(0, MAX_INDEX)) yield [index, this.#chunk(index)!];
  }

  /** Replaces everything by chunks that {@link chunks} gave, sharing their bytes (a small part of a large buffer is copied). The pages are not limited by the quota. */
  load(size: number, chunks: Iterable<readonly [index: number, map: number, bytes: Uint8Array]>): void {
    this.clear();
    for (const [index, map, bytes] of chunks) {
      const own = bytes.buffer.byteLength > CHUNK_SIZE ? bytes.slice() : bytes;
      const chunk = new Chunk(own, map, this.#space.epoch, true);
      this.#put(index, chunk);
      this.#pages += chunk.pages;
      this.#space.pages += chunk.pages;
    }
    this.#size = size;
  }

  #take(pages: number): void {
    this.#space.takePages(pages);
    this.#pages += pages;
  }

  #give(pages: number): void {
    this.#space.givePages(pages);
    this.#pages -= pages;
  }

  #found(at: number, hole: boolean): number {
    if (hole) return Math.min(at, this.#size);
    if (at >= this.#size) throw FsError.of(ENXIO);
    return at;
  }

  /** Pages of a range that have no storage yet. */
  #missing(from: number, to: number): number {
    let missing = Math.ceil(to / PAGE_SIZE) - Math.floor(from / PAGE_SIZE);
    this.#each(from, to, (chunk, start, end) => {
      missing -= chunk.allocated(start, end);
    });
    return missing;
  }

  #each(from: number, to: number, visit: (chunk: Chunk, from: number, to: number, index: number) => void): void {
    const first = Math.floor(from / CHUNK_SIZE);
    const end = Math.ceil(to / CHUNK_SIZE);
    if (end === first + 1) {
      const chunk = this.#chunk(first);
      if (chunk) visit(chunk, from - first * CHUNK_SIZE, to - first * CHUNK_SIZE, first);
      return;
    }
    for (const index of this.#indices(first, end)) {
      const base = index * CHUNK_SIZE;
      visit(this.#chunk(index)!, Math.max(0, from - base), Math.min(CHUNK_SIZE, to - base), index);
    }
  }

  /** Makes a range zeros and gives back the pages that are wholly in it. */
  #discard(from: number, to: number): void {
    this.#each(from, to, (chunk, start, end, index) => {
      const freed = wholePages(start, end) & chunk.map;
      const map = chunk.map & ~freed;
      this.#give(countBits(freed));
      if (map === 0) {
        this.#remove(index);
        return;
      }
      let kept = chunk;
      if (freed || !chunk.mayWrite(this.#space.epoch)) this.#put(index, (kept = chunk.copy(this.#space.epoch, map)));
      if (start % PAGE_SIZE) kept.zero(start, Math.min(end, Math.ceil(start / PAGE_SIZE) * PAGE_SIZE));
      if (end % PAGE_SIZE && Math.floor(end / PAGE_SIZE) >= Math.ceil(start / PAGE_SIZE)) kept.zero(Math.floor(end / PAGE_SIZE) * PAGE_SIZE, end);
    });
  }

  #preallocate(from: number, to: number): void {
    for (let at = from; at < to; ) {
      const index = Math.floor(at / CHUNK_SIZE);
      const base = index * CHUNK_SIZE;
      const end = Math.min(to, base + CHUNK_SIZE);
      this.#writable(index, false).preallocate(at - base, end - base);
      at = end;
    }
  }

  /** Moves all pages from byte `from` on by `distance` bytes. Both are multiples of the page size. */
  #shift(from: number, distance: number): void {
    const moved: { at: number; bytes: Uint8Array }[] = [];
    this.#each(from, MAX_FILE_SIZE, (chunk, start, _end, index) => {
      for (let page = start / PAGE_SIZE; page < PAGES_PER_CHUNK; page++) {
        if (chunk.map & (1 << page)) moved.push({ at: index * CHUNK_SIZE + page * PAGE_SIZE + distance, bytes: chunk.page(page) });
      }
    });
    this.#discard(from, MAX_FILE_SIZE);
    this.#take(moved.length);
    for (const { at, bytes } of moved) {
      const index = Math.floor(at / CHUNK_SIZE);
      const start = at - index * CHUNK_SIZE;
      const chunk = this.#writable(index, false);
      chunk.preallocate(start, start + PAGE_SIZE);
      if (bytes.length === 0) continue;
      const position = chunk.reserve(start, start + bytes.length, false);
      chunk.bytes.set(bytes, position);
    }
  }

  #share(chunk: Chunk, index: number): void {
    const before = this.#chunk(index)?.pages ?? 0;
    this.#take(chunk.pages - before);
    chunk.shared = true;
    this.#put(index, new Chunk(chunk.bytes, chunk.map, this.#space.epoch, true));
  }

  #copyHole(at: number, length: number): void {
    this.#discard(at, at + length);
  }

  #copyPiece(source: Content, from: number, to: number, length: number): void {
    const bytes = new Uint8Array(length);
    source.read(from, length, new BytesSink(bytes), 0);
    this.write(to, length, new BytesSource(bytes));
  }

  #chunk(index: number): Chunk | undefined {
    return index === 0 ? this.#first : this.#rest?.get(index);
  }

  #put(index: number, chunk: Chunk): void {
    if (!this.#chunk(index)) this.#order = undefined;
    if (index === 0) this.#first = chunk;
    else (this.#rest ??= new Map()).set(index, chunk);
  }

  #remove(index: number): void {
    this.#order = undefined;
    if (index === 0) this.#first = undefined;
    else this.#rest!.delete(index);
  }

  /** A chunk that may be changed. `overwrite`: every byte is about to be written, so what is there need not be copied. */
  #writable(index: number, overwrite: boolean): Chunk {
    const chunk = this.#chunk(index);
    const { epoch } = this.#space;
    if (chunk?.mayWrite(epoch)) return chunk;
    const fresh = chunk && !overwrite ? chunk.copy(epoch) : Chunk.empty(epoch);
    this.#put(index, fresh);
    return fresh;
  }

  /** Indices of the chunks from `from` to before `to`, in order. */
  #indices(from: number, to: number): number[] {
    if (!this.#rest) return this.#first && from === 0 && to > 0 ? [0] : [];
    if (to - from <= 32) {
      const found: number[] = [];
      for (let index = from; index < to; index++) if (this.#chunk(index)) found.push(index);
      return found;
    }
    this.#order ??= [...(this.#first ? [0] : []), ...[...this.#rest.keys()].sort((a, b) => a - b)];
    const order = this.#order;
    return order.slice(lowerBound(order, from), lowerBound(order, to));
  }
}

/** The first position in `sorted` whose value is at least `value`. */
function lowerBound(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
