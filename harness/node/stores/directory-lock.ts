import { randomBytes } from 'node:crypto';
import { lstat, mkdir, readdir, readFile, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { VmError } from '../../machine/errors.ts';
import { isOfEarlierBoot, isRunning, PLACE, startOf } from './process-identity.ts';
import { temporaryName } from './whole-file.ts';

/** What the lock is called in the directory. */
export const LOCK_NAME = '.lock';
/** Milliseconds for which one holder may have the lock before those who wait give up. */
const PATIENCE = 10 * 60 * 1000;
/** … and after which one of whom nothing can be known, on another machine or in another container, is taken to be gone. */
const ABANDONED = 60 * 60 * 1000;
const MIN_PAUSE = 5;
const MAX_PAUSE = 100;

/**
 * A lock between processes on one directory. A process that is killed gives it up by that, one that is only stopped keeps it.
 *
 * It is a chain of files with growing numbers, in a directory of their own, each of which names a holder or says that the lock is
 * free, with a random number: none is ever made twice. Who finds the last one free, or of a process that has ended, makes the next one,
 * as only one can. The last one is never removed; whoever has got or given up the lock removes those before, the lowest first. So if the
 * one that was found is still there when the next one has been made, nobody has made that before.
 */
export class DirectoryLock {
  readonly #directory: string;
  readonly #chain: string;
  readonly #patience: number;

  /** `patience`: milliseconds for which one holder is waited for. */
  constructor(directory: string, patience = PATIENCE) {
    this.#directory = directory;
    this.#chain = join(directory, LOCK_NAME);
    this.#patience = patience;
  }

  /** Runs `action` while no other does, of any process. @throws VmError when another holder keeps the lock for too long. */
  async hold<T>(action: () => Promise<T>): Promise<T> {
    const number = await this.#acquire();
    try {
      return await action();
    } finally {
      await this.#make(number + 1, `free.${random()}`);
      await this.#removeBelow(number + 1);
    }
  }

  async #acquire(): Promise<number> {
    const holder = `${process.pid}@${PLACE}.${startOf(process.pid)}.${random()}`;
    let waitedFor = '';
    let since = 0;
    for (let delay = MIN_PAUSE; ; delay = Math.min(2 * delay, MAX_PAUSE)) {
      const numbers = await this.#numbers();
      if (!numbers.length) {
        await this.#begin();
        continue;
      }
      const last = numbers.at(-1)!;
      const found = await this.#read(last);
      if (found !== '' && (await this.#isFree(last, found))) {
        if (await this.#make(last + 1, holder)) {
          if ((await this.#read(last)) === found) {
            await this.#removeBelow(last + 1);
            return last + 1;
          }
          await rm(this.#path(last + 1), { force: true });
        }
        delay = MIN_PAUSE;
      } else if (found !== waitedFor) {
        [waitedFor, since, delay] = [found, performance.now(), MIN_PAUSE];
      } else if (performance.now() - since > this.#patience) {
        const [pid] = found.split('@');
        throw new VmError(
          'snapshot',
          `process ${pid} has been changing the snapshots in ${this.#directory} for ${Math.round(this.#patience / 1000)} seconds: let it end, or remove ${this.#chain} if that process does not exist`,
        );
      }
      await pause(delay * (0.5 + Math.random()));
    }
  }

  /** Ascending; none when the lock has never been held. */
  async #numbers(): Promise<number[]> {
    const names = await readdir(this.#chain).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names
      .map(Number)
      .filter(Number.isSafeInteger)
      .sort((a, b) => a - b);
  }

  /** Makes the chain with its first file in one step, which fails where there is one already. */
  async #begin(): Promise<void> {
    const made = temporaryName(this.#chain);
    await mkdir(made, { mode: 0o700 });
    await link(join(made, '0'), `free.${random()}`);
    await rename(made, this.#chain).catch(async (error: NodeJS.ErrnoException) => {
      await rm(made, { recursive: true, force: true });
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes(error.code!)) throw error;
    });
  }

  #path(number: number): string {
    return join(this.#chain, `${number}`);
  }

  /** Returns whether this call made it. */
  async #make(number: number, content: string): Promise<boolean> {
    try {
      await link(this.#path(number), content);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
      throw error;
    }
  }

  /** '' for one that is not there. */
  #read(number: number): Promise<string> {
    return readlink(this.#path(number))
      .catch(() => readFile(this.#path(number), 'utf8'))
      .catch(() => '');
  }

  async #isFree(number: number, content: string): Promise<boolean> {
    if (content.startsWith('free.')) return true;
    const [, pid, place, start] = /^(\d+)@([^.]+)\.(\d*)\.[0-9a-f]+$/.exec(content) ?? [];
    if (place === PLACE) return !isRunning(Number(pid), start);
    if (place && isOfEarlierBoot(place)) return true;
    const found = await lstat(this.#path(number)).catch(() => undefined);
    return found !== undefined && Date.now() - found.mtimeMs > ABANDONED;
  }

  async #removeBelow(number: number): Promise<void> {
    for (const lower of await this.#numbers()) if (lower < number) await rm(this.#path(lower), { force: true });
  }
}

/** A file with a few bytes, made in one step: a symbolic link to nowhere, which takes no room on a full disk. */
async function link(path: string, content: string): Promise<void> {
  await symlink(content, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'EEXIST' || error.code === 'ENOENT') throw error;
    // Not every filesystem has symbolic links, nor may every user of Windows make them.
    return writeFile(path, content, { flag: 'wx', mode: 0o600 });
  });
}

function random(): string {
  return randomBytes(4).toString('hex');
}
