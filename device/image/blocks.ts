import type { BlockCache } from './block-cache.ts';
import { BlockMemory } from './block-memory.ts';
import { ImageError, type ImageFiles } from './files.ts';
import type { ChunkFile } from './head.ts';
import { Pace } from './pace.ts';
import { Retry, type RetryOptions } from './retry.ts';

/** Bytes in which files are fetched and cached: all of a block but of the last one of a file. Small, as what stands beside a chunk is seldom wanted too. */
export const BLOCK = 4096;
/** Blocks between two that are wanted, over which one request reads on. */
const GAP = 8;
/** Blocks of one request. */
const MOST = 1024;
/** Blocks that the cache gets together, at most. */
const TOGETHER = 256;
/** Requests at once. */
const AT_ONCE = 6;
/** Of those, at most so many for what nobody waits for. */
const AHEAD_AT_ONCE = 2;

export interface BlockOptions extends RetryOptions {
  cache?: BlockCache;
  /** Bytes that are kept in memory for those who ask next. */
  memory: number;
  /** Milliseconds without a whole block (4 KiB) after which those who wait get an error. */
  patience: number;
}

/** Whoever waits for a block. */
interface Waiter {
  since: number;
  resolve(block: Uint8Array): void;
  reject(error: ImageError): void;
}

/** What comes of a file. */
export interface Arriving {
  parts: AsyncIterable<Uint8Array>;
  /** Nobody wants the rest. */
  cancel(): void;
}

interface Job {
  file: number;
  block: number;
  /** None: it is read ahead. */
  waiters: Waiter[];
  isFresh: boolean;
}

/** Counts of what was done. */
export interface BlockCounts {
  requests: number;
  /** Bytes that came, heads of answers not counted. */
  bytes: number;
  retries: number;
  /** Blocks that the cache had. */
  cached: number;
}

/** Fetches blocks of files: several requests at once, over gaps, once for all who wait, and again when it fails. */
export class Blocks {
  readonly counts: BlockCounts = { requests: 0, bytes: 0, retries: 0, cached: 0 };
  readonly #from: ImageFiles;
  readonly #files: readonly ChunkFile[];
  readonly #options: BlockOptions;
  readonly #memory: BlockMemory;
  /** What is wanted and not fetched yet, in the order of asking. */
  readonly #queue = new Map<string, Job>();
  readonly #flying = new Map<string, Job>();
  readonly #abort = new AbortController();
  #active = 0;
  #activeAhead = 0;
  /** Files that are asked for. */
  readonly #busy = new Set<number>();
  #isWoken = false;
  /** Whether parts of files can be had; unknown before the first answer. */
  #hasRanges: boolean | undefined;
  readonly #retry: Retry;
  /** When a whole block came last: what breaks off before that again and again is of no use. */
  #lastBlock = -Infinity;

  constructor(from: ImageFiles, files: readonly ChunkFile[], options: BlockOptions) {
    this.#from = from;
    this.#files = files;
    this.#options = options;
    this.#memory = new BlockMemory(options.memory);
    this.#retry = new Retry(options, () => this.#wake());
  }

