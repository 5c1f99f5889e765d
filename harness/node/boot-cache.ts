import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { readSnapshot, type Snapshot, writeSnapshot } from './stores/snapshot-file.ts';
import { makePrivateDirectory } from './stores/whole-file.ts';

const SUFFIX = '.snapshot';

/** Snapshots of machines that have just booted, by what they were made from. */
export class BootCache {
  readonly directory: string;
  readonly #capacity: number;

  /** `capacity`: snapshots kept; the ones not used for longest go first. */
  constructor(directory: string = join(writableCacheDirectory(), 'machines'), capacity = 16) {
    this.directory = directory;
    this.#capacity = capacity;
  }

  /** The snapshot made from `origin`, or undefined when there is none, or none that is whole. */
  async load(origin: unknown): Promise<Snapshot | undefined> {
    const path = this.#path(origin);
    if (!existsSync(path)) return undefined;
    try {
      const snapshot = await readSnapshot(path);
      const now = new Date();
      await utimes(path, now, now);
      return snapshot;
    } catch {
      await rm(path, { force: true });
      return undefined;
    }
  }

  /** Where it can't be kept, on a full disk say, Node's `process.emitWarning` tells: the next machine boots again. */
  async store(origin: unknown, snapshot: Snapshot): Promise<void> {
    try {
      await makePrivateDirectory(this.directory, (name) => name.includes(SUFFIX));
      await writeSnapshot(this.#path(origin), snapshot);
      await this.#prune();
    } catch (error) {
      process.emitWarning(
        `the booted machine can't be kept in ${this.directory}, so the next one boots again: ${(error as Error).message}`,
        { type: 'v86-virtiofs' },
      );
    }
  }

  async #prune(): Promise<void> {
    const names = (await readdir(this.directory)).filter((name) => name.endsWith(SUFFIX));
    const used = await Promise.all(
      names.map(async (name) => ({ name, time: (await stat(join(this.directory, name))).mtimeMs })),
    );
    const oldest = used.sort((a, b) => b.time - a.time).slice(this.#capacity);
    await Promise.all(oldest.map(({ name }) => rm(join(this.directory, name), { force: true })));
  }

  #path(origin: unknown): string {
    const key = createHash('sha256').update(JSON.stringify(origin)).digest('hex').slice(0, 24);
    return join(this.directory, key + SUFFIX);
  }
}
