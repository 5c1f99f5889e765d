import { FlatMemory } from '../../device/flat-memory.ts';

/** Guest RAM that counts what a device does with it: the measure of a request's cost that does not depend on the machine. */
export class CountingMemory extends FlatMemory {
  /** Reads and writes of any length. */
  accesses = 0;
  /** Read and written, in all. */
  copied = 0;

  #count(length: number): void {
    this.accesses++;
    this.copied += length;
  }

  override read(address: number, dst: Uint8Array, offset: number, length: number): void {
    this.#count(length);
    super.read(address, dst, offset, length);
  }

  override write(address: number, src: Uint8Array, offset: number, length: number): void {
    this.#count(length);
    super.write(address, src, offset, length);
  }

  override readU8(address: number): number {
    this.#count(1);
    return super.readU8(address);
  }

  override readU16(address: number): number {
    this.#count(2);
    return super.readU16(address);
  }

  override readU32(address: number): number {
    this.#count(4);
    return super.readU32(address);
  }

  override writeU8(address: number, value: number): void {
    this.#count(1);
    super.writeU8(address, value);
  }

  override writeU16(address: number, value: number): void {
    this.#count(2);
    super.writeU16(address, value);
  }

  override writeU32(address: number, value: number): void {
    this.#count(4);
    super.writeU32(address, value);
  }
}
