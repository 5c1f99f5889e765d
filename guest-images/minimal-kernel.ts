import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { checkAptIsThere, PrivateApt, unpack } from './apt.ts';
import { applyPatches, diffsOf, type Patch, readPatches } from './driver-patches.ts';
import { BUILD_PROGRAMS, findBuildTools, MAKE } from './driver-tools.ts';
import { GuestImageError } from './errors.ts';
import type { GuestImage, GuestImageOptions } from './image.ts';
import { readableCacheDirectories, SOURCES, writableCacheDirectory } from './paths.ts';
import { missingPrograms } from './programs.ts';
import { inTemporaryDirectory } from './work-directory.ts';

const run = promisify(execFile);
const MAX_OUTPUT = 64 << 20;
const SERIES = '6.12';
const SOURCE = `linux-source-${SERIES}`;
const CONFIG = join(SOURCES, 'minimal-kernel/config');
/** What a kernel's own build needs besides a compiler. */
const TOOLS = ['flex', 'bison', 'm4', 'libfl2', 'bc'];
/** Objects that a build makes, about: for the progress. */
const OBJECTS = 1500;
const FILES = { kernel: 'bzImage', vmlinux: 'vmlinux', release: 'release' } as const;

export interface MinimalKernelOptions extends Pick<GuestImageOptions, 'driver' | 'onProgress'> {
  /** Path of more of a configuration, which comes after `minimal-kernel/config`. */
  config?: string;
}

/**
 * The same guest on a kernel of its own: Debian's Linux 6.12 with nothing but what `minimal-kernel/config` names, all built in. It is
 * built when it is first asked for, in some minutes, and kept for all checkouts of this user: once with its own virtio-fs driver, once with
 * the fast one.
 *
 * @throws GuestImageError when it can't be built.
 */
export async function withMinimalKernel(
  image: GuestImage,
  { driver = 'stock', onProgress = () => {}, config }: MinimalKernelOptions = {},
): Promise<GuestImage> {
  const configs = [CONFIG, ...(config === undefined ? [] : [config])];
  const hash = createHash('sha256').update(SOURCE);
  for (const path of configs) hash.update(await readFile(path));
  const patches = driver === 'fast' ? await readPatches(SERIES) : [];
  hash.update(diffsOf(patches));
  const name = `kernel-${hash.digest('hex').slice(0, 16)}`;
  let directory = readableCacheDirectories()
    .map((cache) => join(cache, name))
    .find((place) => existsSync(place));
  if (!directory) {
    directory = join(writableCacheDirectory(), name);
    await build(directory, { configs, patches, onProgress });
  }
  const [kernel, vmlinux] = [join(directory, FILES.kernel), join(directory, FILES.vmlinux)];
  const release = (await readFile(join(directory, FILES.release), 'utf8')).trim();
  const id = createHash('sha256')
    .update(image.id)
    .update(await readFile(kernel))
    .digest('hex');
  return { ...image, kernel, vmlinux, initrd: image.plainInitrd, release, id };
}

interface Build {
  configs: string[];
  patches: Patch[];
  onProgress: NonNullable<GuestImageOptions['onProgress']>;
}

async function build(directory: string, how: Build): Promise<void> {
  checkAptIsThere();
  checkCompilerIsThere();
  // In the directory for temporary files, since make wants a path without spaces.
  await inTemporaryDirectory('minimal-kernel', async (work) => {
    const finished = join(work, 'finished');
    await mkdir(finished);
    await buildBelow(work, finished, how);
    const beside = `${directory}.${process.pid}`;
    await run('cp', ['-r', finished, beside]);
    // Somebody else may have been faster.
    await rename(beside, directory).catch(() => rm(beside, { recursive: true }));
  });
}

/** What gets all that {@link missingKernelTools} can name. */
export const INSTALL_KERNEL_TOOLS = 'apt-get install gcc make libc6-dev util-linux';

/** What building it takes of the machine, and is not there: what a kernel is configured by has to be compiled for this machine. */
export function missingKernelTools(): string[] {
  const missing = missingPrograms([...BUILD_PROGRAMS, 'setpriv']);
  return existsSync('/usr/include/stdio.h') ? missing : [...missing, "the C library's headers"];
}

function checkCompilerIsThere(): void {
  const missing = missingKernelTools();
  if (missing.length) {
    throw new GuestImageError(
      `The minimal kernel is built from source, and this machine has no ${missing.join(', no ')}: as root, run \`${INSTALL_KERNEL_TOOLS}\`, and try again; or take Debian's kernel, \`stock\`.`,
    );
  }
}

