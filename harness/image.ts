import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ensureGuestImage } from '../guest-images/build.ts';
import { VmError } from './errors.ts';
import type { VmOptions } from './vm-options.ts';

/** What a machine boots from. Paths; which of them are needed depends on the road. */
export interface BootFiles {
  kernel: string;
  initrd: string;
  /** The kernel as an ELF file, for the direct road. */
  vmlinux?: string;
  bios?: string;
  vgaBios?: string;
  /** Hash over the files. */
  id: string;
}

/** Where Debian's package `seabios` puts its files. */
const SYSTEM_BIOS = '/usr/share/seabios/bios.bin';
const VGA_BIOS = 'vgabios-stdvga.bin';

/** The image that `guest-images/` builds, or the one the caller brought. Throws {@link VmError} `image`. */
export async function resolveImage({ image: custom, driver, kernel: which, onProgress }: Pick<VmOptions, 'image' | 'driver' | 'kernel' | 'onProgress'>): Promise<BootFiles> {
  if (!custom) return ensureGuestImage({ suspendDriver: driver === 'suspend', kernel: which, onProgress });
  if (driver === 'suspend') throw new VmError('configuration', 'the driver with suspend goes into the image that guest-images/ builds: put it into yours, or leave out --kernel and --initrd');
  const { kernel, initrd, bios } = custom;
  if (!kernel || !initrd) {
    throw new VmError('image', `a guest image of your own needs a kernel and an initial RAM disk: give --${kernel ? 'initrd' : 'kernel'} FILE too`);
  }
  const hash = createHash('sha256');
  for (const path of [kernel, initrd]) hash.update(await readImageFile(path));
  const firmware = bios ?? (existsSync(SYSTEM_BIOS) ? SYSTEM_BIOS : undefined);
  if (!firmware) throw new VmError('image', 'no BIOS found: give --bios FILE (SeaBIOS), or install the package seabios');
  hash.update(await readImageFile(firmware));
  const vgaBios = join(dirname(firmware), VGA_BIOS);
  return { kernel, initrd, bios: firmware, vgaBios: existsSync(vgaBios) ? vgaBios : undefined, id: hash.digest('hex') };
}

/** For whoever does not say: so that all tests can run on the other kernel. */
export function defaultKernel(): NonNullable<VmOptions['kernel']> {
  return process.env['V86_VIRTIOFS_KERNEL'] === 'minimal' ? 'minimal' : 'stock';
}

/** Throws {@link VmError} `image` that names the file. */
export async function readImageFile(path: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw new VmError('image', `can't read the guest image's file ${path}: ${(error as Error).message}`, { cause: error });
  }
}
