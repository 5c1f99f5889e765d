import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FileStore } from '../../../device/index.ts';
import { DirectoryLock, LOCK_NAME } from './directory-lock.ts';
import {
  isAbandoned,
  makePrivateDirectory,
  PRIVATE,
  PRIVATE_DIRECTORY,
  readRange,
  syncDirectory,
  TEMPORARY_SUFFIX,
  writeFileWhole,
} from './whole-file.ts';

/**
 * Layers as files of a directory, each written to a temporary name, synced and renamed. Several processes may have it: they change it in
 * turns. Only its owner can read it.
 */
export class DirectoryStore implements FileStore {
  readonly directory: string;
  readonly #lock: DirectoryLock;
  #isPrepared = false;

  /** The directory is made when something is written to it. */
  constructor(directory: string) {
    this.directory = directory;
    this.#lock = new DirectoryLock(directory);
  }

  async exclusively<T>(action: () => Promise<T>): Promise<T> {
    await this.#prepare();
    return this.#lock.hold(action);
  }

  async #prepare(): Promise<void> {
    if (this.#isPrepared) await mkdir(this.directory, { recursive: true, mode: PRIVATE_DIRECTORY });
    else await makePrivateDirectory(this.directory, isOwn);
    this.#isPrepared = true;
  }

  async list(): Promise<string[]> {
    try {
      return (await readdir(this.directory)).filter(
        (name) => !name.startsWith('.') && !name.endsWith(TEMPORARY_SUFFIX),
      );
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  read(name: string, from: number, to?: number): Promise<Uint8Array> {
    return readRange(join(this.directory, name), from, to);
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    await this.#prepare();
    await writeFileWhole(join(this.directory, name), parts, { mode: PRIVATE });
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.directory, name), { force: true });
    await syncDirectory(this.directory);
  }

  /** Removes what killed processes have left. Returns the bytes that gave back. */
  async removeLeftovers(now = Date.now()): Promise<number> {
    let freed = 0;
    for (const name of await readdir(this.directory).catch(() => [])) {
      if (!name.endsWith(TEMPORARY_SUFFIX)) continue;
      const path = join(this.directory, name);
      const found = await stat(path).catch(() => undefined);
      if (!found || !isAbandoned(name, found.mtimeMs, now)) continue;
      await rm(path, { recursive: true, force: true });
      freed += found.size;
    }
    return freed;
  }
}

/** Whether a file in the directory is one of a store. */
function isOwn(name: string): boolean {
  return name === LOCK_NAME || /\.(layer|tmp)$/.test(name);
}
