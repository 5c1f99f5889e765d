import { PAGE_SIZE } from '../bytes.ts';
import { fromU32, hashNames, PAGES_PER_CHUNK, type RamMap, toU32 } from './layer.ts';

/** What travels in one chunk: 256 KiB. */
export const CHUNK_BYTES = PAGES_PER_CHUNK * PAGE_SIZE;

/**
 * Where the content of each page of guest RAM is: a page of a chunk, or nowhere for zeros. Chunks
 * are numbered as they come; those that no page names any more are left out when it is saved.
 */
export class PageMap {
  readonly pageCount: number;
  /** 0 for a page of zeros; else 1 + chunk number × 64 + page in the chunk. */
  readonly #places: Uint32Array;
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();

  constructor(pageCount: number) {
    this.pageCount = pageCount;
    this.#places = new Uint32Array(pageCount);
  }

  static decode(ram: RamMap): PageMap {
    const map = new PageMap(ram.pageCount);
    const names = hashNames(ram.used);
    const [first, count, chunk, page] = [fromU32(ram.first), fromU32(ram.count), fromU32(ram.chunk), fromU32(ram.page)];
    first.forEach((start, run) => {
      for (let n = 0; n < count[run]!; n++) map.set(start + n, names[chunk[run]!]!, page[run]! + n);
    });
    return map;
  }

  set(page: number, chunk: string, pageInChunk: number): void {
    let number = this.#numbers.get(chunk);
    if (number === undefined) {
      number = this.#names.push(chunk) - 1;
      this.#numbers.set(chunk, number);
    }
    this.#places[page] = 1 + number * PAGES_PER_CHUNK + pageInChunk;
  }

  setZero(page: number): void {
    this.#places[page] = 0;
  }

  isZero(page: number): boolean {
    return this.#places[page] === 0;
  }

  /** The chunks that pages are in. */
  get chunks(): string[] {
    const numbers = new Set<number>();
    for (const place of this.#places) if (place !== 0) numbers.add(Math.floor((place - 1) / PAGES_PER_CHUNK));
    return [...numbers].map((number) => this.#names[number]!);
  }

  /** The chunk that has a page which is not zeros. */
  chunkOf(page: number): string {
    return this.#names[Math.floor((this.#places[page]! - 1) / PAGES_PER_CHUNK)]!;
  }

  /** Where in that chunk the page is, in bytes. */
  offsetOf(page: number): number {
    return ((this.#places[page]! - 1) % PAGES_PER_CHUNK) * PAGE_SIZE;
  }

  /** Whether a page has the same place, and so the same content, in both maps. */
  agrees(other: PageMap, page: number): boolean {
    if (this.isZero(page) || other.isZero(page)) return this.isZero(page) === other.isZero(page);
    return this.offsetOf(page) === other.offsetOf(page) && this.chunkOf(page) === other.chunkOf(page);
  }

  /** The map as it is saved. */
  encode(): RamMap {
    const columns = { first: [] as number[], count: [] as number[], chunk: [] as number[], page: [] as number[] };
    const used = new Map<number, number>();
    for (let page = 0; page < this.pageCount; ) {
      const place = this.#places[page]!;
      if (place === 0) {
        page++;
        continue;
      }
      const first = page;
      const number = Math.floor((place - 1) / PAGES_PER_CHUNK);
      const room = PAGES_PER_CHUNK - ((place - 1) % PAGES_PER_CHUNK);
      while (++page < this.pageCount && page - first < room && this.#places[page] === place + (page - first)) continue;
      if (!used.has(number)) used.set(number, used.size);
      columns.first.push(first);
      columns.count.push(page - first);
      columns.chunk.push(used.get(number)!);
      columns.page.push((place - 1) % PAGES_PER_CHUNK);
    }
    const hashes = new Uint8Array(used.size * 32);
    for (const [number, index] of used)
      hashes.set(
        Uint8Array.from(this.#names[number]!.match(/../g)!, (pair) => parseInt(pair, 16)),
        index * 32,
      );
    return {
      pageCount: this.pageCount,
      first: toU32(columns.first),
      count: toU32(columns.count),
      chunk: toU32(columns.chunk),
      page: toU32(columns.page),
      used: hashes,
    };
  }
}
