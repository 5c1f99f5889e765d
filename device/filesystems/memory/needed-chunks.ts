import { PAGE_SIZE } from '../../bytes.ts';
import { type Chunk, wholePages } from './chunk.ts';
import type { ChunkList } from './chunk-list.ts';

/*
 * Which chunks of a file an action takes bytes from: those have to be here before it begins. All others are read by nobody, as when they are
 * removed, overwritten or shared.
 */

/** Those that have any of bytes `from` to `to`, which are read. */
export function chunksIn(chunks: ChunkList, from: number, to: number): Iterable<Chunk> {
  return chunks.over(Math.floor(from / PAGE_SIZE), Math.ceil(to / PAGE_SIZE));
}

/** Those of which a write to bytes `from` to `to` of a file of this size leaves something. */
export function chunksLeftByWrite(chunks: ChunkList, from: number, to: number, size: number): Chunk[] {
  return atEnds(chunks, from, to).filter((chunk) => !isOverwritten(chunk, from, to, size));
}

/** Whether a write leaves nothing of a chunk but zeros after the end of the file. */
export function isOverwritten(chunk: Chunk, from: number, to: number, size: number): boolean {
  const whole = to < size ? to : Math.ceil(to / PAGE_SIZE) * PAGE_SIZE;
  return (chunk.map & ~pagesIn(chunk, from, whole)) === 0;
}

/** Those of which something goes with bytes `from` to `to`, and something stays. */
export function chunksCutBy(chunks: ChunkList, from: number, to: number): Chunk[] {
  return atEnds(chunks, from, to).filter((chunk) => isTouched(chunk, from, to) && !isWhollyIn(chunk, from, to));
}

/** Those at the ends of bytes `from` to `to` that have pages elsewhere. */
export function chunksReachingOut(chunks: ChunkList, from: number, to: number): Chunk[] {
  return atEnds(chunks, from, to).filter((chunk) => !isWhollyIn(chunk, from, to));
}

/** Those that have holes in bytes `from` to `to`, and pages. */
export function chunksWithHolesIn(chunks: ChunkList, from: number, to: number): Chunk[] {
  return [...chunksIn(chunks, from, to)].filter((chunk) => !isFull(chunk, from, to));
}

/** Those that begin before one of these pages, and reach over it. */
export function chunksAcross(chunks: ChunkList, ...pages: number[]): Chunk[] {
  return pages.flatMap((page) => {
    const chunk = chunks.at(page);
    return chunk && chunk.at !== page ? [chunk] : [];
  });
}

/** Whether a chunk has any page that is in bytes `from` to `to` or reaches into them. */
function isTouched(chunk: Chunk, from: number, to: number): boolean {
  const [start, end] = within(chunk, from, to);
  return end > start && chunk.allocated(start, end) > 0;
}

/** Whether a chunk has all pages that bytes `from` to `to` take of it. */
export function isFull(chunk: Chunk, from: number, to: number): boolean {
  const [start, end] = within(chunk, from, to);
  return chunk.allocated(start, end) === Math.ceil(end / PAGE_SIZE) - Math.floor(start / PAGE_SIZE);
}

/** Pages of a range that have no storage yet. */
export function missingPages(chunks: ChunkList, from: number, to: number): number {
  const first = Math.floor(from / PAGE_SIZE);
  const end = Math.ceil(to / PAGE_SIZE);
  let missing = end - first;
  const chunk = chunks.at(first);
  if (chunk && chunk.end >= end)
    return missing - chunk.allocated(from - chunk.at * PAGE_SIZE, to - chunk.at * PAGE_SIZE);
  for (const chunk of chunks.over(first, end)) {
    const base = chunk.at * PAGE_SIZE;
    missing -= chunk.allocated(Math.max(0, from - base), Math.min(chunk.length * PAGE_SIZE, to - base));
  }
  return missing;
}

/** A part of what is copied that is in one chunk, or in none, of its source. Bytes of the files. */
export interface Piece {
  chunk: Chunk | undefined;
  from: number;
  to: number;
  length: number;
  /** It becomes a chunk of the target as it is. */
  isShared: boolean;
}

/** What a copy of up to `count` bytes from a file with these chunks begins with. */
export function copyPiece(chunks: ChunkList, from: number, to: number, count: number): Piece {
  const page = Math.floor(from / PAGE_SIZE);
  const chunk = chunks.at(page);
  const end = chunk?.end ?? chunks.atOrAfter(page)?.at ?? Infinity;
  const length = Math.min(count, end * PAGE_SIZE - from);
  const isShared = chunk !== undefined && to % PAGE_SIZE === 0 && length === chunk.length * PAGE_SIZE;
  return { chunk, from, to, length, isShared };
}

function isWhollyIn(chunk: Chunk, from: number, to: number): boolean {
  return (chunk.map & ~pagesIn(chunk, from, to)) === 0;
}

function pagesIn(chunk: Chunk, from: number, to: number): number {
  return wholePages(...within(chunk, from, to));
}

/** Bytes of a file as bytes of a chunk, as far as they are in it. */
function within({ at, length }: Chunk, from: number, to: number): [start: number, end: number] {
  const clip = (offset: number) => Math.min(Math.max(0, offset - at * PAGE_SIZE), length * PAGE_SIZE);
  return [clip(from), clip(to)];
}

function atEnds(chunks: ChunkList, from: number, to: number): Chunk[] {
  const first = chunks.at(Math.floor(from / PAGE_SIZE));
  const last = chunks.at(Math.ceil(to / PAGE_SIZE) - 1);
  return [...(first ? [first] : []), ...(last && last !== first ? [last] : [])];
}
