import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { checkAptIsThere, PrivateApt, unpack } from '../../guest-images/apt.ts';
import { readableCacheDirectories, writableCacheDirectory } from '../../guest-images/paths.ts';

/** Packages of a release of Debian, for x86_64. */
interface RootSource {
  codename: string;
  packages: string[];
}

/**
 * Debian packages with all that they need, unpacked into a directory of the cache when they are first asked for: nothing is installed.
 *
 * @throws Error that says what is missing, where they can't be had.
 */
export async function debianRoot(name: string, from: RootSource): Promise<string> {
  if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error(`${name} is for Linux on x86_64`);
  const key = createHash('sha256').update(JSON.stringify(from)).digest('hex').slice(0, 12);
  const directory = `${name}-${key}`;
  const found = readableCacheDirectories()
    .map((cache) => join(cache, directory))
    .find((path) => existsSync(path));
  return found ?? fetchRoot(join(writableCacheDirectory(), directory), from);
}

async function fetchRoot(directory: string, { codename, packages }: RootSource): Promise<string> {
  checkAptIsThere();
  const work = await mkdtemp(`${directory}.fetching-`);
  try {
    await mkdir(join(work, 'apt'));
    const apt = await PrivateApt.create(join(work, 'apt'), 'amd64', 'amd64', codename);
    await apt.update();
    for (const path of await apt.downloadWithDependencies(packages)) await unpack({ path }, join(work, 'root'));
    // Somebody else may have been faster.
    await rename(join(work, 'root'), directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return directory;
}
