import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { concat } from '../../device/bytes.ts';
import { type FileStore, loadCodec, OverlayStore, type SnapshotInfo, SnapshotStore } from '../../device/index.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { BucketError } from '../node/stores/bucket.ts';
import { DirectoryLock } from '../node/stores/directory-lock.ts';
import { isInBucket, openFiles } from '../node/stores/open-files.ts';
import { MAX_PINNED } from '../node/vm-pool.ts';

/** Names the store where none is given. */
const BASES_VARIABLE = 'V86_VIRTIOFS_BASES';
/** What is kept: bases, and snapshots of tests that have failed; and milliseconds within which what was used may still be in use. */
const LIMITS = {
  directory: { bases: 16, failures: 10, inUse: 10 * 60 * 1000 },
  // Of many machines, of which none tells the others what it uses.
  bucket: { bases: 64, failures: 50, inUse: 24 * 60 * 60 * 1000 },
};
/** Milliseconds that whoever makes a base may take. */
const PATIENCE = 60 * 60 * 1000;
const DAY = 24 * 60 * 60 * 1000;
const BASE = 'base ';
const FAILURE = 'failed ';

/** A base in a store of this process's own: what else is frozen there is in memory. */
export interface Base {
  store: SnapshotStore;
  id: string;
  /** Gives back the memory that it takes. */
  release(): void;
}

/** Where base machines are kept, by what they were made from, and tests that have failed. Several processes may have it. */
export class BaseStore {
  /** As `--store` takes it; undefined for files of the caller's. */
  readonly location: string | undefined;
  readonly #files: FileStore;
  /** Of this machine; undefined if it has none. */
  readonly #directory: string | undefined;

  /** Old ones are removed, but for files of the caller's. @throws VmError `configuration`. */
  constructor(store: string | FileStore = process.env[BASES_VARIABLE] || defaultDirectory()) {
    if (typeof store !== 'string') {
      this.#files = store;
      return;
    }
    this.location = store;
    this.#files = openFiles(store);
    if (!isInBucket(store)) this.#directory = store;
  }

  /** The base of this name. Where there is none, or a damaged one, `make` puts it into a store: one process at a time. */
  async provide(key: string, make: (store: SnapshotStore, name: string) => Promise<unknown>): Promise<Base> {
    const found = await this.#find(key);
    if (found) return found;
    const making = async () => {
      const made = await this.#find(key);
      if (made) return made;
      await make(await this.#open(), BASE + key);
      await this.#prune();
      return (await this.#find(key))!;
    };
    if (this.location === undefined) return making();
    // Of several machines each makes its own, and the first one stays: that takes none of them longer than to wait.
    const place = join(this.#making, key);
    await mkdir(place, { recursive: true, mode: 0o700 });
    await touchFile(place);
    return new DirectoryLock(place, PATIENCE).hold(making);
  }

  /** Takes a snapshot that is in a {@link Base}'s store to where it stays. Returns its id. */
  async keepFailure({ store }: Pick<Base, 'store'>, id: string, name: string): Promise<string> {
    const kept = await this.#open();
    const copy = await kept.import(concat(await store.export(id)));
    await kept.rename(copy, FAILURE + name);
    await this.#prune();
    return copy;
  }

  /** Tells others that the base is in use. */
  async touch({ id }: Pick<Base, 'id'>): Promise<void> {
    if (this.#directory === undefined) return;
    await touchFile(this.#path(id)).catch(() => {});
  }

  #open(): Promise<SnapshotStore> {
    return SnapshotStore.open(this.#files, loadCodec());
  }

  async #find(key: string): Promise<Base | undefined> {
    const store = await SnapshotStore.open(new OverlayStore(this.#files), loadCodec());
    const [found] = store.list().filter(({ name }) => name === BASE + key);
    if (!found) return undefined;
    const { id } = found;
    try {
      await this.touch({ id });
      if (store.pinnedLength(id) <= MAX_PINNED) return { store, id, release: await store.pin(id) };
      await store.verify(id);
      return { store, id, release: () => {} };
    } catch (error) {
      if (error instanceof BucketError && !error.isMissing) throw error;
      // It is damaged: another takes its place.
      await (await this.#open()).remove(id).catch(() => {});
      return undefined;
    }
  }

  #path(id: string): string {
    return join(this.#directory!, `${id}.layer`);
  }

  /** Where locks are of who makes bases on this machine. */
  get #making(): string {
    return join(this.#directory ?? defaultDirectory(), '.making');
  }

  /** When it was used last, as far as that is known, in milliseconds since 1970; undefined when it is gone. */
  async #lastUse({ id, created }: SnapshotInfo): Promise<number | undefined> {
    if (this.#directory === undefined) return Date.parse(created);
    return (await stat(this.#path(id)).catch(() => undefined))?.mtimeMs;
  }

  /** Removes those that were not used for longest, and what their making has left. */
  async #prune(): Promise<void> {
    if (this.location === undefined) return;
    const { bases, failures, inUse } = LIMITS[this.#directory === undefined ? 'bucket' : 'directory'];
    const store = await this.#open();
    const used = await Promise.all(store.list().map(async (info) => ({ info, time: await this.#lastUse(info) })));
    const excess = (prefix: string, count: number): SnapshotInfo[] =>
      used
        .filter(({ info: { name }, time }) => name.startsWith(prefix) && time !== undefined)
        .sort((a, b) => b.time! - a.time!)
        .slice(count)
        .filter(({ time }) => Date.now() - time! > (prefix === BASE ? inUse : 0))
        .map(({ info }) => info);
    const old = [...excess(BASE, bases), ...excess(FAILURE, failures)];
    for (const { id } of old) await store.remove(id).catch(() => {});
    // In a bucket there is nothing else that would be in the way.
    if (old.length || this.#directory !== undefined) await store.gc();
    for (const name of await readdir(this.#making).catch(() => [])) {
      const place = join(this.#making, name);
      const { mtimeMs = Date.now() } = (await stat(place).catch(() => undefined)) ?? {};
      if (Date.now() - mtimeMs > DAY) await rm(place, { recursive: true, force: true });
    }
  }
}

async function touchFile(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now);
}

function defaultDirectory(): string {
  return join(writableCacheDirectory(), 'bases');
}
