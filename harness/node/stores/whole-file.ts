import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { isRunning } from './process-identity.ts';

/** What a process that was killed may leave behind: `NAME.HOST.PROCESS.RANDOM.tmp`. */
export const TEMPORARY_SUFFIX = '.tmp';
/** Modes of files that hold a guest's memory, and so its secrets, and of directories of them. */
export const PRIVATE = 0o600;
export const PRIVATE_DIRECTORY = 0o700;
/** Bytes that are read at once: with 2 GiB, Node's read ends the process. */
const MAX_READ = 1 << 30;
/** As a part of a file's name. */
const HOST = encodeURIComponent(hostname()).replaceAll('.', '%2E');
/** Milliseconds after which a temporary file can't be anybody's any more. */
const ABANDONED = 60 * 60 * 1000;

/** Whether nobody writes to a temporary file any more: its process has ended on this host, or it is old. */
export function isAbandoned(name: string, mtimeMs: number, now = Date.now()): boolean {
  const [host, pid] = name.split('.').slice(-4, -2);
  return now - mtimeMs >= ABANDONED || (host === HOST && !isRunning(Number(pid)));
}

/** A name for what is not whole yet, which {@link isAbandoned} judges: `STEM.HOST.PROCESS.RANDOM.tmp`. */
export function temporaryName(stem: string): string {
  return `${stem}.${HOST}.${process.pid}.${randomBytes(4).toString('hex')}${TEMPORARY_SUFFIX}`;
}

/**
 * Writes a file to a temporary name beside `path`, syncs and renames it: a crash leaves the old file
 * or the new one, whole. `parts` are borrowed. `mode`: {@link PRIVATE} for what holds a guest's memory. `signal`: gives up, and leaves nothing.
 */
export async function writeFileWhole(
  path: string,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  { mode = 0o666, signal }: { mode?: number; signal?: AbortSignal } = {},
): Promise<void> {
  const temporary = temporaryName(path);
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      for await (const part of parts) {
        signal?.throwIfAborted();
        await file.writeFile(part);
      }
      await file.sync();
      signal?.throwIfAborted();
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

/** Bytes `from` to before `to`, or the end, of a file of any size. */
export async function readRange(path: string, from = 0, to = Infinity): Promise<Uint8Array> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const bytes = new Uint8Array(Math.max(0, Math.min(to, size) - from));
    let at = 0;
    while (at < bytes.length) {
      const { bytesRead } = await file.read(bytes, at, Math.min(MAX_READ, bytes.length - at), from + at);
      if (!bytesRead) break;
      at += bytesRead;
    }
    return bytes.subarray(0, at);
  } finally {
    await file.close();
  }
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

/**
 * Makes a directory that only its owner can read, where it is missing. One that is there becomes so if it has nothing but files whose
 * names `isOwn` knows, and those become so in any case.
 */
export async function makePrivateDirectory(path: string, isOwn: (name: string) => boolean): Promise<void> {
  await mkdir(path, { recursive: true, mode: PRIVATE_DIRECTORY });
  const tighten = async (target: string): Promise<void> => {
    const found = await stat(target).catch(() => undefined);
    // Of another owner, or on a filesystem without modes: what is written from now on is private all the same.
    if (found && found.mode & 0o077) await chmod(target, found.mode & 0o7700).catch(() => {});
  };
  const names = await readdir(path);
  if (names.every(isOwn)) await tighten(path);
  await Promise.all(names.filter(isOwn).map((name) => tighten(join(path, name))));
}
