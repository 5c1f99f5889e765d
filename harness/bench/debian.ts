import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buildImage } from '../../device/image/build.ts';
import { debianRecipe, ensureDebianRoot } from '../../guest-images/debian-root.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { nodeFlate } from '../node/images/node-flate.ts';
import { imageDirectory } from '../node/images/write-image.ts';
import { loadSource } from '../node/shares/load-source.ts';

/** What people want of a Debian that they sit in front of, and systemd. */
const PACKAGES = [
  ...['ca-certificates', 'curl', 'gcc', 'git', 'libc6-dev', 'make', 'perl', 'python3', 'sqlite3', 'tmux', 'vim'],
  ...['dbus', 'systemd-sysv', 'udev'],
];
/** Raised when images are made in another way. */
const VERSION = 1;

/** The image of a Debian with what tests and benchmarks run, made when it is first asked for. Returns the directory that it is in. */
export async function ensureDebianImage(onProgress: (message: string) => void = () => {}): Promise<string> {
  const key = createHash('sha256')
    .update(`${debianRecipe(PACKAGES)} ${VERSION}`)
    .digest('hex')
    .slice(0, 12);
  const directory = join(writableCacheDirectory(), `debian-image-${key}`);
  if (existsSync(directory)) return directory;
  const tar = await ensureDebianRoot({ packages: PACKAGES, onProgress });
  const { filesystem } = await loadSource(tar, undefined, () => onProgress('loading a Debian'));
  const unfinished = `${directory}.${process.pid}.tmp`;
  try {
    await buildImage(filesystem, imageDirectory(unfinished), DEBIAN_IMAGE, {
      flate: nodeFlate,
      onProgress: () => onProgress('making an image of it'),
    });
    await rename(unfinished, directory);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  return directory;
}

/** Its name there. */
export const DEBIAN_IMAGE = 'debian.image';
