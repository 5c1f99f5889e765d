import { type ByteSink, type ByteSource, BytesSink, BytesSource, copyOf, PAGE_SIZE } from '../../bytes.ts';
import {
  FALLOC_FL_COLLAPSE_RANGE,
  FALLOC_FL_INSERT_RANGE,
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
} from '../../fs/constants.ts';
import { EINVAL, ENOSPC, EOPNOTSUPP, FsError } from '../../fs/errno.ts';
import type { AbsentBytes } from '../../fs/origin.ts';
import { CHUNK_SIZE, Chunk, countBits, PAGES_PER_CHUNK, wholePages, writeZeros } from './chunk.ts';
import { ChunkList } from './chunk-list.ts';
import {
  chunksAcross,
  chunksCutBy,
  chunksLeftByWrite,
  chunksReachingOut,
  chunksWithHolesIn,
  copyPiece,
  isFull,
  isOverwritten,
  missingPages,
  type Piece,
} from './needed-chunks.ts';
import { seekIn } from './seek.ts';
import type { Space } from './space.ts';
import { checkOffset, checkSize, MAX_FILE_SIZE } from './values.ts';

const MAX_PAGE = MAX_FILE_SIZE / PAGE_SIZE;
/** What one copy may move, in bytes, and how many chunks it may go through: then it is short, and the caller goes on. */
const COPY_BYTES = 8 << 20;
const COPY_CHUNKS = 8192;
/** How much of it is fetched at once, in bytes. */
const COPY_AHEAD = 1 << 20;

/** What a file has that was never written. */
const NONE = new ChunkList();

/**
 * The bytes of one file: chunks of up to 64 KiB where something was written, nothing elsewhere. What has storage is
 * counted in {@link Space}, by pages. To insert or collapse a range moves the chunks after it, and copies none of them.
 */
