import { existsSync } from 'node:fs';
import { access, constants, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { formatBytes } from '../../device/trees/report.ts';
import { FIRST_TESTED, isTested, LAST_TESTED } from '../../device/v86/versions.ts';
import { missingAptPrograms } from '../../guest-images/apt.ts';
import { findGuestImage, prebuiltImage } from '../../guest-images/build.ts';
import { provideImage } from '../../guest-images/errors.ts';
import { INSTALL_KERNEL_TOOLS, missingKernelTools } from '../../guest-images/minimal-kernel.ts';
import {
  CACHE_VARIABLE,
  cacheDirectory,
  PACKAGE_ROOT,
  packageManifest,
  writableCacheDirectory,
} from '../../guest-images/paths.ts';
import { missingPrograms } from '../../guest-images/programs.ts';
import { privateSources } from '../../guest-images/sources.ts';
import { isInBucket, openFiles } from './stores/open-files.ts';
import { v86Version } from './v86.ts';
import { DEFAULT_MEMORY } from './vm-options.ts';

/** What this machine has of one thing. */
export interface Finding {
  /** What it is about, `guest image` say. */
  name: string;
  /** `lack`: guests can't run without it; `note`: something else can't be done, or takes longer. */
  state: 'ok' | 'note' | 'lack';
  /** What there is, or is not. */
  found: string;
  /** What to do about it; missing where there is nothing to be done. */
  cure?: string;
}

/** Bytes that building a guest image takes on the way, and that the cache fills with machines in everyday use. */
const TO_BUILD = 400 << 20;
const TO_USE = 200 << 20;

/** What running guests takes, and what this machine has of it. `store`: where snapshots are. Nothing is built, fetched or started. */
export async function examine({ store }: { store: string }): Promise<Finding[]> {
  const checks = [
    node,
    v86,
    memfs,
    cache,
    guestImage,
    kernels,
    temporaryFiles,
    () => snapshots(store),
    memory,
    proc,
    tools,
    browsers,
  ];
  const findings: Finding[] = [];
  for (const check of checks) findings.push(...[await check()].flat());
  return findings;
}

function node(): Finding {
  const wanted = packageManifest().engines.node.replace('>=', '');
  const found = `${process.versions.node}; ${wanted} or newer is needed`;
  return isAtLeast(process.versions.node, wanted)
    ? { name: 'Node', state: 'ok', found }
    : { name: 'Node', state: 'lack', found, cure: `install Node ${wanted} or newer` };
}

async function v86(): Promise<Finding> {
  const range = `${FIRST_TESTED} to ${LAST_TESTED} are tested`;
  const cure = `npm install v86@${LAST_TESTED}`;
  let version: string;
  try {
    version = await v86Version();
  } catch {
    return { name: 'v86', state: 'lack', found: 'it is not installed', cure };
  }
  const found = `${version}; ${range}`;
  return isTested(version)
    ? { name: 'v86', state: 'ok', found }
    : { name: 'v86', state: 'note', found: `${found}, and of others nothing is known`, cure };
}

async function memfs(): Promise<Finding> {
  const wanted = packageManifest().dependencies['memfs']!;
  try {
    const require = createRequire(join(PACKAGE_ROOT, 'package.json'));
    const { version } = await packageAbove(require.resolve('memfs'));
    const least = wanted.replace('^', '');
    const fits = isAtLeast(version, least) && version.split('.')[0] === least.split('.')[0];
    const found = `${version}; ${wanted} is needed`;
    return { name: 'memfs', state: fits ? 'ok' : 'lack', found, ...(!fits && { cure: `npm install memfs@${wanted}` }) };
  } catch {
    return { name: 'memfs', state: 'lack', found: 'it is not installed', cure: 'npm install' };
  }
}

/** Packages need not export their package.json. */
async function packageAbove(file: string): Promise<{ version: string }> {
  let directory = dirname(file);
  while (!existsSync(join(directory, 'package.json'))) directory = dirname(directory);
  return JSON.parse(await readFile(join(directory, 'package.json'), 'utf8')) as { version: string };
}

async function cache(): Promise<Finding> {
  const name = 'cache';
  const wanted = cacheDirectory();
  const cure = `set ${CACHE_VARIABLE} to a directory that can be written and kept`;
  const problem = await unwritable(wanted);
  if (problem === undefined) {
    const free = await freeBytes(wanted);
    const found = `${wanted}, ${formatBytes(free)} free`;
    if (free >= TO_USE) return { name, state: 'ok', found };
    return {
      name,
      state: 'note',
      found,
      cure: `make room there, or ${cure}: booted machines that find no room are booted again each time`,
    };
  }
  try {
    // It is said here, and not as a warning.
    const instead = quietly(writableCacheDirectory);
    return { name, state: 'note', found: `${problem}, so ${instead} is used`, cure };
  } catch (error) {
    return { name, state: 'lack', found: `${problem}; ${(error as Error).message}`, cure };
  }
}

async function guestImage(): Promise<Finding> {
  const name = 'guest image';
  const image = await findGuestImage();
  if (image) return { name, state: 'ok', found: `Linux ${image.release}, in ${dirname(image.vmlinux)}` };
  const prebuilt = prebuiltImage();
  if (prebuilt !== undefined) {
    const place = prebuilt.replace(/#.*/, '');
    return /^https?:/.test(place) || existsSync(place)
      ? { name, state: 'ok', found: `it is taken from ${place} when it is first needed` }
      : { name, state: 'lack', found: `${place}, where it is to be taken from, does not exist`, cure: provideImage() };
  }
  const missing = missingAptPrograms();
  if (missing.length)
    return {
      name,
      state: 'lack',
      found: `it is not built, and can't be built without ${missing.join(', ')}`,
      cure: provideImage(),
    };
  try {
    await privateSources();
  } catch (error) {
    const [found, ...cure] = (error as Error).message.split('\n\n');
    return { name, state: 'lack', found: found!, cure: cure.join('\n\n') };
  }
  const free = await freeBytes(cacheDirectory()).catch(() => Number.POSITIVE_INFINITY);
  if (free < TO_BUILD)
    return {
      name,
      state: 'lack',
      found: `it is not built, and building it takes ${formatBytes(TO_BUILD)} in ${cacheDirectory()}, which has ${formatBytes(free)}`,
      cure: `make room there, or set ${CACHE_VARIABLE} to a directory that has some`,
    };
  return {
    name,
    state: 'ok',
    found: 'it is built when it is first needed, of Debian packages (about 60 MB to fetch, and a minute or two)',
  };
}

function kernels(): Finding {
  const missing = missingKernelTools();
  const name = 'kernel builds';
  if (!missing.length)
    return { name, state: 'ok', found: 'gcc, make and binutils, for --kernel minimal and --driver fast' };
  return {
    name,
    state: 'note',
    found: `no ${missing.join(', no ')}, so that --kernel minimal can't be built`,
    cure: `as root: ${INSTALL_KERNEL_TOOLS}`,
  };
}

async function temporaryFiles(): Promise<Finding> {
  const problem = await unwritable(tmpdir());
  return problem === undefined
    ? { name: 'temporary files', state: 'ok', found: tmpdir() }
    : { name: 'temporary files', state: 'lack', found: problem, cure: 'set TMPDIR to a directory that can be written' };
}

async function snapshots(store: string): Promise<Finding> {
  const name = 'snapshots';
  if (!isInBucket(store)) return snapshotsIn(store);
  try {
    const files = await openFiles(store).list();
    return { name, state: 'ok', found: `${store}: ${countOf(files)}` };
  } catch (error) {
    return { name, state: 'lack', found: (error as Error).message, cure: 'or name another place with --store' };
  }
}

function countOf(files: readonly string[]): string {
  const count = files.filter((file) => file.endsWith('.layer')).length;
  return count === 1 ? '1 snapshot' : `${count} snapshots`;
}

async function snapshotsIn(directory: string): Promise<Finding> {
  const name = 'snapshots';
  const problem = await unwritable(directory);
  if (problem !== undefined)
    return { name, state: 'lack', found: problem, cure: 'name another place with --store, or set XDG_DATA_HOME' };
  const files = await readdir(directory).catch(() => undefined);
  const free = formatBytes(await freeBytes(directory));
  const there = files ? countOf(files) : 'made when the first one is frozen';
  return { name, state: 'ok', found: `${directory}: ${there}, ${free} free` };
}

function memory(): Finding {
  const available = process.availableMemory();
  // A guest's own, a copy of it while it is frozen, and v86.
  const needed = (2 * DEFAULT_MEMORY + 200) << 20;
  const found = `${formatBytes(available)} available; a guest of ${DEFAULT_MEMORY} MiB takes up to ${formatBytes(needed)}`;
  return available >= needed
    ? { name: 'memory', state: 'ok', found }
    : { name: 'memory', state: 'note', found, cure: 'end something else, or give guests less with --memory' };
}

function proc(): Finding {
  return existsSync('/proc/self/fd')
    ? { name: 'system', state: 'ok', found: `${process.platform} ${process.arch}, with /proc` }
    : {
        name: 'system',
        state: 'note',
        found: `${process.platform} ${process.arch}, without /proc: --live and --write-back leave a moment of race to who swaps directories on this host meanwhile`,
      };
}

function tools(): Finding[] {
  const uses = { tar: 'guests that were built elsewhere', xz: "unpacking kernels of one's own, and their modules" };
  return Object.entries(uses).flatMap(([program, use]): Finding[] =>
    missingPrograms([program]).length
      ? [
          {
            name: program,
            state: 'note',
            found: `it is not installed; it is for ${use}`,
            cure: `as root: apt-get install ${program === 'xz' ? 'xz-utils' : program}`,
          },
        ]
      : [],
  );
}

/** Only who has a checkout runs the page's tests. */
function browsers(): Finding[] {
  if (!existsSync(join(PACKAGE_ROOT, 'test'))) return [];
  const missing = ['chromium', 'firefox-esr'].filter((name) => !existsSync(`/usr/bin/${name}`));
  const name = 'browsers';
  if (!missing.length) return [{ name, state: 'ok', found: "chromium and firefox-esr, for the page's tests" }];
  return [
    {
      name,
      state: 'note',
      found: `no ${missing.join(', no ')}, for the page's tests`,
      cure: `as root: apt-get install ${missing.join(' ')}`,
    },
  ];
}

/** Why nothing can be written into a directory, which need not be there yet; undefined where something can. */
async function unwritable(directory: string): Promise<string | undefined> {
  for (let place = resolve(directory); ; place = dirname(place)) {
    try {
      if (!(await stat(place)).isDirectory()) return `${place} is not a directory`;
      await access(place, constants.W_OK | constants.X_OK);
      return undefined;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' || place === dirname(place)) return `${directory} can't be written (${code})`;
    }
  }
}

/** Of the filesystem that a directory is on, or would be. */
async function freeBytes(directory: string): Promise<number> {
  let place = resolve(directory);
  while (!existsSync(place) && place !== dirname(place)) place = dirname(place);
  const { bavail, bsize } = await statfs(place);
  return bavail * bsize;
}

function quietly<T>(action: () => T): T {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return action();
  } finally {
    process.emitWarning = emitWarning;
  }
}

function isAtLeast(version: string, wanted: string): boolean {
  const [found, least] = [version, wanted].map((text) => text.split('.').map((part) => Number.parseInt(part, 10)));
  for (const [n, part] of least!.entries()) if (found![n] !== part) return (found![n] ?? 0) > part;
  return true;
}
