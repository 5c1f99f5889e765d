/** A guest-physical address range that is not (wholly) in guest RAM. */
export class GuestMemoryError extends Error {
  override readonly name = 'GuestMemoryError';
  readonly address: number;
  readonly length: number;

  constructor(address: number, length: number, size: number) {
    super(`guest address 0x${address.toString(16)} + ${length} is outside guest RAM (${size} bytes)`);
    this.address = address;
    this.length = length;
  }
}

/**
 * Guest RAM, little-endian, addressed by guest-physical byte addresses from 0 to `size`.
 * Every access is checked; one that is not wholly inside throws {@link GuestMemoryError} and
 * touches nothing. Addresses are numbers, exact up to 2^53: convert a u64 once, checked.
 */
export interface GuestMemory {
  /** Bytes of RAM. */
  readonly size: number;
  /** Copies RAM into `dst`; `dst` is borrowed for the call. */
  read(address: number, dst: Uint8Array, offset: number, length: number): void;
  /** Copies `src` into RAM; `src` is borrowed for the call. */
  write(address: number, src: Uint8Array, offset: number, length: number): void;
  readU8(address: number): number;
  readU16(address: number): number;
  readU32(address: number): number;
  writeU8(address: number, value: number): void;
  writeU16(address: number, value: number): void;
  writeU32(address: number, value: number): void;
}
