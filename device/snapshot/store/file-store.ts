import { concat } from '../../bytes.ts';
import { OneAtATime } from '../../one-at-a-time.ts';

/**
 * Where layers are kept: files by name, that change as a whole only. Names are `[a-z0-9.-]+`, chosen by
 * {@link SnapshotStore}; whoever implements this never has to look inside.
 */
export interface FileStore {
  /** What is here can't change or be damaged but by this process, so that it is checked once only. Default: false. */
  readonly isPrivate?: boolean;
  /** The names of all finished files. */
  list(): Promise<string[]>;
  /** Bytes `from` to `to`, `to` excluded; to the end of the file where it is left out, or beyond. The result is borrowed, and never changes. */
  read(name: string, from: number, to?: number): Promise<Uint8Array>;
  /** Stores a file whole or not at all, whenever the process may end. `parts` are borrowed until it has settled. */
  write(name: string, parts: readonly Uint8Array[]): Promise<void>;
  /** Removes a file that is there. */
  remove(name: string): Promise<void>;
  /**
   * Runs `action` while nobody else does, in this process or another, who asks in the same way: whoever changes files, or reads what he
   * changes them by. Readers don't ask. Where others can't be kept out, it runs `action` again when they have changed files meanwhile: then nothing
   * of what it did before counts. Left out where only one `SnapshotStore` has the files, which are not listed again then.
   */
  exclusively?<T>(action: () => Promise<T>): Promise<T>;
}

/** Files in memory, for as long as the process lives. */
export class MemoryStore implements FileStore {
  readonly isPrivate = true;
  readonly #files: Map<string, Uint8Array>;
  readonly #changes = new OneAtATime();

  /** `files`: what is there from the beginning, taken over. */
  constructor(files: Iterable<readonly [name: string, bytes: Uint8Array]> = []) {
    this.#files = new Map(files);
  }

  async list(): Promise<string[]> {
    return [...this.#files.keys()];
  }

  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const file = this.#files.get(name);
    if (!file) throw new Error(`there is no file ${name}`);
    return file.subarray(from, to);
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#files.set(name, concat(parts));
  }

  async remove(name: string): Promise<void> {
    this.#files.delete(name);
  }

  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#changes.run(action);
  }
}
