import { PAGE_SIZE } from '../bytes.ts';
import { SnapshotError } from './errors.ts';
import { PAGES_PER_CHUNK, type RamMap, toHex } from './layer.ts';
import { PageMap } from './ram-map.ts';
import { RamScanner, type WasmRam } from './scan/ram-scanner.ts';
import type { SnapshotStore } from './store/snapshot-store.ts';

/** Where a machine that has never run may have anything in its RAM: the first MiB. */
const FIRMWARE_PAGES = 256;

/** The pages that have changed since the scan before, as they were at one moment. */
export interface ChangedPages {
  /** Page numbers, and the pages' bytes, by chunks. */
  packs: { pages: Uint32Array; bytes: Uint8Array }[];
  zeroed: Uint32Array;
  count: number;
}

export interface FillOptions {
  /** The machine has never run, and its RAM is written while it is read: when that fails the machine is of no use any more. */
  isFresh: boolean;
  /** RAM is as it was at the last scan. */
  isUnchanged: boolean;
}

/** What takes guest RAM to a snapshot's content: first written, while nothing runs, and then taken note of. */
export interface RamFill {
  write(ram: Uint8Array): void;
  settle(): void;
}

/** The RAM of one machine, and where in a store its content at the last scan is. */
export class GuestRam {
  readonly #ram: WasmRam;
  readonly #scanner: RamScanner;
  #map: PageMap;

  constructor(ram: WasmRam) {
    this.#ram = ram;
    this.#scanner = new RamScanner(ram);
    this.#map = new PageMap(this.#scanner.pageCount);
  }

  get pageCount(): number {
    return this.#scanner.pageCount;
  }

  /** Names of the chunks that its content at the last scan is in. */
  get chunks(): string[] {
    return this.#map.chunks;
  }

  /** Forgets where its content is: the next scan finds all of it. */
  forget(): void {
    this.#scanner.forget();
    this.#map = new PageMap(this.pageCount);
  }

  /** Scans, and copies what has changed; synchronous, so between two of the guest's ticks. */
  capture(): ChangedPages {
    const changed = this.#scanner.scan();
    const filled = changed.filter((page) => !this.#scanner.isZero(page));
    const zeroed = changed.filter((page) => this.#scanner.isZero(page));
    const ram = this.#bytes();
    const packs: ChangedPages['packs'] = [];
    for (let from = 0; from < filled.length; from += PAGES_PER_CHUNK) {
      const pages = filled.subarray(from, from + PAGES_PER_CHUNK);
      const bytes = new Uint8Array(pages.length * PAGE_SIZE);
      pages.forEach((page, n) => bytes.set(ram.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), n * PAGE_SIZE));
      packs.push({ pages, bytes });
    }
    return { packs, zeroed, count: changed.length };
  }

  /** Takes note of where captured pages are kept: `keep` gives the hash that names a pack's chunk. Returns the map of all pages. */
  place({ packs, zeroed }: ChangedPages, keep: (bytes: Uint8Array) => Uint8Array): RamMap {
    for (const { pages, bytes } of packs) {
      const chunk = toHex(keep(bytes));
      pages.forEach((page, n) => this.#map.set(page, chunk, n));
    }
    for (const page of zeroed) this.#map.setZero(page);
    return this.#map.encode();
  }

  /** Reads what RAM lacks of `target`, each chunk once. @throws SnapshotError when the store does not have it. */
  async fill(target: PageMap, store: SnapshotStore, { isFresh, isUnchanged }: FillOptions): Promise<RamFill> {
    const pages = this.#differing(target, isUnchanged ? 0 : isFresh ? FIRMWARE_PAGES : target.pageCount);
    const filled = pages.filter((page) => !target.isZero(page));
    const write = isFresh ? await this.#writeNow(target, filled, store) : await writeLater(target, filled, store);
    return {
      write: (ram) => {
        for (const page of pages) if (target.isZero(page)) ram.fill(0, page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
        write?.(ram);
      },
      settle: () => {
        this.#scanner.rescan(pages);
        this.#map = target;
      },
    };
  }

  /** The pages that are not what `target` has; only the first `unknown` ones may have changed since the last scan. */
  #differing(target: PageMap, unknown: number): Uint32Array {
    const changed = new Uint8Array(target.pageCount);
    for (const page of unknown ? this.#scanner.scan(unknown) : []) changed[page] = 1;
    const pages: number[] = [];
    for (let page = 0; page < target.pageCount; page++) {
      if (changed[page] ? !(target.isZero(page) && this.#scanner.isZero(page)) : !target.agrees(this.#map, page))
        pages.push(page);
    }
    return Uint32Array.from(pages);
  }

  /** Reads pages straight into guest RAM. */
  async #writeNow(target: PageMap, filled: Uint32Array, store: SnapshotStore): Promise<undefined> {
    let ram = this.#bytes();
    await readPages(target, filled, store, (page, bytes) => {
      // Wasm memory that has grown has another buffer.
      if (ram.length === 0) ram = this.#bytes();
      ram.set(bytes, page * PAGE_SIZE);
    });
  }

  #bytes(): Uint8Array {
    const { memory, base, size } = this.#ram;
    return new Uint8Array(memory.buffer, base, size);
  }
}

/** Reads pages, each once however many chunks they are scattered over, and returns what puts them into guest RAM. */
async function writeLater(
  target: PageMap,
  filled: Uint32Array,
  store: SnapshotStore,
): Promise<(ram: Uint8Array) => void> {
  const staged = new Uint8Array(filled.length * PAGE_SIZE);
  const slots = new Uint32Array(target.pageCount);
  filled.forEach((page, slot) => {
    slots[page] = slot;
  });
  await readPages(target, filled, store, (page, bytes) => staged.set(bytes, slots[page]! * PAGE_SIZE));
  return (ram) => {
    for (const { first, count } of runsOf(filled)) {
      const at = slots[first]! * PAGE_SIZE;
      ram.set(staged.subarray(at, at + count * PAGE_SIZE), first * PAGE_SIZE);
    }
  };
}

/** Gives what pages are to hold to `put`, several at once where they lie together there and in their chunk. */
async function readPages(
  target: PageMap,
  filled: Uint32Array,
  store: SnapshotStore,
  put: (first: number, bytes: Uint8Array) => void,
): Promise<void> {
  const wanted = new Map<string, number[]>();
  for (const page of filled) {
    const name = target.chunkOf(page);
    const pages = wanted.get(name);
    if (pages) pages.push(page);
    else wanted.set(name, [page]);
  }
  await store.visit(wanted.keys(), (name, bytes) => {
    const pages = wanted.get(name)!;
    for (const { first, count } of runsOf(pages, (page) => target.offsetOf(page) / PAGE_SIZE)) {
      const from = target.offsetOf(first);
      const to = from + count * PAGE_SIZE;
      if (to > bytes.length)
        throw new SnapshotError(`the snapshot is damaged: its chunk ${name.slice(0, 12)} lacks some pages`);
      put(first, bytes.subarray(from, to));
    }
  });
}

/** Pages that follow each other, and whose `positions` do, as runs. */
function* runsOf(
  pages: ArrayLike<number>,
  position: (page: number) => number = (page) => page,
): Generator<{ first: number; count: number }> {
  for (let from = 0; from < pages.length; ) {
    const first = pages[from]!;
    let to = from + 1;
    while (to < pages.length && pages[to] === first + to - from && position(pages[to]!) === position(first) + to - from)
      to++;
    yield { first, count: to - from };
    from = to;
  }
}
