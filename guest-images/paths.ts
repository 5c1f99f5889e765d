import { accessSync, constants, existsSync, lstatSync, mkdirSync, readFileSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function packageRoot(): string {
  let root = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(root, 'package.json'))) root = dirname(root);
  return root;
}

/** Of this package, whether this runs from its sources or compiled. */
export const PACKAGE_ROOT = packageRoot();
export interface PackageManifest {
  version: string;
  engines: { node: string };
  dependencies: Record<string, string>;
  /** Where the guest image of a release is, with its hash: `URL#sha256=HEX`. */
  guestImage?: string;
}

/** package.json of this package. */
export function packageManifest(): PackageManifest {
  return JSON.parse(readFileSync(join(PACKAGE_ROOT, 'package.json'), 'utf8')) as PackageManifest;
}

export function packageVersion(): string {
  return packageManifest().version;
}

/** C sources, patches, and the scripts that the image depends on. */
export const SOURCES = join(PACKAGE_ROOT, 'guest-images');

/** Names another directory for all that is built or kept to save time. */
export const CACHE_VARIABLE = 'V86_VIRTIOFS_CACHE';

/** Where guest images, kernels and booted machines are kept: `$V86_VIRTIOFS_CACHE`, or the user's cache directory. It need not exist. */
export function cacheDirectory(): string {
  return (
    process.env[CACHE_VARIABLE] || join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'v86-virtiofs')
  );
}

/** Where snapshots are kept that nobody gave another place: they are the user's data, which no cleaner of caches may remove. */
export function snapshotDirectory(): string {
  return join(process.env['XDG_DATA_HOME'] || join(homedir(), '.local/share'), 'v86-virtiofs/snapshots');
}

/**
 * {@link cacheDirectory}, made if it is missing; where it can't be written, a directory of this user's among the temporary files, after a
 * warning by Node's own `process.emitWarning`. Only this user can write there.
 *
 * @throws Error when neither can be written.
 */
export function writableCacheDirectory(): string {
  const wanted = cacheDirectory();
  try {
    return writable(wanted);
  } catch (error) {
    const instead = fallbackDirectory();
    warnOnce(
      `${wanted} can't be written (${(error as NodeJS.ErrnoException).code}), so ${instead} is used. Set ${CACHE_VARIABLE} to a directory that can be written and kept.`,
    );
    const { uid, mode } = lstatSync(writable(instead, 0o700));
    if (process.getuid && (uid !== process.getuid() || (mode & 0o022) !== 0)) {
      throw new Error(
        `${instead} can be written by other users: remove it, or set ${CACHE_VARIABLE} to a directory of your own`,
        { cause: error },
      );
    }
    return instead;
  }
}

/** Where to look for what has been built, best first. */
export function readableCacheDirectories(): string[] {
  return [cacheDirectory(), fallbackDirectory()];
}

function fallbackDirectory(): string {
  return join(tmpdir(), `v86-virtiofs-${process.getuid?.() ?? userInfo().username}`);
}

export function isWritable(directory: string): boolean {
  try {
    accessSync(directory, constants.W_OK | constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function writable(directory: string, mode?: number): string {
  mkdirSync(directory, { recursive: true, mode });
  accessSync(directory, constants.W_OK | constants.X_OK);
  return directory;
}

const warned = new Set<string>();

function warnOnce(message: string): void {
  if (warned.has(message)) return;
  warned.add(message);
  process.emitWarning(message, { type: 'v86-virtiofs' });
}
