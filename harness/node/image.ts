import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { VmError } from '../machine/errors.ts';
import type { BootFiles } from './boot-files.ts';
import { ownKernel } from './own-kernel.ts';
import type { NamedDriver, NamedKernel, VmOptions } from './vm-options.ts';

/** Where Debian's package `seabios` puts its files. */
const SYSTEM_BIOS = '/usr/share/seabios/bios.bin';
const VGA_BIOS = 'vgabios-stdvga.bin';

type Wanted = Pick<VmOptions, 'initrd' | 'modules' | 'bios' | 'driver' | 'bootMethod' | 'onProgress'> & {
  kernel: string;
  /** Whether the guest has a root filesystem. */
  hasRoot?: boolean;
};

/** The image that `guest-images/` builds, or the one the caller brought. Throws {@link VmError} `image` or `configuration`. */
export async function resolveImage({
  kernel,
  initrd,
  modules,
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
    if (modules !== undefined)
      throw new VmError(
        'image',
        `the kernel ${kernel} has its own modules: give --kernel FILE with --modules, or leave that out`,
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
  const files = await ownKernel({ kernel, initrd, modules, bootMethod, onProgress, hasRoot });
  const isFound = files.vmlinux !== undefined || (bios === undefined && files.bios !== undefined);
  return isFound ? files : { ...files, ...findFirmware(bios) };
}

export function isNamed(kernel: string): kernel is NamedKernel {
  return kernel === 'stock' || kernel === 'minimal';
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
