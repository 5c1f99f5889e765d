/**
 * How bytes pass between the layers without either side knowing where the other keeps them.
 * virtio's chains implement both (over guest RAM), files implement the other end (over their own
 * storage), so a READ or WRITE costs one copy.
 */

/** The readable bytes of one request, consumed front to back. */
export interface ByteSource {
  /** Bytes not yet read. */
  readonly remaining: number;
  /**
   * Copies the next `length` bytes into `dst` at `offset` and moves on.
   * Returns the number copied, which is less than `length` only when the source ends.
   * `dst` is borrowed for the call.
   */
  read(dst: Uint8Array, offset: number, length: number): number;
}

/** One that can be read once more. */
export interface RewindableSource extends ByteSource {
  /** Makes all its bytes unread again. */
  rewind(): void;
}

/** The writable room for one reply. */
export interface ByteSink {
  /** Bytes of room in all. */
  readonly capacity: number;
  /**
   * Copies `length` bytes of `src` from `offset` to byte `position` of the room.
   * Returns the number copied, which is less than `length` only when the room ends.
   * `src` is borrowed for the call.
   */
  writeAt(position: number, src: Uint8Array, offset: number, length: number): number;
}

/** Bytes of a page: of guest RAM, of the memory that FUSE counts in, and of what files have in storage. */
export const PAGE_SIZE = 4096;

/** Over the same memory. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** A copy, of a Node `Buffer` too, whose own `slice` is a view. */
export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** A copy of all parts, one after the other. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Reads a byte array front to back. The array is borrowed. */
export class BytesSource implements RewindableSource {
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

  rewind(): void {
    this.#position = 0;
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
