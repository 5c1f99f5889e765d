/** Parts of `struct boot_params`, the "zero page" of Documentation/arch/x86/zero-page.rst. */
export interface BootParams {
  /** Physical addresses. */
  cmdline: number;
  initrd: { address: number; size: number };
  memory: E820Entry[];
}

export interface E820Entry {
  address: number;
  size: number;
  type: typeof E820_RAM | typeof E820_RESERVED;
}

export const E820_RAM = 1;
export const E820_RESERVED = 2;

const BOOT_PARAMS_SIZE = 4096;
/** `COMMAND_LINE_SIZE` of x86, the terminating zero included. */
export const COMMAND_LINE_SIZE = 2048;

const E820_ENTRIES = 0x1e8;
const SETUP_HEADER_BOOT_FLAG = 0x1fe;
const SETUP_HEADER_MAGIC = 0x202;
const SETUP_HEADER_VERSION = 0x206;
const TYPE_OF_LOADER = 0x210;
const LOADFLAGS = 0x211;
const RAMDISK_IMAGE = 0x218;
const RAMDISK_SIZE = 0x21c;
const CMD_LINE_PTR = 0x228;
const E820_TABLE = 0x2d0;
const E820_ENTRY_SIZE = 20;

const BOOT_FLAG = 0xaa55;
const HDRS = 0x53726448;
const PROTOCOL_VERSION = 0x020c;
const LOADER_UNDEFINED = 0xff;
const LOADED_HIGH = 1;

/** Whether a file has the setup header of Documentation/arch/x86/boot.rst, which a compressed kernel begins with. */
export function isBzImage(file: Uint8Array): boolean {
  if (file.length < SETUP_HEADER_MAGIC + 4) return false;
  return new DataView(file.buffer, file.byteOffset, file.byteLength).getUint32(SETUP_HEADER_MAGIC, true) === HDRS;
}

export function encodeBootParams({ cmdline, initrd, memory }: BootParams): Uint8Array {
  const page = new Uint8Array(BOOT_PARAMS_SIZE);
  const view = new DataView(page.buffer);
  view.setUint16(SETUP_HEADER_BOOT_FLAG, BOOT_FLAG, true);
  view.setUint32(SETUP_HEADER_MAGIC, HDRS, true);
  view.setUint16(SETUP_HEADER_VERSION, PROTOCOL_VERSION, true);
  view.setUint8(TYPE_OF_LOADER, LOADER_UNDEFINED);
  view.setUint8(LOADFLAGS, LOADED_HIGH);
  view.setUint32(CMD_LINE_PTR, cmdline, true);
  view.setUint32(RAMDISK_IMAGE, initrd.address, true);
  view.setUint32(RAMDISK_SIZE, initrd.size, true);
  view.setUint8(E820_ENTRIES, memory.length);
  memory.forEach(({ address, size, type }, index) => {
    const at = E820_TABLE + index * E820_ENTRY_SIZE;
    view.setUint32(at, address, true);
    view.setUint32(at + 8, size, true);
    view.setUint32(at + 16, type, true);
  });
  return page;
}
