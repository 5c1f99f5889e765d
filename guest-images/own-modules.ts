import { execFile } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import { CpioArchive } from './cpio.ts';
import { GuestImageError } from './errors.ts';
import { glob } from './files.ts';
import { modinfo } from './modules.ts';

const run = promisify(execFile);
const MAX_MODULE = 256 << 20;
/** What the agent and shares need, where it is not built into the kernel. */
const WANTED = ['8250', 'virtio_pci', 'virtiofs'];
const FILE = /\.ko(\.(gz|xz|zst))?$/;
/** Where they are in the initial RAM disk. */
const PLACE = 'lib/modules/boot';

/** A directory as `make modules_install` makes it: `lib/modules/RELEASE`. */
export interface ModuleDirectory {
  path: string;
  /** `uname -r` of their kernel. */
  release: string;
}

/**
 * The modules in `directory`, which is what `make modules_install INSTALL_MOD_PATH=…` made, or the `lib/modules/RELEASE` in it.
 *
 * @throws GuestImageError where there are none, or none of `release`.
 */
export async function findModules(directory: string, release?: string): Promise<ModuleDirectory> {
  const isInstalled = (path: string) => existsSync(join(path, 'modules.dep'));
  const places = ['lib/modules', 'usr/lib/modules'].map((name) => join(directory, name)).filter(existsSync);
  const found = isInstalled(directory)
    ? [await realpath(directory)]
    : places.flatMap((place) => readdirSync(place).map((name) => join(place, name))).filter(isInstalled);
  const releases = new Map(found.map((path) => [basename(path), path]));
  if (!releases.size)
    throw new GuestImageError(
      `there are no modules in ${directory}: make them with \`make modules_install INSTALL_MOD_PATH=${directory}\` in the kernel's tree`,
    );
  const [only] = releases.keys();
  const wanted = release ?? (releases.size === 1 ? only! : undefined);
  const path = wanted === undefined ? undefined : releases.get(wanted);
  if (path === undefined)
    throw new GuestImageError(
      `the modules in ${directory} are those of ${[...releases.keys()].join(' and ')}, and the kernel is ${release ?? 'one of these'}: ${release === undefined ? 'name the directory of one' : 'install its own modules there'}`,
    );
  return { path, release: wanted! };
}

/** An archive for the initial RAM disk of their kernel: loads the modules that the agent and shares need, and has `lib/modules/RELEASE` lead to `link`. */
export async function moduleArchive({ path, release }: ModuleDirectory, link: string): Promise<Buffer> {
  const files = new Map((await glob(path, FILE)).map((file) => [nameOf(file), file]));
  const modules = new Map<string, Buffer>();
  const add = async (name: string): Promise<void> => {
    const file = files.get(name);
    if (file === undefined || modules.has(name)) return;
    const content = await unpackModule(file);
    const depends = (modinfo(content).get('depends') ?? []).flatMap((names) => names.split(',')).filter(Boolean);
    for (const needed of depends) await add(needed.replaceAll('-', '_'));
    modules.set(name, content);
  };
  for (const name of WANTED) await add(name);
  const archive = new CpioArchive();
  for (const directory of ['lib', 'lib/modules', PLACE]) archive.directory(directory);
  for (const [name, content] of modules) archive.file(`${PLACE}/${name}.ko`, content);
  archive.file('lib/modules/load', [...modules.keys()].map((name) => `/${PLACE}/${name}.ko\n`).join(''));
  archive.symlink(`lib/modules/${release}`, link);
  return archive.toBuffer();
}

function nameOf(file: string): string {
  return basename(file).replace(FILE, '').replaceAll('-', '_');
}

async function unpackModule(file: string): Promise<Buffer> {
  const limit = { maxOutputLength: MAX_MODULE };
  try {
    if (file.endsWith('.xz'))
      return (await run('xz', ['--decompress', '--stdout', file], { encoding: 'buffer', maxBuffer: MAX_MODULE }))
        .stdout;
    const bytes = await readFile(file);
    if (file.endsWith('.gz')) return zlib.gunzipSync(bytes, limit);
    if (!file.endsWith('.zst')) return bytes;
    const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof zlib.gunzipSync };
    if (!zstdDecompressSync) throw new Error('Node reads zstd from 22.15 on');
    return zstdDecompressSync(bytes, limit);
  } catch (error) {
    throw new GuestImageError(`can't read the module ${file}: ${(error as Error).message}`, { cause: error });
  }
}
