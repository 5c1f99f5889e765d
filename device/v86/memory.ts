import { type GuestMemory, GuestMemoryError } from '../guest-memory.ts';
import type { Cpu } from './types.ts';

/** Guest RAM inside v86's wasm memory. Views are re-taken whenever that memory has grown. */
export class V86Memory implements GuestMemory {
  readonly #getCpu: () => Cpu;
  #cpu: Cpu | undefined;
  #buffer: ArrayBufferLike | undefined;
  #bytes = new Uint8Array(0);
  #view = new DataView(new ArrayBuffer(0));

  constructor(getCpu: () => Cpu) {
    this.#getCpu = getCpu;
  }

  get size(): number {
    this.#follow();
    return this.#bytes.length;
  }

  read(address: number, dst: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    dst.set(this.#bytes.subarray(address, address + length), offset);
  }

  write(address: number, src: Uint8Array, offset: number, length: number): void {
    this.#check(address, length);
    this.#bytes.set(offset === 0 && length === src.length ? src : src.subarray(offset, offset + length), address);
    this.#written(address, length);
  }

  readU8(address: number): number {
    this.#check(address, 1);
    return this.#bytes[address]!;
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
    this.#bytes[address] = value;
    this.#written(address, 1);
  }

  writeU16(address: number, value: number): void {
    this.#check(address, 2);
    this.#view.setUint16(address, value, true);
    this.#written(address, 2);
  }

  writeU32(address: number, value: number): void {
    this.#check(address, 4);
    this.#view.setUint32(address, value, true);
    this.#written(address, 4);
  }

  #written(address: number, length: number): void {
    if (length > 0) this.#cpu!.jit_dirty_cache(address, address + length);
  }

  /** Follows RAM to where it is: WebAssembly memory moves when it grows. What v86 shows of itself is a Proxy, dear to ask each time. */
  #follow(): void {
    const cpu = (this.#cpu ??= this.#getCpu());
    const { buffer } = cpu.wasm_memory;
    if (buffer === this.#buffer) return;
    const size = cpu.memory_size[0]! >>> 0;
    this.#buffer = buffer;
    this.#bytes = new Uint8Array(buffer, cpu.mem8.byteOffset, size);
    this.#view = new DataView(buffer, cpu.mem8.byteOffset, size);
  }

  #check(address: number, length: number): void {
    this.#follow();
    if (!(address >= 0 && length >= 0 && address + length <= this.#bytes.length)) {
      throw new GuestMemoryError(address, length, this.#bytes.length);
    }
  }
}
