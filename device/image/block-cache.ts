import { concat } from '../bytes.ts';
import type { FileStore } from '../snapshot/store/file-store.ts';
import { BLOCK } from './blocks.ts';

/** Bytes that a cache may have. */
const LIMIT = 512 << 20;
/** What others have added is looked for again after so many milliseconds. */
const LISTED_FOR = 2000;
/** Keeps in which order runs were used. */
const ORDER = 'order.json';
/** `KEY-FIRST-COUNT.blocks`: the blocks from FIRST on of the file with this key. */
const NAME = /^([0-9a-f]{64})-(\d{1,9})-(\d{1,4})\.blocks$/;
/** Uses after which the order is written again. */
const USES = 256;

/** Blocks of a file that follow each other. */
interface BlockRun {
  key: string;
  first: number;
  blocks: readonly Uint8Array[];
}

interface Kept {
  name: string;
  key: string;
  first: number;
  count: number;
}

/**
 * Blocks of images in a {@link FileStore}: what was fetched stays there for the next guest, tab or process, up to a limit, and what was not used for
 * the longest time goes. What is damaged in it is found when it is used, as everything is checked then. It never fails: what can't be kept
 * is fetched again.
 */
export class BlockCache {
  readonly #store: FileStore;
  readonly #limit: number;
  /** Used longest ago first. */
  readonly #kept = new Map<string, Kept>();
  /** Which run has a block, by key and number. */
  readonly #places = new Map<string, Map<number, Kept>>();
  #listed = -Infinity;
  #listing: Promise<void> | undefined;
  #size = 0;
  #uses = 0;
  #isFull = false;
  #writing: Promise<void> = Promise.resolve();

  /** `limit`: bytes. Default: 512 MiB. */
  constructor(store: FileStore, { limit = LIMIT }: { limit?: number } = {}) {
    this.#store = store;
    this.#limit = limit;
  }

  /** Whether a block is there, as far as that is known. */
  has(key: string, block: number): boolean {
    return this.#places.get(key)?.has(block) ?? false;
  }

  /** Whether any of these blocks may be there. Others may have added some in the last seconds. */
  mayHave(key: string, blocks: readonly number[]): boolean {
    void this.#refresh().catch(() => {});
    return this.#listed === -Infinity || blocks.some((block) => this.has(key, block));
  }

  /** All of a file that was kept with {@link replace}; undefined when it is not there. */
  async readWhole(key: string): Promise<Uint8Array | undefined> {
    try {
      await this.#refresh();
      const run = this.#places.get(key)?.get(0);
      return run && (await this.#store.read(run.name, 0));
    } catch {
      return undefined;
    }
  }

  /** Whether a file that was kept with {@link replace} begins with these bytes, and has so many. */
  async isSame(key: string, beginning: Uint8Array, length: number): Promise<boolean> {
    const whole = await this.readWhole(key);
    return whole?.length === length && beginning.every((byte, n) => byte === whole[n]);
  }

  /** Whether it has the blocks of a file from `first` to before `end`, as far as that is known. */
  async hasAll(key: string, first: number, end: number): Promise<boolean> {
    await this.#refresh().catch(() => {});
    for (let block = first; block < end; block++) if (!this.has(key, block)) return false;
    return true;
  }

  /** Keeps a file as a whole, in the place of what was kept of it. */
  replace(key: string, bytes: Uint8Array): void {
    this.#later(() => this.forget(key, [...(this.#places.get(key)?.keys() ?? [])]));
    const blocks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; at += BLOCK) blocks.push(bytes.subarray(at, at + BLOCK));
    this.keep({ key, first: 0, blocks });
  }

