import { type GuestMemory, GuestMemoryError } from './guest-memory.ts';

/** Guest RAM that is nothing but bytes: of a device without an emulator around it. `bytes` are the RAM itself. */
export class FlatMemory implements GuestMemory {
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
    this.#view = new DataView(this.bytes.buffer);
  }

  get size(): number {
    return this.bytes.length;
  }

  read(address: number, dst: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    dst.set(this.bytes.subarray(address, address + length), offset);
  }

  write(address: number, src: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    this.bytes.set(src.subarray(offset, offset + length), address);
  }

  readU8(address: number): number {
    this.#check(address, 1);
    return this.#view.getUint8(address);
  }

  readU16(address: number): number {
    this.#check(address, 2);
    return this.#view.getUint16(address, true);
  }

  readU32(address: number): number {
    this.#check(address, 4);
    return this.#view.getUint32(address, true);
  }

  writeU8(address: number, value: number): void {
    this.#check(address, 1);
    this.#view.setUint8(address, value);
  }

  writeU16(address: number, value: number): void {
    this.#check(address, 2);
    this.#view.setUint16(address, value, true);
  }

  writeU32(address: number, value: number): void {
    this.#check(address, 4);
    this.#view.setUint32(address, value, true);
  }

  #check(address: number, length: number): void {
    if (!(Number.isInteger(address) && address >= 0 && length >= 0 && address + length <= this.size))
      throw new GuestMemoryError(address, length, this.size);
  }
}
