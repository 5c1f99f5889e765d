import { type ByteSink, copyOf, PAGE_SIZE } from '../../bytes.ts';
import type { AbsentBytes } from '../../fs/origin.ts';

const PAGE_SHIFT = 12;
export const PAGES_PER_CHUNK = 16;
export const CHUNK_SIZE = PAGES_PER_CHUNK * PAGE_SIZE;
const SMALLEST = 64;
const EMPTY = new Uint8Array(0);
const ZEROS = new Uint8Array(CHUNK_SIZE);
/** In the place of the bytes of a chunk that are not here. */
export const ABSENT = new Uint8Array(0);
/** In the place of an epoch: never. */
const NEVER = 0;

/**
 * Up to 64 KiB of a file, {@link length} pages from page {@link at} on. Only pages that were written or allocated have storage: bit n of `map` says
 * that page n has, and `bytes` holds those pages one after the other, without the holes. Where
 * `bytes` ends early the rest is zeros, so a small file costs little and preallocation nothing.
 *
 * One whose bytes an origin has is never written: who changes it makes a copy. They are here when {@link FetchedContent} has seen to that, for
 * what is done at once.
 */
export class Chunk {
  /** The page of the file that it begins at: a multiple of 16, until ranges are inserted or collapsed before it. */
  at: number;
  /** In pages, up to 16. */
  readonly length: number;
  /** Never changed while {@link mayWrite} is false: it may be a snapshot's too. {@link ABSENT} when it is elsewhere. */
  bytes: Uint8Array;
  map: number;
  /** When it may be written. */
  #epoch: number;
  /** What an origin has in the place of `bytes`. */
  readonly origin: AbsentBytes | undefined;

  constructor(at: number, length: number, bytes: Uint8Array, map: number, epoch: number, origin?: AbsentBytes) {
    this.at = at;
    this.length = length;
    this.bytes = bytes;
    this.map = map;
    this.#epoch = epoch;
    this.origin = origin;
  }

  /** One that is never written: another file, or an origin, has the same. */
  static shared(at: number, length: number, content: Uint8Array | AbsentBytes, map: number): Chunk {
    return content instanceof Uint8Array
      ? new Chunk(at, length, content, map, NEVER)
      : new Chunk(at, length, ABSENT, map, NEVER, content);
  }

  static empty(at: number, length: number, epoch: number): Chunk {
    return new Chunk(at, length, EMPTY, 0, epoch);
  }

  /** The page after its last. */
  get end(): number {
    return this.at + this.length;
  }

  get pages(): number {
    return countBits(this.map);
  }

  /** Whether all its pages have storage. */
  get full(): boolean {
    return this.map === bit(this.length) - 1;
  }

  mayWrite(epoch: number): boolean {
    return this.#epoch === epoch;
  }

  /** The same content at page `at`, maybe of another file. Neither is written from now on. */
  share(at: number): Chunk {
    this.#epoch = NEVER;
    // Bytes of an origin are lent to one chunk at a time, and taken back from there.
    return new Chunk(at, this.length, this.origin ? ABSENT : this.bytes, this.map, NEVER, this.origin);
  }

