/** Where the code of {@link encodeResetVector} goes: the last bytes below 1 MiB, at which a processor starts. */
export const RESET_CODE = 0xfff00;

const SEGMENT = 0xf000;
const SIZE = 0x100;
const GDT = 0xc8;
const FRESH = 0xc4;
const MESSAGE = 0x60;
const RESET_VECTOR = 0xf0;
const COM1 = 0x3f8;
const BOOT_CS = 0x10;
const BOOT_DS = 0x18;

/** What the serial console says when the machine was reset and nobody has loaded the kernel again. */
export const NOTHING_TO_BOOT = '\r\nThis machine was reset and has nothing to boot from: it stops here.\r\n';

/**
 * The only firmware this machine has: enters protected mode with paging off and jumps to the kernel
 * as the 32-bit boot protocol asks (Documentation/arch/x86/boot.rst): flat __BOOT_CS and __BOOT_DS,
 * interrupts off, esi = boot_params; ebp, edi and ebx are 0 since the reset. A kernel can start only
 * once, so the code does this once, and after that stops the machine with a message.
 */
export function encodeResetVector(entry: number, bootParams: number): Uint8Array {
  const offset = (at: number) => u16(RESET_CODE + at);
  const stop = [
    0xbe,
    ...offset(MESSAGE), // mov si, message
    0xba,
    ...u16(COM1), // mov dx, COM1
    0x2e,
    0xac, // next: lodsb cs:[si]
    0x84,
    0xc0, // test al, al
    0x74,
    0x03, // jz halt
    0xee, // out dx, al
    0xeb,
    0xf7, // jmp next
    0xf4, // halt: hlt
    0xeb,
    0xfd, // jmp halt
  ];
  const start = [
    0xfa, // cli
    0xfc, // cld
    0x2e,
    0x80,
    0x3e,
    ...offset(FRESH),
    0x00, // cmp byte cs:[fresh], 0
    0x75,
    stop.length, // jne go
    ...stop,
    0x2e,
    0xc6,
    0x06,
    ...offset(FRESH),
    0x00, // go: mov byte cs:[fresh], 0
    0x2e,
    0x66,
    0x0f,
    0x01,
    0x16,
    ...offset(GDT), // lgdt cs:[gdt]
    0x0f,
    0x20,
    0xc0, // mov eax, cr0
    0x0c,
    0x01, // or al, 1
    0x0f,
    0x22,
    0xc0, // mov cr0, eax
  ];
  const code = new Uint8Array(SIZE);
  code.set([
    ...start,
    0x66,
    0xea,
    ...u32(RESET_CODE + start.length + 8),
    ...u16(BOOT_CS), // jmp __BOOT_CS:protected
    0xb8,
    ...u32(BOOT_DS), // protected: mov eax, __BOOT_DS
    0x8e,
    0xd8,
    0x8e,
    0xc0,
    0x8e,
    0xe0,
    0x8e,
    0xe8,
    0x8e,
    0xd0, // mov ds, es, fs, gs, ss
    0xbe,
    ...u32(bootParams), // mov esi, boot_params
    0xb8,
    ...u32(entry), // mov eax, entry
    0xff,
    0xe0, // jmp eax
  ]);
  code.set(new TextEncoder().encode(NOTHING_TO_BOOT), MESSAGE);
  code[FRESH] = 1;
  // The processor never reads the null descriptor: its place holds what lgdt loads.
  code.set([...u16(BOOT_DS + 7), ...u32(RESET_CODE + GDT)], GDT);
  code.set([0xff, 0xff, 0, 0, 0, 0x9b, 0xcf, 0], GDT + BOOT_CS); // code, execute/read, 4 GiB
  code.set([0xff, 0xff, 0, 0, 0, 0x93, 0xcf, 0], GDT + BOOT_DS); // data, read/write, 4 GiB
  code.set([0xea, ...offset(0), ...u16(SEGMENT)], RESET_VECTOR); // jmp f000:ff00
  return code;
}

function u16(value: number): number[] {
  return [value & 0xff, (value >> 8) & 0xff];
}

function u32(value: number): number[] {
  return [...u16(value), ...u16(value >>> 16)];
}
