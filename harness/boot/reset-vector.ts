/** Where the code of {@link encodeResetVector} goes: the last bytes below 1 MiB, at which a processor starts. */
export const RESET_CODE = 0xfff00;

const RESET_CODE_SIZE = 0x100;
const RESET_VECTOR = 0xf0;
const GDT = 0x80;
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;

/**
 * The only firmware this machine has: enters protected mode with paging off and jumps to the kernel
 * as the 32-bit boot protocol asks (Documentation/arch/x86/boot.rst): flat __BOOT_CS and __BOOT_DS,
 * interrupts off, esi = boot_params; ebp, edi and ebx are 0 since the reset.
 */
export function encodeResetVector(entry: number, bootParams: number): Uint8Array {
  const code = new Uint8Array(RESET_CODE_SIZE);
  const real = [
    0xfa, // cli
    0xfc, // cld
    0x2e, 0x66, 0x0f, 0x01, 0x16, ...u16(RESET_CODE + GDT), // lgdt cs:[gdt]
    0x0f, 0x20, 0xc0, // mov eax, cr0
    0x0c, 0x01, // or al, 1
    0x0f, 0x22, 0xc0, // mov cr0, eax
  ];
  const farJump = [0x66, 0xea]; // jmp __BOOT_CS:protected
  const start = real.length + farJump.length + 6;
  code.set([
    ...real,
    ...farJump, ...u32(RESET_CODE + start), ...u16(BOOT_CS),
    0xb8, ...u32(BOOT_DS), // mov eax, __BOOT_DS
    0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xe0, 0x8e, 0xe8, 0x8e, 0xd0, // mov ds, es, fs, gs, ss
    0xbe, ...u32(bootParams), // mov esi, boot_params
    0xb8, ...u32(entry), // mov eax, entry
    0xff, 0xe0, // jmp eax
  ]);
  // The null descriptor is never read: its place holds what lgdt loads.
  code.set([...u16(BOOT_DS + 7), ...u32(RESET_CODE + GDT)], GDT);
  code.set([0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0], GDT + BOOT_CS); // code, execute/read, 4 GiB
  code.set([0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0], GDT + BOOT_DS); // data, read/write, 4 GiB
  code.set([0xea, ...u16(RESET_CODE), ...u16(0xf000)], RESET_VECTOR); // jmp f000:ff00
  return code;
}

function u16(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff];
}

function u32(value: number): number[] {
  return [...u16(value), ...u16(value >>> 16)];
}
