import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, sep } from 'node:path';
import { PACKAGE_ROOT } from '../guest-images/paths.ts';
import { readSnapshot, writeSnapshot, type Snapshot } from './snapshot-file.ts';

const SUFFIX = '.snapshot';

/** Snapshots of machines that have just booted, by what they were made from. */
export class BootCache {
  readonly directory: string;
  readonly #capacity: number;

  /** `capacity`: snapshots kept; the ones not used for longest go first. */
  constructor(directory: string = cacheDirectory('machines'), capacity = 8) {
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

  async store(origin: unknown, snapshot: Snapshot): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await writeSnapshot(this.#path(origin), snapshot);
    await this.#prune();
  }

  async #prune(): Promise<void> {
    const names = (await readdir(this.directory)).filter((name) => name.endsWith(SUFFIX));
    const used = await Promise.all(names.map(async (name) => ({ name, time: (await stat(join(this.directory, name))).mtimeMs })));
    const oldest = used.sort((a, b) => b.time - a.time).slice(this.#capacity);
    await Promise.all(oldest.map(({ name }) => rm(join(this.directory, name), { force: true })));
  }

  #path(origin: unknown): string {
    const key = createHash('sha256').update(JSON.stringify(origin)).digest('hex').slice(0, 24);
    return join(this.directory, key + SUFFIX);
  }
}

/** Where generated files go: `.cache/` of a checkout, the user's cache directory for an installed package. */
export function cacheDirectory(name: string): string {
  const isInstalled = PACKAGE_ROOT.split(sep).includes('node_modules');
  const base = isInstalled ? join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'v86-virtiofs') : join(PACKAGE_ROOT, '.cache');
  return join(base, name);
}