async function buildBelow(work: string, finished: string, { configs, patches, onProgress }: Build): Promise<void> {
  onProgress('fetching the package lists', 0);
  const aptDirectory = join(work, 'apt');
  await mkdir(aptDirectory);
  const { stdout: architecture } = await run('dpkg', ['--print-architecture']);
  const apt = await PrivateApt.create(aptDirectory, architecture.trim());
  const tools = findBuildTools(apt.hostArchitecture);
  await apt.update();

  onProgress("fetching the kernel's source (150 MB)", 0.02);
  const root = join(work, 'root');
  for (const deb of await apt.download([
    SOURCE,
    ...[...TOOLS, ...tools.packages].map((name) => `${name}:${apt.hostArchitecture}`),
  ]))
    await unpack(deb, root);
  const libraries = join(root, 'usr/lib/x86_64-linux-gnu');
  const inherited = tools.environment(root);
  const env = {
    ...inherited,
    M4: join(root, 'usr/bin/m4'),
    BISON_PKGDATADIR: join(root, 'usr/share/bison'),
    LD_LIBRARY_PATH: [inherited['LD_LIBRARY_PATH'], libraries].filter(Boolean).join(':'),
    // The same bytes wherever and whenever it is built.
    KBUILD_BUILD_TIMESTAMP: '2025-01-01',
    KBUILD_BUILD_USER: 'v86-virtiofs',
    KBUILD_BUILD_HOST: 'v86-virtiofs',
  };
  onProgress('unpacking', 0.1);
  await run('tar', ['--use-compress-program=xz', '-xf', join(root, `usr/src/${SOURCE}.tar.xz`), '-C', work], {
    env,
    maxBuffer: MAX_OUTPUT,
  });

  const source = join(work, SOURCE);
  await applyPatches(patches, source, env);
  const make = (...args: string[]) => {
    const making = run(
      'setpriv',
      [...MAKE, '-C', source, 'ARCH=i386', `CC=${tools.cc}`, `HOSTCC=${tools.cc}`, ...args],
      { env, maxBuffer: MAX_OUTPUT },
    );
    const settled = making.catch((error: { stderr?: string; message: string }) => {
      throw new GuestImageError(
        `the minimal kernel can't be built: ${error.stderr?.trim().slice(-2000) || error.message}`,
        { cause: error },
      );
    });
    return { child: making.child, settled };
  };
  await make('tinyconfig').settled;
  await run('scripts/kconfig/merge_config.sh', ['-m', '-O', '.', '.config', ...configs], {
    cwd: source,
    env,
    maxBuffer: MAX_OUTPUT,
  });
  await make('olddefconfig').settled;
  await checkConfig(await readFile(join(source, '.config'), 'utf8'), configs);

  const { child, settled } = make(`-j${availableParallelism()}`, 'bzImage', 'vmlinux');
  let objects = 0;
  let told = -1;
  child.stdout?.on('data', (data: string) => {
    objects += data.match(/^ {2}CC /gm)?.length ?? 0;
    const percent = Math.min(99, Math.floor((100 * objects) / OBJECTS));
    if (percent > told)
      onProgress(
        `building the minimal kernel${patches.length ? ' with the fast driver' : ''}, which takes some minutes once: ${(told = percent)} %`,
        0.15 + 0.0084 * percent,
      );
  });
  await settled;
  await copyFile(join(source, 'arch/x86/boot/bzImage'), join(finished, FILES.kernel));
  await run('strip', ['--strip-debug', '-o', join(finished, FILES.vmlinux), join(source, 'vmlinux')], { env });
  await copyFile(join(source, 'include/config/kernel.release'), join(finished, FILES.release));
  await writeFile(join(finished, 'config'), await readFile(join(source, '.config')));
}

/** @throws GuestImageError for what Kconfig has quietly left out. */
async function checkConfig(config: string, wanted: string[]): Promise<void> {
  const lines = new Map<string, string>();
  for (const path of wanted) {
    const text = await readFile(path, 'utf8');
    for (const [line, name] of text.matchAll(/^(?:# )?(CONFIG_\w+)(?:=.*| is not set)$/gm)) lines.set(name!, line);
  }
  const missing = [...lines.values()].filter((line) => line.endsWith('=y') && !config.includes(`\n${line}\n`));
  if (missing.length)
    throw new GuestImageError(
      `the kernel's configuration does not take ${missing.join(', ')}: mend ${wanted.join(', ')}`,
    );
}
