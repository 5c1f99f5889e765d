import { concat } from '../../bytes.ts';
import type { FileStore } from './file-store.ts';

/**
 * Files in memory, over those of another store, which stay as they are: what is written or removed here is so here only, and as long as the process
 * lives. For one `SnapshotStore`; what others change below is not seen.
 */
export class OverlayStore implements FileStore {
  readonly #below: FileStore;
  readonly #written = new Map<string, Uint8Array>();
  readonly #removed = new Set<string>();

  constructor(below: FileStore) {
    this.#below = below;
  }

  async list(): Promise<string[]> {
    const names = (await this.#below.list()).filter((name) => !this.#removed.has(name));
    return [...new Set([...names, ...this.#written.keys()])];
  }

  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const file = this.#written.get(name);
    if (file) return file.subarray(from, to);
    if (this.#removed.has(name)) throw new Error(`there is no file ${name}`);
    return this.#below.read(name, from, to);
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    this.#written.set(name, concat(parts));
    this.#removed.delete(name);
  }

  async remove(name: string): Promise<void> {
    this.#written.delete(name);
    this.#removed.add(name);
  }
}