  /** A chunk with the same pages as far as `map` names them, to be written in `epoch`. */
  copy(epoch: number, map = this.map): Chunk {
    return new Chunk(this.at, this.length, this.#repack(map, 0), map, epoch);
  }

  /** Its pages `from` to before `to` as a chunk of their own, to be written in `epoch`. */
  part(from: number, to: number, epoch: number): Chunk {
    this.#checkHere();
    const map = this.map & (bit(to) - bit(from));
    const start = countBits(this.map & (bit(from) - 1)) * PAGE_SIZE;
    const bytes = copyOf(this.bytes.subarray(start, start + countBits(map) * PAGE_SIZE));
    return new Chunk(this.at + from, to - from, bytes, map >>> from, epoch);
  }

  /** Gives back room beyond its pages. */
  trim(): void {
    const used = this.pages * PAGE_SIZE;
    if (used < this.bytes.length) this.bytes = copyOf(this.bytes.subarray(0, used));
  }

  /** Copies bytes `from` to `to` of the chunk into `sink`; returns the count, short when the sink ends. */
  read(from: number, to: number, sink: ByteSink, position: number): number {
    this.#checkHere();
    let at = from;
    while (at < to) {
      const page = at >>> PAGE_SHIFT;
      const map = this.map >>> page;
      const present = (map & 1) === 1;
      const run = present ? trailingZeros(~map) : map === 0 ? PAGES_PER_CHUNK : trailingZeros(map);
      const end = Math.min(to, (page + run) << PAGE_SHIFT);
      const start = present ? this.#position(at) : 0;
      const stored = present ? Math.max(0, Math.min(end - at, this.bytes.length - start)) : 0;
      let copied = stored ? sink.writeAt(position, this.bytes, start, stored) : 0;
      if (copied === stored && stored < end - at) copied += writeZeros(sink, position + stored, end - at - stored);
      at += copied;
      position += copied;
      if (at < end) break;
    }
    return at - from;
  }

  /**
   * Allocates the pages of bytes `from` to `to` and makes room for those bytes; returns where in
   * `bytes` they are, all in one run. Only for a chunk that may be written. `whole`: make room for
   * the whole chunk at once, a sequential writer is about to fill it.
   */
  reserve(from: number, to: number, whole: boolean): number {
    const added = maskOf(from, to) & ~this.map;
    const map = this.map | added;
    const inserted = added !== 0 && (added & -added) < this.map;
    const start = countBits(map & (bit(from >>> PAGE_SHIFT) - 1)) * PAGE_SIZE + (from & (PAGE_SIZE - 1));
    const need = whole ? this.length * PAGE_SIZE : start + (to - from);
    if (inserted) this.bytes = this.#repack(map, need);
    else if (this.bytes.length < need) this.bytes = grown(this.bytes, need);
    this.map = map;
    return start;
  }

  /** Allocates pages without storage: they read as zeros. Only for a chunk that may be written. */
  preallocate(from: number, to: number): void {
    const map = this.map | maskOf(from, to);
    const added = map & ~this.map;
    if (added !== 0 && (added & -added) < this.map) this.bytes = this.#repack(map, 0);
    this.map = map;
  }

  /** Makes bytes `from` to `to`, within one page, zeros. Only for a chunk that may be written. */
  zero(from: number, to: number): void {
    if (!(this.map & bit(from >>> PAGE_SHIFT))) return;
    const start = this.#position(from);
    this.bytes.fill(0, Math.min(start, this.bytes.length), Math.min(start + to - from, this.bytes.length));
  }

  /** How many pages of bytes `from` to `to` are allocated. */
  allocated(from: number, to: number): number {
    return countBits(this.map & maskOf(from, to));
  }

  /** The first byte at or after `from` that is in an allocated page (or, with `hole`, is in none); undefined when there is none. */
  find(from: number, hole: boolean): number | undefined {
    const page = from >>> PAGE_SHIFT;
    const map = ((hole ? ~this.map & (bit(this.length) - 1) : this.map) >>> page) << page;
    if (map === 0) return undefined;
    const found = trailingZeros(map);
    return found === page ? from : found << PAGE_SHIFT;
  }

  /** The stored part of page `page`, borrowed: shorter than a page where the rest is zeros. */
  page(page: number): Uint8Array {
    this.#checkHere();
    const start = this.#position(page << PAGE_SHIFT);
    return this.bytes.subarray(Math.min(start, this.bytes.length), Math.min(start + PAGE_SIZE, this.bytes.length));
  }

  /** The stored bytes without spare room, borrowed, or what an origin has in their place. */
  stored(): Uint8Array | AbsentBytes {
    if (this.origin) return this.origin;
    return this.bytes.length > this.pages * PAGE_SIZE ? this.bytes.subarray(0, this.pages * PAGE_SIZE) : this.bytes;
  }

  /** Zeros instead of what is not here would be found much later. */
  #checkHere(): void {
    if (this.bytes === ABSENT) throw new Error('content was used that has not been fetched');
  }

  #position(at: number): number {
    return countBits(this.map & (bit(at >>> PAGE_SHIFT) - 1)) * PAGE_SIZE + (at & (PAGE_SIZE - 1));
  }

  /** `bytes` laid out for `map`, in a fresh array of at least `need` bytes. */
  #repack(map: number, need: number): Uint8Array {
    const kept = map & this.map;
    let used = need;
    for (let page = 0; page < PAGES_PER_CHUNK; page++) {
      if (!(kept & bit(page))) continue;
      const length = this.page(page).length;
      if (length) used = Math.max(used, countBits(map & (bit(page) - 1)) * PAGE_SIZE + length);
    }
    const bytes = new Uint8Array(capacityFor(used));
    for (let page = 0; page < PAGES_PER_CHUNK; page++) {
      const stored = kept & bit(page) ? this.page(page) : EMPTY;
      // Even an empty array must not be set beyond the end.
      if (stored.length) bytes.set(stored, countBits(map & (bit(page) - 1)) * PAGE_SIZE);
    }
    return bytes;
  }
}

/** Writes zeros into `sink`; returns the count, short when the sink ends. */
export function writeZeros(sink: ByteSink, position: number, length: number): number {
  let done = 0;
  while (done < length) {
    const piece = Math.min(length - done, ZEROS.length);
    const copied = sink.writeAt(position + done, ZEROS, 0, piece);
    done += copied;
    if (copied < piece) break;
  }
  return done;
}

/** Bits of the pages that bytes `from` to `to` touch. */
function maskOf(from: number, to: number): number {
  const first = from >>> PAGE_SHIFT;
  const last = (to - 1) >>> PAGE_SHIFT;
  return ((2 << last) - 1) & ~(bit(first) - 1);
}

/** Bits of the pages that lie wholly in bytes `from` to `to`. */
export function wholePages(from: number, to: number): number {
  const first = (from + PAGE_SIZE - 1) >>> PAGE_SHIFT;
  const end = to >>> PAGE_SHIFT;
  return end > first ? (bit(end) - 1) & ~(bit(first) - 1) : 0;
}

function grown(bytes: Uint8Array, need: number): Uint8Array {
  const larger = new Uint8Array(capacityFor(need));
  larger.set(bytes);
  return larger;
}

/** The next power of two within a page, and whole pages: there is never much more room than what is charged. */
function capacityFor(need: number): number {
  if (need === 0) return 0;
  if (need > PAGE_SIZE) return (need + PAGE_SIZE - 1) & -PAGE_SIZE;
  return need <= SMALLEST ? SMALLEST : 2 ** (32 - Math.clz32(need - 1));
}

function bit(page: number): number {
  return 1 << page;
}

export function countBits(map: number): number {
  let bits = map - ((map >>> 1) & 0x5555);
  bits = (bits & 0x3333) + ((bits >>> 2) & 0x3333);
  bits = (bits + (bits >>> 4)) & 0x0f0f;
  return (bits + (bits >>> 8)) & 0x1f;
}

function trailingZeros(map: number): number {
  return 31 - Math.clz32(map & -map);
}
