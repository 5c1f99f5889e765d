import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { GuestImageError } from '../../guest-images/errors.ts';
import { unpackKernel } from '../../guest-images/kernel.ts';
import { writableCacheDirectory } from '../../guest-images/paths.ts';
import { VmError } from '../machine/errors.ts';
import { writeFileWhole } from './stores/whole-file.ts';
import type { NamedDriver, NamedKernel, VmOptions } from './vm-options.ts';

/** What a machine boots from. Paths; which of them are needed depends on the boot method. */
export interface BootFiles {
  kernel: string;
  /** Missing where a kernel needs none for a root. */
  initrd?: string;
  /** What a root filesystem is given to boot from it. */
  init?: string;
  agent?: string;
  /** The kernel as an ELF file, to be booted directly. */
  vmlinux?: string;
  bios?: string;
  vgaBios?: string;
  /** Hash over the files. */
  id: string;
}

/** Where Debian's package `seabios` puts its files. */
const SYSTEM_BIOS = '/usr/share/seabios/bios.bin';
const VGA_BIOS = 'vgabios-stdvga.bin';

type Wanted = Pick<VmOptions, 'initrd' | 'bios' | 'driver' | 'bootMethod' | 'onProgress'> & {
  kernel: string;
  /** Whether the guest has a root filesystem. */
  hasRoot?: boolean;
};

/** The image that `guest-images/` builds, or the one the caller brought. Throws {@link VmError} `image` or `configuration`. */
export async function resolveImage({
  kernel,
  initrd,
  bios,
  driver,
  bootMethod,
  onProgress,
  hasRoot = false,
}: Wanted): Promise<BootFiles> {
  if (isNamed(kernel)) {
    if (initrd !== undefined)
      throw new VmError(
        'image',
        `the kernel ${kernel} has its own initial RAM disk: give --kernel FILE with --initrd, or leave that out`,
      );
    const built = await ensureGuestImage({ driver, kernel, onProgress });
    // All that mounting a root takes is built in there.
    const image = hasRoot && kernel === 'minimal' ? { ...built, initrd: undefined } : built;
    return bios === undefined ? image : { ...image, ...findFirmware(bios) };
  }
  if (driver === 'fast')
    throw new VmError(
      'configuration',
      'the fast driver goes into the image that guest-images/ builds: build it for your kernel as docs/driver.md says, or leave out --kernel and --initrd',
    );
  if (initrd === undefined && !hasRoot)
    throw new VmError('image', 'a kernel of your own needs an initial RAM disk: give --initrd FILE too, or a root');
  const hash = createHash('sha256');
  const bytes = await readImageFile(kernel);
  hash.update(bytes);
  if (initrd !== undefined) hash.update(await readImageFile(initrd));
  const vmlinux = bootMethod === 'bios' ? undefined : await unpacked(kernel, bytes, bootMethod === 'direct');
  const { init, agent } = hasRoot ? await ensureGuestImage({ onProgress }) : {};
  return {
    kernel,
    initrd,
    init,
    agent,
    vmlinux,
    ...(vmlinux === undefined && findFirmware(bios)),
    id: hash.digest('hex'),
  };
}

export function isNamed(kernel: string): kernel is NamedKernel {
  return kernel === 'stock' || kernel === 'minimal';
}

/** Path of the ELF file in a kernel; undefined where only a BIOS can boot it, unless it `isNeeded`. @throws GuestImageError. */
async function unpacked(path: string, kernel: Uint8Array, isNeeded: boolean): Promise<string | undefined> {
  const bytes = Buffer.from(kernel.buffer, kernel.byteOffset, kernel.length);
  try {
    const elf = await unpackKernel(bytes);
    if (elf === bytes) return path;
    const directory = join(writableCacheDirectory(), 'kernels');
    await mkdir(directory, { recursive: true });
    const target = join(directory, `${createHash('sha256').update(bytes).digest('hex').slice(0, 24)}.vmlinux`);
    if (!existsSync(target)) await writeFileWhole(target, [elf]);
    return target;
  } catch (error) {
    if (isNeeded || !(error instanceof GuestImageError)) throw error;
    return undefined;
  }
}

function findFirmware(bios = existsSync(SYSTEM_BIOS) ? SYSTEM_BIOS : undefined): Pick<BootFiles, 'bios' | 'vgaBios'> {
  if (bios === undefined)
    throw new VmError(
      'image',
      'no BIOS found: give --bios FILE (SeaBIOS), install the package seabios, or give an unpacked vmlinux, which boots without',
    );
  const vgaBios = join(dirname(bios), VGA_BIOS);
  return { bios, vgaBios: existsSync(vgaBios) ? vgaBios : undefined };
}

/** For whoever does not say: so that all tests can run on the other kernel. */
export function defaultKernel(): NamedKernel {
  return process.env['V86_VIRTIOFS_KERNEL'] === 'minimal' ? 'minimal' : 'stock';
}

/** For whoever does not say: so that all tests can run with the other driver. */
export function defaultDriver(kernel: string): NamedDriver {
  return isNamed(kernel) && process.env['V86_VIRTIOFS_DRIVER'] === 'fast' ? 'fast' : 'stock';
}

/** Throws {@link VmError} `image` that names the file. */
export async function readImageFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw new VmError('image', `can't read the guest image's file ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
