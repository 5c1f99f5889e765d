/** The kernel within a bzImage, as it was compressed. */
export interface KernelPayload {
  compression: 'gzip' | 'bzip2' | 'lzma' | 'xz' | 'lzo' | 'lz4' | 'zstd' | 'none';
  /** A view of the image. */
  data: Uint8Array;
  /** Of the kernel unpacked, as the image says. */
  unpackedSize: number;
}

const BOOT_FLAG = 0xaa55;
const HEADER_MAGIC = 0x53726448;
/** The first version with payload_offset and payload_length. */
const PROTOCOL_WITH_PAYLOAD = 0x0208;
const SECTOR_SIZE = 512;

const MAGICS: [KernelPayload['compression'], number[]][] = [
  ['gzip', [0x1f, 0x8b]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lzma', [0x5d, 0x00, 0x00]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['lzo', [0x89, 0x4c, 0x5a, 0x4f]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['none', [0x7f, 0x45, 0x4c, 0x46]],
];

/** `uname -r` of a kernel, bzImage or ELF, as it says it; undefined where it doesn't. */
export function kernelRelease(image: Uint8Array): string | undefined {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.length);
  const textAt = (at: number) => bytes.toString('latin1', at, at + 256);
  if (bytes.length >= 0x264 && bytes.readUInt16LE(0x1fe) === BOOT_FLAG && bytes.readUInt32LE(0x202) === HEADER_MAGIC)
    return /^[^\s\0]+(?= )/.exec(textAt(0x200 + bytes.readUInt16LE(0x20e)))?.[0];
  const banner = 'Linux version ';
  const at = bytes.indexOf(banner, 0, 'latin1');
  return at < 0 ? undefined : /^[^\s\0%]+(?= )/.exec(textAt(at + banner.length))?.[0];
}

/**
 * Finds the compressed kernel by the header that Documentation/arch/x86/boot.rst describes.
 * Returns undefined for a file that is no bzImage, or is from before Linux 2.6.24.
 */
export function kernelPayload(image: Uint8Array): KernelPayload | undefined {
  if (image.length < 0x264) return undefined;
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  const isBzImage = view.getUint16(0x1fe, true) === BOOT_FLAG && view.getUint32(0x202, true) === HEADER_MAGIC;
  if (!isBzImage || view.getUint16(0x206, true) < PROTOCOL_WITH_PAYLOAD) return undefined;
  const setupSectors = view.getUint8(0x1f1) || 4;
  const start = (setupSectors + 1) * SECTOR_SIZE + view.getUint32(0x248, true);
  const end = start + view.getUint32(0x24c, true);
  if (end > image.length) return undefined;
  const data = image.subarray(start, end);
  const compression = MAGICS.find(([, magic]) => magic.every((byte, index) => data[index] === byte))?.[0];
  if (!compression) return undefined;
  if (compression === 'none') return { compression, data, unpackedSize: data.length };
  // scripts/Makefile.lib appends the unpacked size where the compressed form does not end with it.
  const unpackedSize = view.getUint32(end - 4, true);
  return { compression, data: compression === 'gzip' ? data : data.subarray(0, -4), unpackedSize };
}