  /** The blocks of a file that are there; each borrowed. */
  async read(key: string, blocks: readonly number[]): Promise<Map<number, Uint8Array>> {
    const found = new Map<number, Uint8Array>();
    try {
      if (blocks.some((block) => !this.#places.get(key)?.has(block))) await this.#refresh();
      const runs = new Map<Kept, number[]>();
      for (const block of blocks) {
        const run = this.#places.get(key)?.get(block);
        if (run) runs.set(run, [...(runs.get(run) ?? []), block]);
      }
      await Promise.all([...runs].map(([run, wanted]) => this.#readRun(run, wanted, found)));
    } catch {
      // Then they are fetched.
    }
    return found;
  }

  async #readRun(run: Kept, blocks: number[], found: Map<number, Uint8Array>): Promise<void> {
    const from = Math.min(...blocks);
    const to = Math.max(...blocks) + 1;
    let bytes: Uint8Array;
    try {
      bytes = await this.#store.read(run.name, (from - run.first) * BLOCK, (to - run.first) * BLOCK);
    } catch {
      // Another process has removed it.
      this.#drop(run);
      return;
    }
    for (const block of blocks) found.set(block, bytes.subarray((block - from) * BLOCK, (block - from + 1) * BLOCK));
    if (this.#kept.delete(run.name)) this.#kept.set(run.name, run);
    if (++this.#uses % USES === 0) this.#later(() => this.#writeOrder());
  }

  /** Keeps blocks, sooner or later; they are borrowed. */
  keep({ key, first, blocks }: BlockRun): void {
    if (!blocks.length || this.#isFull) return;
    this.#later(async () => {
      const run = { name: `${key}-${first}-${blocks.length}.blocks`, key, first, count: blocks.length };
      const size = blocks.reduce((sum, { length }) => sum + length, 0);
      if (size > this.#limit || this.#kept.has(run.name)) return;
      await this.#makeRoom(size);
      try {
        await this.#store.write(run.name, [concat(blocks)]);
      } catch {
        // No room on the disk, say: half of what is there may help.
        await this.#makeRoom(Math.max(size, this.#limit - this.#size / 2));
        try {
          await this.#store.write(run.name, [concat(blocks)]);
        } catch {
          this.#isFull = true;
          return;
        }
      }
      this.#add(run);
    });
  }

  /** Forgets blocks that were not what they should be. */
  async forget(key: string, blocks: readonly number[]): Promise<void> {
    for (const block of blocks) {
      const run = this.#places.get(key)?.get(block);
      if (run) await this.#remove(run);
    }
  }

  /** Waits until all that is to be kept is. */
  async settle(): Promise<void> {
    this.#later(() => this.#writeOrder());
    await this.#writing;
  }

  #later(action: () => Promise<void>): void {
    this.#writing = this.#writing.then(action).catch(() => {});
  }

  async #makeRoom(size: number): Promise<void> {
    for (const run of this.#kept.values()) {
      if (this.#size + size <= this.#limit) return;
      await this.#remove(run);
    }
  }

  async #remove(run: Kept): Promise<void> {
    this.#drop(run);
    await this.#store.remove(run.name).catch(() => {});
  }

  #refresh(): Promise<void> {
    if (performance.now() - this.#listed < LISTED_FOR) return Promise.resolve();
    this.#listing ??= this.#list().finally(() => (this.#listing = undefined));
    return this.#listing;
  }

  async #list(): Promise<void> {
    const isFirst = this.#listed === -Infinity;
    const names = new Set(await this.#store.list());
    for (const run of [...this.#kept.values()]) if (!names.has(run.name)) this.#drop(run);
    const order = isFirst && names.has(ORDER) ? await this.#readOrder() : [];
    const ordered = new Set(order);
    for (const name of [
      ...[...names].filter((each) => !ordered.has(each)),
      ...order.filter((each) => names.has(each)),
    ]) {
      const [, key, first, count] = NAME.exec(name) ?? [];
      if (key && !this.#kept.has(name) && Number(count) > 0)
        this.#add({ name, key, first: Number(first), count: Number(count) });
    }
    this.#listed = performance.now();
    if (this.#size > this.#limit) this.#later(() => this.#makeRoom(0));
  }

  async #readOrder(): Promise<string[]> {
    try {
      const order: unknown = JSON.parse(new TextDecoder().decode(await this.#store.read(ORDER, 0, 16 << 20)));
      return Array.isArray(order) ? [...new Set(order.filter((name) => typeof name === 'string'))] : [];
    } catch {
      return [];
    }
  }

  async #writeOrder(): Promise<void> {
    if (this.#kept.size)
      await this.#store.write(ORDER, [new TextEncoder().encode(JSON.stringify([...this.#kept.keys()]))]);
  }

  #add(run: Kept): void {
    this.#kept.set(run.name, run);
    this.#size += run.count * BLOCK;
    let places = this.#places.get(run.key);
    if (!places) this.#places.set(run.key, (places = new Map()));
    for (let n = 0; n < run.count; n++) places.set(run.first + n, run);
  }

  #drop(run: Kept): void {
    if (!this.#kept.delete(run.name)) return;
    this.#size -= run.count * BLOCK;
    const places = this.#places.get(run.key)!;
    for (let n = 0; n < run.count; n++) if (places.get(run.first + n) === run) places.delete(run.first + n);
  }
}
