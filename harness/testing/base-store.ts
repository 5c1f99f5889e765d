import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { concat } from '../../device/bytes.ts';
import { type FileStore, loadCodec, OverlayStore, type SnapshotInfo, SnapshotStore } from '../../device/index.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { DirectoryLock } from '../node/stores/directory-lock.ts';
import { DirectoryStore } from '../node/stores/directory-store.ts';
import { MAX_PINNED } from '../node/vm-pool.ts';

/** Bases that are kept, and snapshots of tests that have failed. */
const MAX_BASES = 16;
const MAX_FAILURES = 10;
/** Milliseconds within which what was used may still be in use. */
const IN_USE = 10 * 60 * 1000;
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
  /** Undefined for files of the caller's. */
  readonly directory: string | undefined;
  readonly #files: FileStore;

  /** Only in a directory of this kit old ones are removed; `store` is the caller's. */
  constructor(store: string | FileStore = join(writableCacheDirectory(), 'bases')) {
    this.directory = typeof store === 'string' ? store : undefined;
    this.#files = typeof store === 'string' ? new DirectoryStore(store) : store;
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
    if (this.directory === undefined) return making();
    const place = join(this.directory, '.making', key);
    await mkdir(place, { recursive: true, mode: 0o700 });
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
    if (this.directory === undefined) return;
    const now = new Date();
    await utimes(this.#path(id), now, now).catch(() => {});
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
    } catch {
      // It is damaged: another takes its place.
      await (await this.#open()).remove(id).catch(() => {});
      return undefined;
    }
  }

  #path(id: string): string {
    return join(this.directory!, `${id}.layer`);
  }

  /** Removes those that were not used for longest, and what their making has left. */
  async #prune(): Promise<void> {
    if (this.directory === undefined) return;
    const store = await this.#open();
    const used = await Promise.all(
      store
        .list()
        .map(async (info) => ({ info, time: (await stat(this.#path(info.id)).catch(() => undefined))?.mtimeMs })),
    );
    const excess = (prefix: string, count: number): SnapshotInfo[] =>
      used
        .filter(({ info: { name }, time }) => name.startsWith(prefix) && time !== undefined)
        .sort((a, b) => b.time! - a.time!)
        .slice(count)
        .filter(({ time }) => Date.now() - time! > (prefix === BASE ? IN_USE : 0))
        .map(({ info }) => info);
    for (const { id } of [...excess(BASE, MAX_BASES), ...excess(FAILURE, MAX_FAILURES)])
      await store.remove(id).catch(() => {});
    await store.gc();
    const making = join(this.directory, '.making');
    for (const name of await readdir(making).catch(() => [])) {
      const { mtimeMs = Date.now() } = (await stat(join(making, name)).catch(() => undefined)) ?? {};
      if (Date.now() - mtimeMs > DAY) await rm(join(making, name), { recursive: true, force: true });
    }
  }
}