  /**
   * Blocks of a file, each borrowed for good. `ahead`: those that will probably be asked for next. `isFresh`: from where they come from, past all
   * caches. @throws ImageError.
   */
  async get(
    file: number,
    blocks: readonly number[],
    { ahead = [], isFresh = false }: { ahead?: readonly number[]; isFresh?: boolean } = {},
  ): Promise<Map<number, Uint8Array>> {
    const { cache } = this.#options;
    const found = new Map<number, Uint8Array>();
    let missing = blocks;
    if (!isFresh) {
      missing = blocks.filter((block) => {
        const bytes = this.#memory.use(`${file}/${block}`);
        if (bytes) found.set(block, bytes);
        return !bytes;
      });
      // What can't be there is asked for at once, together with what was expected.
      if (missing.length && cache?.mayHave(this.#files[file]!.key, missing)) {
        const kept = await cache.read(this.#files[file]!.key, missing);
        for (const [block, bytes] of kept) {
          if (bytes.length !== this.#lengthOf(file, block)) continue;
          this.counts.cached++;
          found.set(block, bytes);
          this.#memory.keep(`${file}/${block}`, bytes);
        }
        missing = missing.filter((block) => !found.has(block));
      }
    }
    const waiting = missing.map(async (block) => void found.set(block, await this.#wait(file, block, isFresh)));
    this.expect(file, ahead);
    await Promise.all(waiting);
    return found;
  }

  /** Fetches blocks that nobody waits for yet, where they are not here. */
  expect(file: number, blocks: readonly number[]): void {
    for (const block of blocks) {
      const name = `${file}/${block}`;
      if (this.#memory.has(name) || this.#queue.has(name) || this.#flying.has(name)) continue;
      if (this.#options.cache?.has(this.#files[file]!.key, block)) continue;
      this.#queue.set(name, { file, block, waiters: [], isFresh: false });
      this.#wake();
    }
  }

  /** How many blocks a file has. */
  countOf(file: number): number {
    return Math.ceil(this.#files[file]!.end / BLOCK);
  }

  /**
   * Takes in blocks of a file, from `first` on, that come anyway, as many as are kept in memory; who wants one of them waits for it. `parts` begin with
   * the first byte of the first block. Settles when all have come, and never rejects: what did not come is fetched when it is wanted.
   */
  async follow(file: number, first: number, { parts, cancel }: Arriving): Promise<void> {
    this.#abort.signal.addEventListener('abort', cancel, { once: true });
    const last = Math.min(this.countOf(file), first + Math.floor(this.#options.memory / BLOCK));
    const run = Array.from({ length: Math.max(0, last - first) }, (_, n): Job => {
      const job = { file, block: first + n, waiters: [], isFresh: false };
      this.#fly(job);
      return job;
    });
    if (run.length) await this.#settle(run, this.#takeIn(run, first * BLOCK, this.#endOf(run), parts));
    this.#abort.signal.removeEventListener('abort', cancel);
    cancel();
  }

  /** These were not what they should be. */
  async forget(file: number, blocks: readonly number[]): Promise<void> {
    for (const block of blocks) this.#memory.forget(`${file}/${block}`);
    await this.#options.cache?.forget(this.#files[file]!.key, blocks);
  }

  /** Ends all requests; who waits gets an error. */
  close(): void {
    const error = new ImageError(`the image ${this.#from.place} was closed`);
    this.#abort.abort(error);
    this.#retry.close();
    for (const job of this.#queue.values()) for (const waiter of job.waiters) waiter.reject(error);
    this.#queue.clear();
  }

  #lengthOf(file: number, block: number): number {
    return Math.min(BLOCK, this.#files[file]!.end - block * BLOCK);
  }

  #wait(file: number, block: number, isFresh: boolean): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#abort.signal.aborted) {
        reject(this.#abort.signal.reason as ImageError);
        return;
      }
      const waiter = { since: performance.now(), resolve, reject };
      const name = `${file}/${block}`;
      const flying = this.#flying.get(name);
      if (flying && (!isFresh || flying.isFresh)) {
        flying.waiters.push(waiter);
        return;
      }
      const queued = this.#queue.get(name);
      if (queued) {
        queued.waiters.push(waiter);
        queued.isFresh ||= isFresh;
      } else this.#queue.set(name, { file, block, waiters: [waiter], isFresh });
      this.#wake();
    });
  }

  /** All that is asked for in one turn is asked for together. */
  #wake(): void {
    if (this.#isWoken) return;
    this.#isWoken = true;
    queueMicrotask(() => {
      this.#isWoken = false;
      this.#start();
    });
  }

  #start(): void {
    if (this.#retry.isPaused || this.#abort.signal.aborted) return;
    while (this.#queue.size && this.#active < (this.#hasRanges === undefined ? 1 : AT_ONCE)) {
      // What comes with a whole file is not asked for beside it.
      const jobs = [...this.#queue.values()].filter(({ file }) => this.#hasRanges !== false || !this.#busy.has(file));
      const wanted = jobs.find(({ waiters }) => waiters.length > 0);
      if (!jobs.length || (!wanted && this.#activeAhead >= AHEAD_AT_ONCE)) return;
      void this.#run(this.#runOf(wanted ?? jobs[0]!), wanted === undefined);
    }
  }

  /** Takes what one request is to fetch out of the queue: the block, and those before and after it that are wanted too. */
  #runOf(job: Job): Job[] {
    const { file, isFresh } = job;
    const isQueued = (block: number): boolean => {
      const other = this.#queue.get(`${file}/${block}`);
      return other !== undefined && other.isFresh === isFresh;
    };
    let [first, last] = [job.block, job.block];
    const step = (from: number, direction: number): number | undefined => {
      for (let n = 1; n <= 1 + GAP; n++) {
        const block = from + direction * n;
        if (isQueued(block)) return block;
        // What is here, or comes, is not fetched again for the sake of what is behind it; nor is what has to be fetched in another way.
        const name = `${file}/${block}`;
        if (this.#memory.has(name) || this.#flying.has(name) || this.#queue.has(name)) return undefined;
      }
      return undefined;
    };
    for (let next = step(last, 1); next !== undefined && next - first < MOST; next = step(last, 1)) last = next;
    for (let next = step(first, -1); next !== undefined && last - next < MOST; next = step(first, -1)) first = next;
    const run: Job[] = [];
    for (let block = first; block <= last; block++) {
      const name = `${file}/${block}`;
      const queued = this.#queue.get(name) ?? { file, block, waiters: [], isFresh };
      this.#queue.delete(name);
      this.#fly(queued);
      run.push(queued);
    }
    return run;
  }

  /** Who waits for the block already, not past all caches, takes this one too. */
  #fly(job: Job): void {
    const name = `${job.file}/${job.block}`;
    job.waiters.push(...(this.#flying.get(name)?.waiters.splice(0) ?? []));
    this.#flying.set(name, job);
  }

  async #run(run: Job[], isAhead: boolean): Promise<void> {
    const { file } = run[0]!;
    this.#active++;
    if (isAhead) this.#activeAhead++;
    this.#busy.add(file);
    await this.#settle(run, this.#request(run));
    this.#active--;
    this.#busy.delete(file);
    if (isAhead) this.#activeAhead--;
    this.#wake();
  }

  async #settle(run: Job[], taken: Promise<void>): Promise<void> {
    try {
      await taken;
      this.#retry.recovered();
    } catch (error) {
      this.#failed(run, error instanceof ImageError ? error : new ImageError(String(error), { cause: error }));
    }
  }

  #endOf(run: Job[]): number {
    const { file, block } = run.at(-1)!;
    return Math.min(this.#files[file]!.end, (block + 1) * BLOCK);
  }

  async #request(run: Job[]): Promise<void> {
    const { file, block, isFresh } = run[0]!;
    const { name, end } = this.#files[file]!;
    const from = block * BLOCK;
    const to = this.#endOf(run);
    this.counts.requests++;
    const { isWhole, parts } = await this.#from.read(name, { from, to, isFresh, signal: this.#abort.signal });
    this.#hasRanges = !isWhole;
    this.#wake();
    // Of a server that sends whole files, all of it is taken.
    await this.#takeIn(run, isWhole ? 0 : from, isWhole ? end : to, parts);
  }

  /** Takes in the bytes of a file from `start`, where a block begins, to `stop`. */
  async #takeIn(run: Job[], start: number, stop: number, parts: AsyncIterable<Uint8Array>): Promise<void> {
    const { file, isFresh } = run[0]!;
    const { name, key } = this.#files[file]!;
    const { cache, patience } = this.#options;
    const pace = new Pace(name || this.#from.place, patience);
    let first = start / BLOCK;
    let arrived: Uint8Array[] = [];
    let at = start;
    let block = new Uint8Array(this.#lengthOf(file, first));
    const keep = () => {
      cache?.keep({ key, first, blocks: arrived });
      first += arrived.length;
      arrived = [];
    };
    try {
      for await (const part of parts) {
        this.counts.bytes += part.length;
        for (let used = 0; used < part.length && at < stop; ) {
          const into = at % BLOCK;
          const count = Math.min(part.length - used, block.length - into);
          block.set(part.subarray(used, used + count), into);
          used += count;
          at += count;
          if (at < stop ? at % BLOCK : into + count < block.length) continue;
          const number = Math.floor((at - 1) / BLOCK);
          this.#arrived(file, number, block, isFresh);
          if (cache) arrived.push(block);
          if (at < stop) block = new Uint8Array(this.#lengthOf(file, at / BLOCK));
          if (arrived.length === TOGETHER) keep();
        }
        if (at >= stop) break;
        pace.came(part.length);
      }
    } finally {
      keep();
    }
    if (at < stop)
      throw new ImageError(`${name || this.#from.place} broke off after ${at} bytes of ${stop}: look at the network`, {
        mayPass: true,
      });
  }

  /** Who wants it past all caches does not take it from elsewhere. */
  #arrived(file: number, block: number, bytes: Uint8Array, isFresh = false): void {
    const name = `${file}/${block}`;
    this.#lastBlock = performance.now();
    this.#memory.keep(name, bytes);
    for (const jobs of [this.#flying, this.#queue]) {
      const job = jobs.get(name);
      if (!job || (job.isFresh && !isFresh) || !jobs.delete(name)) continue;
      for (const { resolve } of job.waiters) resolve(bytes);
    }
  }

  /** Who can wait on is asked for again. What nobody waits for is not. */
  #failed(run: Job[], error: ImageError): void {
    if (this.#abort.signal.aborted) {
      for (const job of run) for (const { reject } of job.waiters) reject(this.#abort.signal.reason as ImageError);
      return;
    }
    const now = performance.now();
    const { patience } = this.#options;
    this.#retry.failed();
    let waiting = 0;
    for (const job of run) {
      const name = `${job.file}/${job.block}`;
      if (this.#flying.get(name) !== job) continue;
      this.#flying.delete(name);
      const left: Waiter[] = [];
      for (const waiter of job.waiters) {
        if (error.mayPass && now - Math.max(waiter.since, this.#lastBlock) < patience) left.push(waiter);
        else waiter.reject(error);
      }
      waiting += left.length;
      const queued = this.#queue.get(name);
      if (queued) queued.waiters.push(...left);
      else if (left.length) this.#queue.set(name, { ...job, waiters: left });
    }
    if (!waiting) return;
    this.counts.retries++;
    this.#retry.pause(error);
  }
}
