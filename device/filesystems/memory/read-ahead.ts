import { CHUNK_SIZE, type Chunk } from './chunk.ts';
import type { ChunkList } from './chunk-list.ts';
import { chunksIn } from './needed-chunks.ts';

/** Bytes that are expected when a read goes on where the one before ended, at first and at most. */
const FIRST = 128 << 10;
const MOST = 1 << 20;
/** How many files are followed at once. */
const MAX_FILES = 64;
/** A file of at most so many bytes is expected as a whole once a part of it was not here. */
const SMALL = 1 << 20;
/** Of a larger one that is read here and there, as programs are: chunks around what is read, at most, and when a file of that many has been missed so often. */
const AROUND = 8;
const DENSE = 128;

/** How a file is being read. Bytes of it. */
interface Reading {
  /** Where the next read has to begin to go on. */
  next: number;
  /** How much is expected after it. */
  window: number;
  /** Up to where it was told. */
  told: number;
  /** Chunks that were read and not here. */
  missed: number;
}

/** Tells what will be read soon: of files that are read on and on more each time, and around what was read of others the more of them was, up to limits. */
export class ReadAhead {
  readonly #expect: (chunks: Iterable<Chunk>) => void;
  /** By the chunks of the file; what was read last is at the end. */
  readonly #readings = new Map<ChunkList, Reading>();

  constructor(expect: (chunks: Iterable<Chunk>) => void) {
    this.#expect = expect;
  }

  /** Bytes `from` to `to` of a file of this size are about to be read. */
  reads(chunks: ChunkList, from: number, to: number, size: number): void {
    const reading = this.#readings.get(chunks) ?? { next: 0, window: 0, told: 0, missed: 0 };
    const isBehind = to <= reading.next && from >= reading.next - MOST;
    // Those that have waited are asked for again, and guests ask in any order.
    if (isBehind && from < to) return;
    this.#remember(chunks, reading);
    const goesOn = from > 0 && from === reading.next;
    reading.next = to;
    reading.window = goesOn ? Math.min(Math.max(FIRST, 2 * reading.window), MOST) : 0;
    if (!goesOn) {
      reading.told = 0;
      return;
    }
    const begin = Math.max(to, reading.told);
    const end = Math.min(size, Math.ceil((to + reading.window) / CHUNK_SIZE) * CHUNK_SIZE);
    // A little each time would be many requests.
    if (begin >= end || (end < size && end - begin < reading.window / 2)) return;
    reading.told = end;
    this.#expect(chunksIn(chunks, begin, end));
  }

  /** Some of bytes `from` to `to` of a file of this size, which are read, are not here. */
  misses(chunks: ChunkList, from: number, to: number, size: number): void {
    const reading = this.#readings.get(chunks) ?? { next: to, window: 0, told: 0, missed: 0 };
    this.#remember(chunks, reading);
    const { missed } = reading;
    reading.missed += Math.ceil((to - from) / CHUNK_SIZE);
    if (size <= SMALL) {
      if (!missed) this.#expect(chunksIn(chunks, 0, size));
      return;
    }
    const around = Math.min(AROUND, missed, Math.floor((DENSE * missed) / Math.ceil(size / CHUNK_SIZE))) * CHUNK_SIZE;
    if (!around) return;
    const end = Math.min(size, Math.ceil(to / around) * around);
    this.#expect(chunksIn(chunks, Math.floor(from / around) * around, end));
  }

  /** These chunks are no file's any more, and kept by nobody. */
  forget(chunks: ChunkList): void {
    this.#readings.delete(chunks);
  }

  #remember(chunks: ChunkList, reading: Reading): void {
    this.#readings.delete(chunks);
    this.#readings.set(chunks, reading);
    if (this.#readings.size > MAX_FILES) this.#readings.delete(this.#readings.keys().next().value!);
  }
}
