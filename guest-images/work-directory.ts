import { lstat, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** Longer than anything is built, on the slowest machine. */
const LEFT_BEHIND_MS = 24 * 60 * 60 * 1000;

/**
 * Lets `use` have a new directory, whose path begins with `prefix`, and removes it afterwards. Those of this prefix that are
 * older than a day are removed too: their processes were killed.
 */
export async function inWorkDirectory<T>(prefix: string, use: (work: string) => Promise<T>): Promise<T> {
  await removeLeftBehind(prefix);
  const work = await mkdtemp(prefix);
  try {
    return await use(work);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The same, of a directory for temporary files, where others have theirs: its name says whose it is. */
export function inTemporaryDirectory<T>(name: string, use: (work: string) => Promise<T>): Promise<T> {
  return inWorkDirectory(join(tmpdir(), `v86-virtiofs-${name}-`), use);
}

async function removeLeftBehind(prefix: string): Promise<void> {
  const [place, start] = [dirname(prefix), basename(prefix)];
  // mkdtemp adds six characters.
  const names = (await readdir(place)).filter((name) => name.startsWith(start) && name.length === start.length + 6);
  for (const path of names.map((name) => join(place, name))) {
    const found = await lstat(path).catch(() => undefined);
    // Another user's may become links to anything while they are removed.
    if (!found?.isDirectory() || found.uid !== process.getuid?.()) continue;
    if (Date.now() - found.mtimeMs > LEFT_BEHIND_MS) await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
