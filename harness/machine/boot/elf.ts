import { isBzImage } from './boot-params.ts';

/** The kernel can't be loaded straight into this machine. The message says why, and what would do. */
export class DirectBootError extends Error {
  override readonly name = 'DirectBootError';
}

/** A part of the kernel, and where it has to lie. */
export interface Segment {
  /** Physical. */
  address: number;
  /** A view of the file. */
  bytes: Uint8Array;
  /** In memory: what goes beyond `bytes` is zero. */
  size: number;
}

export interface Executable {
  segments: Segment[];
  /** Physical address of the first instruction. */
  entry: number;
}

const ELF_MAGIC = 0x464c457f;
const ELFCLASS32 = 1;
const ELFDATA2LSB = 1;
const ET_EXEC = 2;
const EM_386 = 3;
const PT_LOAD = 1;
const EHDR_SIZE = 52;
const PHDR_SIZE = 32;

/**
 * Reads a vmlinux. Throws {@link DirectBootError} for anything else than a whole 32-bit x86
 * executable whose entry point lies in one of its segments.
 */
export function readExecutable(file: Uint8Array): Executable {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  if (file.length < EHDR_SIZE || view.getUint32(0, true) !== ELF_MAGIC) {
    const found = isBzImage(file) ? 'a compressed kernel (bzImage)' : 'not an ELF file';
    throw new DirectBootError(`the kernel is ${found}: direct boot takes the unpacked one, vmlinux`);
  }
  const [fileClass, data, type, machine] = [
    view.getUint8(4),
    view.getUint8(5),
    view.getUint16(16, true),
    view.getUint16(18, true),
  ];
  if (fileClass !== ELFCLASS32 || data !== ELFDATA2LSB || machine !== EM_386) {
    throw new DirectBootError(
      `the kernel is for another processor (ELF class ${fileClass}, machine ${machine}): v86 runs 32-bit x86 kernels`,
    );
  }
  if (type !== ET_EXEC)
    throw new DirectBootError(`the kernel is not an executable but an ELF file of type ${type}: give vmlinux itself`);

  const [entry, phoff, phentsize, phnum] = [
    view.getUint32(24, true),
    view.getUint32(28, true),
    view.getUint16(42, true),
    view.getUint16(44, true),
  ];
  if (phentsize !== PHDR_SIZE || phoff + phnum * PHDR_SIZE > file.length) throw truncated(file);
  const headers = Array.from({ length: phnum }, (_, index) => {
    const at = phoff + index * PHDR_SIZE;
    const [p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz] = [0, 4, 8, 12, 16, 20].map((field) =>
      view.getUint32(at + field, true),
    ) as [number, number, number, number, number, number];
    return { p_type, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz };
  }).filter(({ p_type, p_memsz }) => p_type === PT_LOAD && p_memsz > 0);

  const segments = headers.map(({ p_offset, p_paddr, p_filesz, p_memsz }) => {
    if (p_offset + p_filesz > file.length) throw truncated(file);
    if (p_filesz > p_memsz)
      throw new DirectBootError(
        `the kernel is damaged: a segment has ${p_filesz} bytes in the file and ${p_memsz} in memory`,
      );
    return { address: p_paddr, bytes: file.subarray(p_offset, p_offset + p_filesz), size: p_memsz };
  });
  const inPhysical = headers.some(({ p_paddr, p_memsz }) => entry >= p_paddr && entry < p_paddr + p_memsz);
  const inVirtual = headers.find(({ p_vaddr, p_memsz }) => entry >= p_vaddr && entry < p_vaddr + p_memsz);
  if (!inPhysical && !inVirtual)
    throw new DirectBootError(`the kernel is damaged: its entry point ${hex(entry)} is in none of its segments`);
  return { segments, entry: inPhysical ? entry : entry - inVirtual!.p_vaddr + inVirtual!.p_paddr };
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function truncated(file: Uint8Array): DirectBootError {
  return new DirectBootError(`the kernel is truncated or damaged: its headers point beyond its ${file.length} bytes`);
}
