import type { V86 } from 'v86';
import { PAGE_SIZE } from '../../../device/bytes.ts';
import { V86Machine } from '../../../device/v86/adapter.ts';
import type { MemoryBlock } from '../../../device/v86/firmware.ts';
import { COMMAND_LINE_SIZE, E820_RAM, E820_RESERVED, encodeBootParams } from './boot-params.ts';
import { KERNEL_CMDLINE } from './cmdline.ts';
import { DirectBootError, hex, readExecutable } from './elf.ts';
import { encodeResetVector, RESET_CODE } from './reset-vector.ts';

export { DirectBootError } from './elf.ts';

export interface DirectBootImage {
  /** Unpacked kernel, ELF. Borrowed for the emulator's life. */
  vmlinux: Uint8Array;
  /** Initial RAM disk. Likewise. Default: none. */
  initrd?: Uint8Array;
}

export interface DirectBootOptions {
  /** The kernel's command line. Default: `KERNEL_CMDLINE`. */
  cmdline?: string;
}

/** There are no ACPI tables, and Linux would complain. */
const NO_FIRMWARE = 'acpi=off';

const NO_INITRD = new Uint8Array();
const MIB = 1024 * 1024;
const LOW_RAM_END = 0x9fc00;
const BOOT_PARAMS = 0x90000;
const CMDLINE = 0x91000;
const BIOS_START = 0xf0000;
const HIGH_RAM = MIB;
/** `initrd_addr_max` of 32-bit kernels: the end of what they map for good. */
const INITRD_END_MAX = 0x38000000;

/**
 * Puts a kernel into the RAM of an emulator that has loaded and not run yet, and the machine into
 * the state that the Linux 32-bit boot protocol asks for, doing on the PCI bus what a BIOS would have done.
 * Call it after every device was attached and has become ready; then `emulator.run()`.
 *
 * A reboot of the guest does the same again. There is no BIOS: no VGA text mode, no ACPI tables,
 * no boot from disks.
 *
 * @throws DirectBootError when the kernel is no 32-bit ELF file, or RAM is too small.
 */
export function directBoot(emulator: V86, image: DirectBootImage, options: DirectBootOptions = {}): void {
  if (emulator.is_running()) throw new DirectBootError('the emulator runs already: make it with `autostart: false`');
  directReboot(emulator, () => image, options)();
}

/**
 * Has a reboot of the guest load this kernel, which is needed after a restore: snapshots have the
 * machine only, and a guest without it stops when it reboots, with a message on its console.
 * `image` is called at each reboot, in the middle of the emulation: what it throws comes out of
 * v86's loop. Returns what does the same now.
 */
export function directReboot(
  emulator: V86,
  image: () => DirectBootImage,
  { cmdline = KERNEL_CMDLINE }: DirectBootOptions = {},
): () => void {
  return V86Machine.of(emulator).replaceBios((ramSize) => layOut(image(), cmdline, ramSize));
}

/** What goes where in `ramSize` bytes of RAM. */
function layOut({ vmlinux, initrd = NO_INITRD }: DirectBootImage, cmdline: string, ramSize: number): MemoryBlock[] {
  const { segments, entry } = readExecutable(vmlinux);
  const lowest = Math.min(...segments.map(({ address }) => address));
  if (lowest < HIGH_RAM)
    throw new DirectBootError(
      `the kernel wants to lie at ${hex(lowest)}, below 1 MiB: direct boot needs one that lies above`,
    );
  const kernelEnd = Math.max(...segments.map(({ address, size }) => address + size));
  const initrdAddress = (Math.min(ramSize, INITRD_END_MAX) - initrd.length) & ~(PAGE_SIZE - 1);
  if (initrdAddress < kernelEnd) {
    const pages = Math.ceil(kernelEnd / PAGE_SIZE) + Math.ceil(initrd.length / PAGE_SIZE);
    throw new DirectBootError(
      `${ramSize / MIB} MiB of RAM are not enough: the kernel and the initial RAM disk alone take ${Math.ceil((pages * PAGE_SIZE) / MIB)} MiB`,
    );
  }
  const words = new TextEncoder().encode(`${NO_FIRMWARE} ${cmdline}\0`);
  if (words.length > COMMAND_LINE_SIZE) {
    throw new DirectBootError(
      `the kernel's command line has ${words.length - 1} bytes: ${COMMAND_LINE_SIZE - 1} are the limit`,
    );
  }
  const bootParams = encodeBootParams({
    cmdline: CMDLINE,
    initrd: { address: initrdAddress, size: initrd.length },
    memory: [
      { address: 0, size: LOW_RAM_END, type: E820_RAM },
      { address: LOW_RAM_END, size: 0xa0000 - LOW_RAM_END, type: E820_RESERVED },
      { address: BIOS_START, size: HIGH_RAM - BIOS_START, type: E820_RESERVED },
      { address: HIGH_RAM, size: ramSize - HIGH_RAM, type: E820_RAM },
    ],
  });
  return [
    ...segments,
    { address: initrdAddress, bytes: initrd },
    { address: BOOT_PARAMS, bytes: bootParams },
    { address: CMDLINE, bytes: words },
    { address: RESET_CODE, bytes: encodeResetVector(entry, BOOT_PARAMS) },
  ];
}
