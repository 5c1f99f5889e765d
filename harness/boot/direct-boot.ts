import type { V86 } from 'v86';

export interface DirectBootImage {
  /** Unpacked kernel, ELF. Borrowed. */
  vmlinux: Uint8Array;
  /** Initial RAM disk. Borrowed. */
  initrd: Uint8Array;
}

export interface DirectBootOptions {
  /** The kernel's command line. Default: `KERNEL_CMDLINE`. */
  cmdline?: string;
}

/**
 * Puts a kernel into the RAM of an emulator that has loaded and not run yet, and the machine into
 * the state that the Linux 32-bit boot protocol asks for, doing on the PCI bus what a BIOS would have done.
 * Call it after every device was attached; then `emulator.run()`.
 *
 * @throws DirectBootError when the kernel is no 32-bit ELF file, or RAM is too small.
 */
export function directBoot(_emulator: V86, _image: DirectBootImage, _options: DirectBootOptions = {}): void {
  throw new Error('not there yet');
}
