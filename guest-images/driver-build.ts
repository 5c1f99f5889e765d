import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import { checkAptIsThere, PrivateApt, unpack } from './apt.ts';
import { applyPatches, patchedFiles, readPatches } from './driver-patches.ts';
import { findBuildTools, MAKE } from './driver-tools.ts';
import { GuestImageError } from './errors.ts';
import { glob } from './files.ts';
import { modinfo } from './modules.ts';
import { cacheDirectory } from './paths.ts';
import { inTemporaryDirectory } from './work-directory.ts';

const run = promisify(execFile);
const MAX_OUTPUT = 64 << 20;
const GUEST_ARCHITECTURE = 'i386';
const SERIES = '6.1';
const SOURCE = `linux-source-${SERIES}`;
const FUSE = 'fs/fuse';
/** What a guest needs to hibernate to v86's IDE disk. */
const DISK_DRIVERS = ['ata_piix', 'sd_mod'];

const DRIVERS = ['fuse', 'virtiofs'];
/** External modules; the patched uapi header goes before the installed one. */
const KBUILD = `obj-m := fuse.o virtiofs.o
fuse-y := dev.o dir.o file.o inode.o control.o xattr.o acl.o readdir.o ioctl.o
fuse-$(CONFIG_FUSE_DAX) += dax.o
virtiofs-y := virtio_fs.o
LINUXINCLUDE := -I$(src)/../../include/uapi $(LINUXINCLUDE)
`;

interface Module {
  name: string;
  content: Buffer;
}

export interface DriverModules {
  /** fuse.ko and virtiofs.ko. */
  drivers: Module[];
  /** The kernel's own drivers for the disk, in the order in which they load. */
  disk: Module[];
}

export interface Kernel {
  /** `uname -r`, as 6.1.0-50-686. */
  release: string;
  /** Of the Debian package, as 6.1.176-1. */
  version: string;
}

/**
 * Builds fuse.ko and virtiofs.ko with the patches for a kernel of Debian's: its source, patched,
 * against its headers; and finds the modules that hibernation needs besides. Nothing is installed or
 * left behind.
 *
 * @throws GuestImageError when it can't be built.
 */
export async function buildModules(
  kernel: Kernel,
  onProgress: (message: string) => void = () => {},
): Promise<DriverModules> {
  checkAptIsThere();
  // In the directory for temporary files, since make wants a path without spaces.
  return inTemporaryDirectory('driver', (work) => buildBelow(work, kernel, onProgress));
}

async function buildBelow(
  work: string,
  { release, version }: Kernel,
  onProgress: (message: string) => void,
): Promise<DriverModules> {
  onProgress('fetching the package lists');
  const aptDirectory = join(work, 'apt');
  await mkdir(aptDirectory);
  const apt = await PrivateApt.create(aptDirectory, GUEST_ARCHITECTURE);
  const tools = findBuildTools(apt.hostArchitecture);
  await apt.update();

  onProgress("fetching the kernel's source, headers and modules (200 MB)");
  const abi = release.replace(/-686$/, '');
  const packages = await apt
    .download([
      `${SOURCE}=${version}`,
      `linux-image-${release}:${GUEST_ARCHITECTURE}=${version}`,
      `linux-headers-${release}:${GUEST_ARCHITECTURE}=${version}`,
      `linux-headers-${abi}-common=${version}`,
      ...['linux-kbuild-6.1', ...tools.packages].map((name) => `${name}:${apt.hostArchitecture}`),
    ])
    .catch((error: unknown) => {
      throw new GuestImageError(
        `The source and headers of Linux ${release} (${version}) are not available. If the archive has a newer kernel, remove ${cacheDirectory()} to build the guest with that.\n${(error as Error).message}`,
        { cause: error },
      );
    });

  onProgress('unpacking');
  const root = join(work, 'root');
  for (const deb of packages) await unpack(deb, root);
  const environment = tools.environment(root);
  const execute = (program: string, ...args: string[]) =>
    run(program, args, { cwd: work, env: environment, maxBuffer: MAX_OUTPUT });
  const patches = await readPatches(SERIES);
  await execute(
    'tar',
    '--use-compress-program=xz',
    '-xf',
    join(root, `usr/src/${SOURCE}.tar.xz`),
    ...[FUSE, ...patchedFiles(patches).filter((path) => !path.startsWith(`${FUSE}/`))].map(
      (path) => `${SOURCE}/${path}`,
    ),
  );

  onProgress('building fuse.ko and virtiofs.ko');
  const source = join(work, SOURCE);
  await applyPatches(patches, source, environment);
  await writeFile(join(source, FUSE, 'Kbuild'), KBUILD);
  const headers = join(root, 'usr/src', `linux-headers-${release}`);
  await mendHeaders(join(headers, 'Makefile'), root);
  // The two architectures keep the headers' makefile from asking for Debian's packaging tools.
  await execute(
    'setpriv',
    ...MAKE,
    '-C',
    headers,
    `M=${join(source, FUSE)}`,
    `CC=${tools.cc}`,
    'ARCH=i386',
    'DEB_BUILD_ARCH=x',
    'DEB_HOST_ARCH=x',
    'modules',
  ).catch((error: { stderr?: string; message: string }) => {
    throw new GuestImageError(`the driver can't be built: ${error.stderr?.trim() || error.message}`, { cause: error });
  });
  const drivers: Module[] = [];
  for (const name of DRIVERS) {
    const module = join(source, FUSE, `${name}.ko`);
    await execute('strip', '--strip-debug', module);
    const content = await readFile(module);
    const magic = modinfo(content).get('vermagic')?.[0] ?? '';
    if (!magic.startsWith(`${release} `))
      throw new GuestImageError(`${name}.ko was built for "${magic}", the guest's kernel is ${release}`);
    drivers.push({ name, content });
  }
  return { drivers, disk: await withDependencies(join(root, 'lib/modules', release), DISK_DRIVERS) };
}

/** The headers' makefile includes the common one by its absolute path. */
async function mendHeaders(makefile: string, root: string): Promise<void> {
  const text = await readFile(makefile, 'utf8');
  await writeFile(makefile, text.replaceAll(/(?<=\s)\/usr\/src\//g, `${root}/usr/src/`));
}

/** Modules and all that they depend on, which come first. */
async function withDependencies(directory: string, wanted: string[]): Promise<Module[]> {
  const paths = new Map((await glob(directory, /\.ko$/)).map((path) => [moduleName(path), path]));
  const found = new Map<string, Buffer>();
  const visit = async (name: string): Promise<void> => {
    const path = paths.get(name);
    if (!path || found.has(name)) return;
    const content = await readFile(path);
    for (const dependency of modinfo(content).get('depends')?.[0]?.split(',').filter(Boolean) ?? [])
      await visit(moduleName(dependency));
    found.set(name, content);
  };
  for (const name of wanted) await visit(name);
  return [...found].map(([name, content]) => ({ name, content }));
}

function moduleName(path: string): string {
  return basename(path, '.ko').replaceAll('-', '_');
}