export class Content {
  readonly #space: Space;
  #size = 0;
  #pages = 0;
  #chunks = NONE;

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
    const { fetched } = this.#space;
    if (fetched && offset < end) fetched.needForRead(this.#chunks, offset, end, this.#size);
    let at = offset;
    while (at < end) {
      const page = Math.floor(at / PAGE_SIZE);
      const chunk = this.#chunks.at(page);
      const stop = Math.min(end, (chunk?.end ?? this.#next(page)) * PAGE_SIZE);
      const base = chunk ? chunk.at * PAGE_SIZE : 0;
      const copied = chunk ? chunk.read(at - base, stop - base, sink, position) : writeZeros(sink, position, stop - at);
      position += copied;
      at += copied;
      if (at < stop) break;
    }
    return Math.max(0, at - offset);
  }

  /** Takes up to `length` bytes from `source`; returns the count. @throws FsError ENOSPC, EFBIG, EINVAL, with nothing written. */
  write(offset: number, length: number, source: ByteSource): number {
    const end = offset + Math.min(length, source.remaining);
    checkOffset(offset);
    if (end === offset) return 0;
    checkSize(end);
    this.#space.fetched?.need(chunksLeftByWrite(this.#chunks, offset, end, this.#size));
    this.#take(missingPages(this.#chunks, offset, end));
    let at = offset;
    while (at < end) {
      const page = Math.floor(at / PAGE_SIZE);
      const chunk = this.#writable(page, at, end);
      const from = at - chunk.at * PAGE_SIZE;
      const to = Math.min(chunk.length * PAGE_SIZE, from + end - at);
      const start = chunk.reserve(from, to, this.#appends(chunk, from, to));
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
    if (size < this.#size) {
      this.#space.fetched?.need(chunksCutBy(this.#chunks, size, MAX_FILE_SIZE));
      this.#discard(size, MAX_FILE_SIZE);
    }
    this.#size = size;
  }

  /** Gives all storage back. */
  clear(): void {
    this.#give(this.#pages);
    this.#size = 0;
    this.#dropChunks();
  }

  #dropChunks(): void {
    this.#space.fetched?.forget(this.#chunks);
    this.#chunks = NONE;
  }

  /** fallocate(2). @throws FsError EINVAL, EFBIG, ENOSPC, EOPNOTSUPP, with nothing changed. */
  fallocate(offset: number, length: number, mode: number): void {
    checkOffset(offset);
    checkOffset(length);
    if (length === 0) throw FsError.of(EINVAL);
    const end = offset + length;
    checkSize(end);
    const keepSize = (mode & FALLOC_FL_KEEP_SIZE) !== 0;
    const chunks = this.#chunks;
    const { fetched } = this.#space;
    switch (mode & ~FALLOC_FL_KEEP_SIZE) {
      case 0:
        fetched?.need(chunksWithHolesIn(chunks, offset, end));
        this.#preallocate(offset, end);
        if (!keepSize && end > this.#size) this.#size = end;
        return;
      case FALLOC_FL_PUNCH_HOLE:
        if (!keepSize) throw FsError.of(EOPNOTSUPP);
        fetched?.need(chunksCutBy(chunks, offset, end));
        this.#discard(offset, end);
        return;
      case FALLOC_FL_ZERO_RANGE:
        if (missingPages(this.#chunks, offset, end) > this.#space.freePages) throw FsError.of(ENOSPC);
        fetched?.need(chunksReachingOut(chunks, offset, end));
        this.#discard(offset, end);
        this.#preallocate(offset, end);
        if (!keepSize && end > this.#size) this.#size = end;
        return;
      case FALLOC_FL_COLLAPSE_RANGE:
        if (keepSize) throw FsError.of(EINVAL);
        if (offset % PAGE_SIZE || length % PAGE_SIZE || end >= this.#size) throw FsError.of(EINVAL);
        fetched?.need(chunksAcross(chunks, offset / PAGE_SIZE, end / PAGE_SIZE));
        this.#clearPages(offset / PAGE_SIZE, end / PAGE_SIZE);
        this.#chunks.shift(end / PAGE_SIZE, -length / PAGE_SIZE);
        this.#size -= length;
        return;
      case FALLOC_FL_INSERT_RANGE:
        if (keepSize) throw FsError.of(EINVAL);
        if (offset % PAGE_SIZE || length % PAGE_SIZE || offset >= this.#size) throw FsError.of(EINVAL);
        checkSize(this.#size + length);
        fetched?.need([...chunksCutBy(chunks, this.#size, MAX_FILE_SIZE), ...chunksAcross(chunks, offset / PAGE_SIZE)]);
        // What is allocated beyond the size goes, as what would get beyond all files has to.
        this.#discard(this.#size, MAX_FILE_SIZE);
        this.#split(offset / PAGE_SIZE);
        this.#chunks.shift(offset / PAGE_SIZE, length / PAGE_SIZE);
        this.#size += length;
        return;
      default:
        throw FsError.of(EOPNOTSUPP);
    }
  }

  /** As {@link seekIn}. */
  seek(offset: number, whence: number): number {
    return seekIn(this.#chunks, this.#size, offset, whence);
  }

  /**
   * Copies `length` bytes, or up to `source`'s end; returns the count, which may be less. Whole chunks are shared, not
   * copied, and holes stay holes. The ranges do not overlap when `source` is this file.
   *
   * @throws FsError EINVAL, EFBIG; ENOSPC when nothing could be copied, short when something was.
   */
  copyFrom(source: Content, sourceOffset: number, offset: number, length: number): number {
    checkOffset(offset);
    const count = Math.min(length, source.#size - sourceOffset);
    if (count <= 0) return 0;
    checkSize(offset + count);
    let done = 0;
    let copied = 0;
    const { fetched } = this.#space;
    try {
      for (let pieces = 0; done < count && pieces < COPY_CHUNKS && copied < COPY_BYTES; pieces++) {
        const piece = copyPiece(source.#chunks, sourceOffset + done, offset + done, count - done);
        const { chunk, from, to, length, isShared } = piece;
        if (fetched) fetched.need(done ? this.#neededFor(piece) : this.#neededForCopy(source, from, to, count));
        if (!chunk) this.#discard(to, to + length);
        else if (isShared) this.#share(chunk, to / PAGE_SIZE);
        else {
          this.#copyPiece(source, from, to, length);
          copied += length;
        }
        done += length;
        if (to + length > this.#size) this.#size = to + length;
      }
    } catch (error) {
      if (done === 0) throw error;
    }
    return done;
  }

  /** What a copy takes, as far as is fetched at once: after that it is short, as far as it would have to wait. */
  #neededForCopy(source: Content, from: number, to: number, count: number): Chunk[] {
    const needed: Chunk[] = [];
    for (let done = 0; done < Math.min(count, COPY_AHEAD); ) {
      const piece = copyPiece(source.#chunks, from + done, to + done, count - done);
      needed.push(...this.#neededFor(piece));
      done += piece.length;
    }
    return needed;
  }

  #neededFor({ chunk, to, length, isShared }: Piece): Chunk[] {
    if (!chunk) return chunksCutBy(this.#chunks, to, to + length);
    if (isShared) return chunksAcross(this.#chunks, to / PAGE_SIZE, (to + length) / PAGE_SIZE);
    return [chunk, ...chunksLeftByWrite(this.#chunks, to, to + length, this.#size)];
  }

  /** The chunks in order, borrowed. Their bytes never change after the next step of {@link Space.epoch}. */
  chunks(): Iterable<Chunk> {
    return this.#chunks.over(0, Infinity);
  }

  /**
   * Replaces everything by what {@link chunks} gave, in order, sharing the bytes (a small part of a large buffer is copied).
   * It has as many pages as {@link Space} counts for it already.
   */
  load(size: number, chunks: readonly { at: number; map: number; bytes: Uint8Array | AbsentBytes }[]): void {
    this.#dropChunks();
    this.#pages = 0;
    chunks.forEach(({ at, map, bytes }, n) => {
      const own = bytes instanceof Uint8Array && bytes.buffer.byteLength > CHUNK_SIZE ? copyOf(bytes) : bytes;
      const chunk = Chunk.shared(at, Math.min(PAGES_PER_CHUNK, (chunks[n + 1]?.at ?? MAX_PAGE) - at), own, map);
      this.#add(chunk);
      this.#pages += chunk.pages;
    });
    this.#size = size;
  }

  #add(chunk: Chunk): void {
    if (this.#chunks === NONE) this.#chunks = new ChunkList();
    this.#chunks.add(chunk);
  }

  #take(pages: number): void {
    this.#space.takePages(pages);
    this.#pages += pages;
  }

  #give(pages: number): void {
    this.#space.givePages(pages);
    this.#pages -= pages;
  }

  /** Makes a range zeros and gives back the pages that are wholly in it. */
  #discard(from: number, to: number): void {
    if (from >= to) return;
    const first = this.#chunks.at(Math.floor(from / PAGE_SIZE));
    if (first) this.#discardIn(first, from, to);
    const last = this.#chunks.at(Math.ceil(to / PAGE_SIZE) - 1);
    if (last && last !== first) this.#discardIn(last, from, to);
    this.#give(
      this.#chunks.remove(first ? first.end : Math.floor(from / PAGE_SIZE), last ? last.at : Math.ceil(to / PAGE_SIZE)),
    );
  }

  #discardIn(chunk: Chunk, from: number, to: number): void {
    const base = chunk.at * PAGE_SIZE;
    const start = Math.max(0, from - base);
    const end = Math.min(chunk.length * PAGE_SIZE, to - base);
    if (chunk.allocated(start, end) === 0) return;
    const freed = wholePages(start, end) & chunk.map;
    const map = chunk.map & ~freed;
    this.#give(countBits(freed));
    if (map === 0) {
      this.#chunks.remove(chunk.at, chunk.at + 1);
      return;
    }
    let kept = chunk;
    if (freed || !chunk.mayWrite(this.#space.epoch)) this.#chunks.replace((kept = chunk.copy(this.#space.epoch, map)));
    if (start % PAGE_SIZE) kept.zero(start, Math.min(end, Math.ceil(start / PAGE_SIZE) * PAGE_SIZE));
    if (end % PAGE_SIZE && Math.floor(end / PAGE_SIZE) >= Math.ceil(start / PAGE_SIZE))
      kept.zero(Math.floor(end / PAGE_SIZE) * PAGE_SIZE, end);
  }

  /** Takes away what is at pages `from` to before `to`, with no chunk left that reaches into them. */
  #clearPages(from: number, to: number): void {
    this.#split(from);
    this.#split(to);
    this.#give(this.#chunks.remove(from, to));
  }

  /** Allocates what a range lacks. @throws FsError ENOSPC, with nothing changed. */
  #preallocate(from: number, to: number): void {
    this.#take(missingPages(this.#chunks, from, to));
    for (let at = from; at < to; ) {
      const page = Math.floor(at / PAGE_SIZE);
      let chunk = this.#chunks.at(page);
      if (!chunk || !isFull(chunk, at, to)) {
        chunk = this.#writable(page, 0, 0);
        const base = chunk.at * PAGE_SIZE;
        chunk.preallocate(at - base, Math.min(to, chunk.end * PAGE_SIZE) - base);
      }
      at = chunk.end * PAGE_SIZE;
    }
  }

  /** Puts what another file has in one chunk at `page`. @throws FsError ENOSPC, with nothing changed. */
  #share(chunk: Chunk, page: number): void {
    const { length, map } = chunk;
    const replaced = length - missingPages(this.#chunks, page * PAGE_SIZE, (page + length) * PAGE_SIZE);
    if (chunk.pages - replaced > this.#space.freePages) throw FsError.of(ENOSPC);
    const shared = chunk.share(page);
    this.#clearPages(page, page + length);
    this.#take(countBits(map));
    this.#add(shared);
  }

  #copyPiece(source: Content, from: number, to: number, length: number): void {
    const bytes = new Uint8Array(length);
    source.read(from, length, new BytesSink(bytes), 0);
    this.write(to, length, new BytesSource(bytes));
  }

  /** Whether a write to a chunk goes on where the one before ended, so that it gets room for the next ones. */
  #appends(chunk: Chunk, from: number, to: number): boolean {
    if (to >= chunk.length * PAGE_SIZE) return false;
    const stored = chunk.bytes.length;
    const goesOn =
      chunk.map === 0
        ? from === 0 && this.#chunks.at(chunk.at - 1)?.full === true
        : to > PAGE_SIZE && from <= stored && to > stored;
    if (goesOn) this.#space.grows(chunk);
    return goesOn;
  }

  /** Where the first chunk from `page` on begins. */
  #next(page: number): number {
    return this.#chunks.atOrAfter(page)?.at ?? Infinity;
  }

  /** Sees to it that no chunk reaches over the beginning of `page`. */
  #split(page: number): void {
    const chunk = this.#chunks.at(page);
    if (!chunk || chunk.at === page) return;
    const { epoch } = this.#space;
    this.#chunks.remove(chunk.at, chunk.at + 1);
    for (const part of [chunk.part(0, page - chunk.at, epoch), chunk.part(page - chunk.at, chunk.length, epoch)])
      if (part.map) this.#add(part);
  }

  /** A chunk with `page` that may be changed. Bytes `from` to `to` of the file are about to be written: what is there of them need not be copied. */
  #writable(page: number, from: number, to: number): Chunk {
    const { epoch } = this.#space;
    const chunk = this.#chunks.at(page);
    if (!chunk) return this.#make(page);
    if (chunk.mayWrite(epoch)) return chunk;
    const fresh = isOverwritten(chunk, from, to, this.#size)
      ? Chunk.empty(chunk.at, chunk.length, epoch)
      : chunk.copy(epoch);
    this.#chunks.replace(fresh);
    return fresh;
  }

  /** A chunk for a hole: of the 16 pages where `page` belongs those that are in none. */
  #make(page: number): Chunk {
    const aligned = page - (page % PAGES_PER_CHUNK);
    const at = Math.max(aligned, this.#chunks.atOrBefore(page)?.end ?? 0);
    const chunk = Chunk.empty(at, Math.min(aligned + PAGES_PER_CHUNK, this.#next(page)) - at, this.#space.epoch);
    this.#add(chunk);
    return chunk;
  }
}
