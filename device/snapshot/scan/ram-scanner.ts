import { PAGE_SIZE } from '../../bytes.ts';
import { SCAN_WASM } from './scan-wasm.ts';

type Scan = (base: number, first: number, count: number, seed: bigint) => void;

/** Guest RAM as it is inside an emulator's wasm memory. */
export interface WasmRam {
  readonly memory: WebAssembly.Memory;
  /** Where RAM begins in `memory`, in bytes. */
  readonly base: number;
  /** Bytes, a multiple of 4096. */
  readonly size: number;
}

/**
 * Tells which 4 KiB pages of guest RAM have changed, by a 64-bit hash of each, keyed anew in each
 * process so that no guest can make two pages look alike. It reads RAM where it is and keeps no copy:
 * 8 bytes a page.
 */
export class RamScanner {
  readonly pageCount: number;
  readonly #ram: WasmRam;
  readonly #seed: bigint;
  readonly #scan: Scan;
  /** Two words a page; (0, 0) is a page of zeros, which is what all pages are taken for at first. */
  readonly #hashes: Int32Array;
  readonly #changed: Uint32Array;
  #changedCount = 0;

  constructor(ram: WasmRam) {
    this.#ram = ram;
    this.pageCount = ram.size / PAGE_SIZE;
    this.#hashes = new Int32Array(2 * this.pageCount);
    this.#changed = new Uint32Array(this.pageCount);
    this.#seed = crypto.getRandomValues(new BigInt64Array(1))[0]!;
    const hashes = this.#hashes;
    const page = (index: number, lo: number, hi: number) => {
      if (hashes[2 * index] === lo && hashes[2 * index + 1] === hi) return;
      hashes[2 * index] = lo;
      hashes[2 * index + 1] = hi;
      this.#changed[this.#changedCount++] = index;
    };
    const zeros = (first: number, end: number) => {
      for (let index = first; index < end; index++) page(index, 0, 0);
    };
    const { exports } = new WebAssembly.Instance(scanModule(), { host: { memory: ram.memory, page, zeros } });
    this.#scan = exports['scan'] as Scan;
  }

  /** Of the first `count` pages those that are not what they were at the last scan, ascending. Borrowed until the next scan. */
  scan(count = this.pageCount): Uint32Array {
    this.#changedCount = 0;
    this.#scan(this.#ram.base, 0, count, this.#seed);
    return this.#changed.subarray(0, this.#changedCount);
  }

  /** Forgets all: pages are taken for zeros again, as at first. */
  forget(): void {
    this.#hashes.fill(0);
  }

  /** Takes note of `pages` as they are now; the others are taken for unchanged. */
  rescan(pages: Uint32Array): void {
    for (let from = 0; from < pages.length; ) {
      let to = from + 1;
      while (to < pages.length && pages[to] === pages[to - 1]! + 1) to++;
      this.#changedCount = 0;
      this.#scan(this.#ram.base, pages[from]!, to - from, this.#seed);
      from = to;
    }
  }

  /** Whether the page was all zeros at the last scan. */
  isZero(page: number): boolean {
    return this.#hashes[2 * page] === 0 && this.#hashes[2 * page + 1] === 0;
  }
}

let compiled: WebAssembly.Module | undefined;

function scanModule(): WebAssembly.Module {
  return (compiled ??= new WebAssembly.Module(
    Uint8Array.from(atob(SCAN_WASM), (character) => character.charCodeAt(0)),
  ));
}
