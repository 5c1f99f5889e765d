import { concat } from '../../bytes.ts';
import { SnapshotError } from '../errors.ts';
import type { FileStore } from './file-store.ts';

/** Bytes that are written at once: while a guest is busy, each turn of this thread's takes tens of milliseconds, and there may be thousands of parts. */
const BATCH = 4 << 20;
/** What a tab that was closed while it saved may leave behind. */
const TEMPORARY_SUFFIX = '.tmp';

/**
 * Layers as files of the origin's private file system, which stays when the page is left. Each is written to a
 * temporary name and moved. Several tabs may have it: they change it in turns, by a Web Lock that ends with its tab.
 */
export class OpfsStore implements FileStore {
  readonly #directory: FileSystemDirectoryHandle;
  readonly #name: string;

  private constructor(directory: FileSystemDirectoryHandle, name: string) {
    this.#directory = directory;
    this.#name = name;
  }

  /**
   * `name`: of a directory that is made where it is missing. What closed tabs have left unfinished is removed.
   *
   * @throws SnapshotError where the browser has no such file system, or refuses it (as private windows of some do).
   */
  static async open(name: string): Promise<OpfsStore> {
    try {
      const directory = await (await navigator.storage.getDirectory()).getDirectoryHandle(name, { create: true });
      const store = new OpfsStore(directory, name);
      await store.exclusively(async () => {
        for await (const file of directory.keys())
          if (file.endsWith(TEMPORARY_SUFFIX)) await directory.removeEntry(file);
      });
      return store;
    } catch (error) {
      throw new SnapshotError(
        `this browser keeps no files for this page: ${(error as Error).message}; snapshots will be lost with the page, export those that matter`,
        { cause: error },
      );
    }
  }

  async list(): Promise<string[]> {
    const names: string[] = [];
    for await (const name of this.#directory.keys()) if (!name.endsWith(TEMPORARY_SUFFIX)) names.push(name);
    return names;
  }

  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const file = await (await this.#directory.getFileHandle(name)).getFile();
    return new Uint8Array(await file.slice(from, to).arrayBuffer());
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    const temporary = `${name}.${crypto.randomUUID()}${TEMPORARY_SUFFIX}`;
    try {
      const file = await this.#directory.getFileHandle(temporary, { create: true });
      const writable = await file.createWritable();
      try {
        for (const batch of batches(parts)) await writable.write(batch);
        await writable.close();
      } catch (error) {
        await writable.abort().catch(() => {});
        throw error;
      }
      await (file as FileSystemFileHandle & { move(name: string): Promise<void> }).move(name);
    } catch (error) {
      await this.#directory.removeEntry(temporary).catch(() => {});
      // Chromium's first word of it may be that its pipe broke (AbortError), and what it estimates need not be the limit.
      if (!['QuotaExceededError', 'AbortError'].includes((error as DOMException).name)) throw error;
      const { usage = 0 } = await navigator.storage.estimate();
      throw new SnapshotError(
        `there is no room for the snapshot: the browser gives this page no more than the ${(usage / 1e6).toFixed(0)} MB that are taken; remove snapshots, or export them first`,
        { cause: error },
      );
    }
  }

  async remove(name: string): Promise<void> {
    await this.#directory.removeEntry(name);
  }

  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return navigator.locks.request(`v86-virtiofs files ${this.#name}`, action) as Promise<T>;
  }
}

/** All parts, in pieces of about {@link BATCH} bytes. */
function* batches(parts: readonly Uint8Array[]): Generator<Uint8Array<ArrayBuffer>> {
  for (let from = 0; from < parts.length; ) {
    let to = from;
    for (let size = 0; to < parts.length && size < BATCH; to++) size += parts[to]!.length;
    yield concat(parts.slice(from, to));
    from = to;
  }
}
