import { readFile } from 'node:fs/promises';
import { VmError } from '../machine/errors.ts';

/** What a machine boots from. Paths; which of them are needed depends on the boot method. */
export interface BootFiles {
  kernel: string;
  /** Missing where a kernel needs none for a root. */
  initrd?: string;
  /** The initial RAM disk is somebody else's, with the programs of `guest-images/` beside it, which start the agent and go on with it. */
  startsAgent?: boolean;
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
