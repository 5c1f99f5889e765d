import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { copyFile, cp, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname, join, sep } from 'node:path';
import { checkAptIsThere, type DebianPackage, missingAptPrograms, PrivateApt, unpack } from './apt.ts';
import { Compiler } from './compile.ts';
import { withFastDriver } from './driver.ts';
import { GUEST_VARIABLE, GuestImageError } from './errors.ts';
import { sha256 } from './files.ts';
import type { GuestImage, GuestImageOptions } from './image.ts';
import { makeInitramfs } from './initramfs.ts';
import { unpackKernel } from './kernel.ts';
import { withMinimalKernel } from './minimal-kernel.ts';
import { readModules } from './modules.ts';
import { packageManifest, packageVersion, readableCacheDirectories, SOURCES, writableCacheDirectory } from './paths.ts';
import { withPrebuilt } from './prebuilt.ts';
import { inWorkDirectory } from './work-directory.ts';

export { GuestImageError } from './errors.ts';
export type { GuestImage, GuestImageOptions } from './image.ts';

const GUEST_ARCHITECTURE = 'i386';
/** Its dependency is the newest kernel: linux-image-6.1.0-NN-686, without PAE. */
const KERNEL_METAPACKAGE = 'linux-image-686';
const KERNEL_PACKAGE = /^linux-image-6\.1\.0-\d+-686$/;
const GUEST_PACKAGES = ['busybox-static', 'linux-libc-dev', 'musl-dev'];
const HOST_PACKAGES = ['tcc', 'xz-utils', 'seabios'];
/** Before the hash of what an image is made by, in the cache. */
const PREFIX = 'guest-';
const KEPT_IMAGES = 4;
const MANIFEST = 'manifest.json';

/** The guest's own programs: sources in src/ by program. */
const PROGRAMS: Record<string, string[]> = {
  init: ['init.c', 'runtime.c'],
  agent: ['agent.c', 'agent-port.c', 'agent-process.c', 'agent-renew.c', 'agent-spawn.c', 'runtime.c'],
  cpu: ['cpu.c', 'runtime.c'],
  holder: ['holder.c', 'runtime.c'],
  vfsbench: ['vfsbench.c', 'runtime.c'],
  locker: ['locker.c', 'runtime.c'],
  posix: ['posix.c', 'posix-words.c', 'runtime.c'],
  crowd: ['crowd.c', 'runtime.c'],
  direct: ['direct.c', 'runtime.c'],
  watcher: ['watcher.c', 'runtime.c'],
  race: ['race.c', 'race-words.c', 'race-records.c', 'race-turns.c', 'runtime.c'],
};

const FILES = {
  kernel: 'vmlinuz',
  vmlinux: 'vmlinux',
  initrd: 'initrd.img',
  plainInitrd: 'initrd-plain.img',
  bios: 'bios.bin',
  vgaBios: 'vgabios.bin',
  fuseHeader: 'fuse.h',
  init: 'init',
  agent: 'agent',
} as const;

/** manifest.json of an image. */
interface Manifest {
  /** SHA-256 of what the image is made by: see {@link hashInputs}. */
  inputs: string;
  release: string;
  packages: { name: string; architecture: string; version: string; sha256: string }[];
  files: Record<string, { size: number; sha256: string }>;
}

/**
 * The guest image, built from Debian packages when it is missing or its inputs have changed.
 * Processes that build at the same time don't get in each other's way.
 *
 * @throws GuestImageError when it can't be built; the message says what to provide instead.
 */
export async function ensureGuestImage({ driver, kernel, ...options }: GuestImageOptions = {}): Promise<GuestImage> {
  const image = await ensureStockImage(options);
  if (kernel === 'minimal') return withMinimalKernel(image, { ...options, driver });
  return driver === 'fast' ? withFastDriver(image, options) : image;
}

/** The image that is there already; undefined where it would have to be built, or fetched. */
export async function findGuestImage(directory?: string): Promise<GuestImage | undefined> {
  const inputs = await hashInputs();
  const places = directory ? [directory] : readableCacheDirectories().map((cache) => join(cache, nameOf(inputs)));
  for (const place of places) {
    const present = await load(place, inputs);
    if (present) return present;
  }
  return undefined;
}

