import type { ByteSink, ByteSource } from '../../bytes.ts';

/** Reads a byte array front to back. The array is borrowed. */
export class BytesSource implements ByteSource {
  readonly #bytes: Uint8Array;
  #position = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get remaining(): number {
    return this.#bytes.length - this.#position;
  }

  read(dst: Uint8Array, offset: number, length: number): number {
    const count = Math.min(length, this.remaining);
    dst.set(this.#bytes.subarray(this.#position, this.#position + count), offset);
    this.#position += count;
    return count;
  }
}

/** Writes into a byte array. The array is borrowed. */
export class BytesSink implements ByteSink {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get capacity(): number {
    return this.#bytes.length;
  }

  writeAt(position: number, src: Uint8Array, offset: number, length: number): number {
    const count = Math.max(0, Math.min(length, this.#bytes.length - position));
    this.#bytes.set(src.subarray(offset, offset + count), position);
    return count;
  }
}
