import { randomBytes } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

/** What a process that was killed may leave behind: `NAME.HOST.PROCESS.RANDOM.tmp`. */
export const TEMPORARY_SUFFIX = '.tmp';
/** As a part of a file's name. */
const HOST = encodeURIComponent(hostname()).replaceAll('.', '%2E');
/** Milliseconds after which a temporary file can't be anybody's any more. */
const ABANDONED = 60 * 60 * 1000;

/** Whether nobody writes to a temporary file any more: its process has ended on this host, or it is old. */
export function isAbandoned(name: string, mtimeMs: number, now = Date.now()): boolean {
  const [host, pid] = name.split('.').slice(-4, -2);
  return now - mtimeMs >= ABANDONED || (host === HOST && !isAlive(Number(pid)));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** A name for what is not whole yet, which {@link isAbandoned} judges: `STEM.HOST.PROCESS.RANDOM.tmp`. */
export function temporaryName(stem: string): string {
  return `${stem}.${HOST}.${process.pid}.${randomBytes(4).toString('hex')}${TEMPORARY_SUFFIX}`;
}

/**
 * Writes a file to a temporary name beside `path`, syncs and renames it: a crash leaves the old file
 * or the new one, whole. `parts` are borrowed.
 */
export async function writeFileWhole(path: string, parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, 'wx');
    try {
      for await (const part of parts) await file.writeFile(part);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/** Makes renames and removals in a directory last. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