/** Where an image is that was built before, if this machine is to take one: as its user says, or, without apt, as this release does. */
export function prebuiltImage(): string | undefined {
  return process.env[GUEST_VARIABLE] || (missingAptPrograms().length ? packageManifest().guestImage : undefined);
}

async function ensureStockImage({ directory, onProgress = () => {} }: GuestImageOptions): Promise<GuestImage> {
  const present = await findGuestImage(directory);
  if (present) return present;
  const prebuilt = prebuiltImage();
  if (prebuilt === undefined) checkAptIsThere();
  const inputs = await hashInputs();
  const cache = directory ? undefined : writableCacheDirectory();
  const target = directory ?? join(cache!, nameOf(inputs));
  const made = await makeImage(target, inputs, (work, image) =>
    prebuilt === undefined
      ? build(work, image, inputs, onProgress)
      : withPrebuilt(prebuilt, { onProgress }, (from, place) => takeImage(from, image, inputs, place)),
  );
  if (cache !== undefined) await removeUnused(cache);
  return made;
}

function nameOf(inputs: string): string {
  return PREFIX + inputs.slice(0, 16);
}

async function makeImage(
  directory: string,
  inputs: string,
  fill: (work: string, image: string) => Promise<void>,
): Promise<GuestImage> {
  await mkdir(dirname(directory), { recursive: true });
  await inWorkDirectory(`${directory}.building-`, async (work) => {
    const image = join(work, 'image');
    await mkdir(image);
    await fill(work, image);
    await install(image, directory, inputs);
  });
  return (await load(directory, inputs))!;
}

/** Copies an image that was built elsewhere, and is sound, from a directory: of it, or in which it is by its name. */
async function takeImage(from: string, image: string, inputs: string, place: string): Promise<void> {
  const manifests = [from, join(from, nameOf(inputs))].map((directory) => join(directory, MANIFEST));
  const path = manifests.find((each) => existsSync(each));
  const manifest = path === undefined ? undefined : await readManifest(path);
  if (manifest?.inputs !== inputs)
    throw new GuestImageError(
      `${place} has no guest image of v86-virtiofs ${packageVersion()}: take v86-virtiofs-guest.tar.gz of this release`,
    );
  for (const name of Object.values(FILES)) {
    const found = join(dirname(path!), name);
    const sound = existsSync(found) && (await sha256(found)) === manifest.files?.[name]?.sha256;
    if (!sound) throw new GuestImageError(`${name} in ${place} is damaged or missing: fetch it again`);
  }
  await cp(dirname(path!), image, { recursive: true });
}

/** Removes images but those that were used last: other releases and checkouts have theirs beside this one's. */
async function removeUnused(cache: string): Promise<void> {
  const names = (await readdir(cache)).filter((name) => /^guest-[0-9a-f]{16}$/.test(name));
  const used = await Promise.all(
    names.map(async (name) => ({
      name,
      time: (await stat(join(cache, name, MANIFEST)).catch(() => undefined))?.mtimeMs ?? 0,
    })),
  );
  for (const { name } of used.sort((a, b) => b.time - a.time).slice(KEPT_IMAGES))
    await rm(join(cache, name), { recursive: true, force: true });
}

async function build(
  work: string,
  image: string,
  inputs: string,
  onProgress: NonNullable<GuestImageOptions['onProgress']>,
): Promise<void> {
  onProgress('fetching the package lists', 0);
  const aptDirectory = join(work, 'apt');
  await mkdir(aptDirectory);
  const apt = await PrivateApt.create(aptDirectory, GUEST_ARCHITECTURE);
  await apt.update();
  const kernelPackage = await apt.dependency(`${KERNEL_METAPACKAGE}:${GUEST_ARCHITECTURE}`, KERNEL_PACKAGE);

  onProgress('fetching kernel, busybox, SeaBIOS and compiler', 0.2);
  const packages = await apt.download([
    kernelPackage,
    ...GUEST_PACKAGES.map((name) => `${name}:${GUEST_ARCHITECTURE}`),
    ...HOST_PACKAGES.map((name) => `${name}:${apt.hostArchitecture}`),
  ]);

  onProgress('unpacking', 0.4);
  const root = join(work, 'root');
  await inParallel(packages, (deb) => unpack(deb, root));
  const release = kernelPackage.replace(/^linux-image-|:.*/g, '');
  const kernel = await readFile(join(root, 'boot', `vmlinuz-${release}`));
  await writeFile(join(image, FILES.kernel), kernel);
  await writeFile(join(image, FILES.vmlinux), await unpackKernel(kernel, join(root, 'usr/bin/xz')));
  await copyFile(join(root, 'usr/share/seabios/bios.bin'), join(image, FILES.bios));
  await copyFile(join(root, 'usr/share/seabios/vgabios-stdvga.bin'), join(image, FILES.vgaBios));
  await copyFile(join(root, 'usr/include/linux/fuse.h'), join(image, FILES.fuseHeader));

  onProgress("compiling the guest's programs", 0.8);
  const compiler = await Compiler.create(root, join(work, 'lib'));
  const programs = new Map<string, Buffer>();
  for (const [name, sources] of Object.entries(PROGRAMS)) {
    const program = join(work, name);
    await compiler.compile(
      sources.map((source) => join(SOURCES, 'src', source)),
      program,
    );
    programs.set(name, await readFile(program));
  }

  for (const name of [FILES.init, FILES.agent]) await writeFile(join(image, name), programs.get(name)!);

  onProgress('packing the initial RAM disk', 0.9);
  const parts = { release, busybox: await readFile(join(root, 'bin/busybox')), programs };
  await writeFile(
    join(image, FILES.initrd),
    makeInitramfs({ ...parts, modules: await readModules(join(root, 'lib/modules', release)) }),
  );
  await writeFile(join(image, FILES.plainInitrd), makeInitramfs({ ...parts, modules: [] }));
  await writeManifest(image, inputs, release, packages);
}

async function writeManifest(image: string, inputs: string, release: string, packages: DebianPackage[]): Promise<void> {
  const files: Manifest['files'] = {};
  for (const name of Object.values(FILES)) {
    const path = join(image, name);
    files[name] = { size: (await stat(path)).size, sha256: await sha256(path) };
  }
  const manifest: Manifest = { inputs, release, packages: packages.map(({ path, ...rest }) => rest), files };
  await writeFile(join(image, MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** Puts a finished image in place, whatever other processes put there at the same time. */
async function install(image: string, directory: string, inputs: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(image, directory);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if ((code !== 'ENOTEMPTY' && code !== 'EEXIST') || attempt === 10) throw error;
    }
    if (await load(directory, inputs)) return;
    await rename(directory, join(dirname(image), `old-${attempt}`)).catch(() => {});
  }
}

async function load(directory: string, inputs: string): Promise<GuestImage | undefined> {
  const manifest = await readManifest(join(directory, MANIFEST));
  if (manifest?.inputs !== inputs) return undefined;
  // Each machine of a pool asks, and ten answers of other threads take longer than a small test.
  const isWhole = Object.entries(manifest.files).every(
    ([name, { size }]) => statSync(join(directory, name), { throwIfNoEntry: false })?.size === size,
  );
  if (!isWhole) return undefined;
  const now = new Date();
  await utimes(join(directory, MANIFEST), now, now).catch(() => {});
  const id = createHash('sha256').update(JSON.stringify(manifest.files)).digest('hex');
  const paths = Object.fromEntries(Object.entries(FILES).map(([key, name]) => [key, join(directory, name)])) as Record<
    keyof typeof FILES,
    string
  >;
  return { ...paths, release: manifest.release, id };
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Manifest;
  } catch {
    return undefined;
  }
}

let inputsHash: Promise<string> | undefined;

/**
 * Over everything in guest-images/ that decides what the image holds, as it was when this process first asked. The archive's newer versions don't
 * count: an image stays until it is removed.
 */
function hashInputs(): Promise<string> {
  return (inputsHash ??= readInputs());
}

async function readInputs(): Promise<string> {
  const hash = createHash('sha256');
  const found = (await readdir(SOURCES, { recursive: true })).filter((name) => /\.([cjt]s|[ch])$/.test(name));
  // The same on Windows.
  const names = found.map((name) => name.replaceAll(sep, '/')).sort();
  const contents = await Promise.all(names.map((name) => readFile(join(SOURCES, name))));
  names.forEach((name, n) => hash.update(`${name}\0`).update(contents[n]!).update('\0'));
  return hash.digest('hex');
}

async function inParallel<T>(items: T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items];
  const worker = async () => {
    for (let item = queue.shift(); item; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
}
