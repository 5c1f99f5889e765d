import { copyOf } from '../../bytes.ts';
import { SnapshotError } from '../errors.ts';
import * as glue from './codec-wasm.ts';
import type * as Pkg from './pkg/codec.js';

const { Stage, initSync } = glue as unknown as typeof Pkg;

/** The longest chunk that can be compressed. Hashing has no limit. */
export const MAX_CHUNK_BYTES = 64 << 20;

const HASH_BYTES = 32;
/** Long inputs are hashed in pieces of this size, so that the staging area stays small. */
const PIECE_BYTES = 1 << 20;
/** The staging area grows in steps of this size. */
const STEP_BYTES = 1 << 20;
/** No LZ4 block makes more of a byte: a length byte of 255 stands for 255 bytes of output. */
const MAX_EXPANSION = 255;

export interface SealedChunk {
  /** BLAKE3 of the bytes as given, 32 bytes. */
  hash: Uint8Array<ArrayBuffer>;
  /** The bytes as an LZ4 block. May be longer than they are. */
  packed: Uint8Array<ArrayBuffer>;
}

/**
 * BLAKE3 (https://github.com/BLAKE3-team/BLAKE3-specs) and the LZ4 block format
 * (https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md), in wasm. What's passed in is
 * borrowed for the call, what's returned is the caller's own. Calls work in one staging area that
 * is kept, as large as the largest call so far needed: the chunk and its compressed form.
 */
export class ChunkCodec {
  readonly #stage: Pkg.Stage;
  readonly #memory: WebAssembly.Memory;
  /** A view of the staging area. Empty once wasm memory has grown. */
  #area = new Uint8Array();

  constructor() {
    const wasm = Uint8Array.from(atob(glue.WASM), (char) => char.charCodeAt(0));
    this.#memory = initSync({ module: wasm }).memory;
    this.#stage = new Stage();
  }

  /** BLAKE3, 32 bytes. */
  hash(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      const piece = bytes.subarray(at, at + PIECE_BYTES);
      this.#copyIn(piece, piece.length);
      this.#stage.update(piece.length);
    }
    return this.#takeHash();
  }

  /** BLAKE3 as 64 lowercase hex digits. */
  hashHex(bytes: Uint8Array): string {
    return toHex(this.hash(bytes));
  }

  /** An LZ4 block, longer than `bytes` if they can't be compressed. Throws RangeError above 64 MiB. */
  compress(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    this.#stageChunk(bytes);
    return this.#compressStaged(bytes.length);
  }

  /** Both {@link hash} and {@link compress}, with one copy of `bytes`. Throws as compress does. */
  seal(bytes: Uint8Array): SealedChunk {
    this.#stageChunk(bytes);
    this.#stage.update(bytes.length);
    return { hash: this.#takeHash(), packed: this.#compressStaged(bytes.length) };
  }

  /**
   * The `rawLength` bytes that an LZ4 block was made of. Both may be any input: what isn't a block
   * of exactly that length throws {@link SnapshotError}, before anything is allocated if no block of
   * `packed.length` bytes could make it.
   */
  decompress(packed: Uint8Array, rawLength: number): Uint8Array<ArrayBuffer> {
    this.#unpack(packed, rawLength);
    return this.#area.slice(packed.length, packed.length + rawLength);
  }

  /**
   * A chunk as it is kept: `length` bytes as they are, or else an LZ4 block that {@link decompress} would take. Returns its bytes,
   * borrowed until the next call, and their BLAKE3. Throws as decompress does.
   */
  unseal(stored: Uint8Array, length: number): { bytes: Uint8Array; hash: Uint8Array } {
    if (stored.length === length) {
      this.#copyIn(stored, length);
    } else {
      this.#unpack(stored, length);
      this.#area.copyWithin(0, stored.length, stored.length + length);
    }
    this.#stage.update(length);
    return { hash: this.#takeHash(), bytes: this.#area.subarray(0, length) };
  }

  /** To right behind `packed` in the staging area. */
  #unpack(packed: Uint8Array, rawLength: number): void {
    if (!isChunkLength(rawLength))
      throw new SnapshotError(`a chunk can't have ${rawLength} bytes, only 0 to ${MAX_CHUNK_BYTES}`);
    if (rawLength > packed.length * MAX_EXPANSION || packed.length > Stage.compressed_bound(rawLength)) {
      throw new SnapshotError(`a chunk is damaged: ${packed.length} bytes can't be ${rawLength} compressed ones`);
    }
    this.#copyIn(packed, packed.length + rawLength);
    try {
      this.#stage.decompress(packed.length, rawLength);
    } catch (error) {
      throw new SnapshotError(`a chunk of ${rawLength} bytes is damaged: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #stageChunk(bytes: Uint8Array): void {
    if (!isChunkLength(bytes.length))
      throw new RangeError(`A chunk has at most ${MAX_CHUNK_BYTES} bytes, not ${bytes.length}`);
    this.#copyIn(bytes, bytes.length + Stage.compressed_bound(bytes.length));
  }

  #copyIn(bytes: Uint8Array, reserved: number): void {
    if (reserved > this.#area.length) {
      const length = Math.ceil(reserved / STEP_BYTES) * STEP_BYTES;
      const address = this.#stage.reserve(length);
      this.#area = new Uint8Array(this.#memory.buffer, address, length);
    }
    this.#area.set(bytes);
  }

  #takeHash(): Uint8Array<ArrayBuffer> {
    const address = this.#stage.digest();
    return copyOf(new Uint8Array(this.#memory.buffer, address, HASH_BYTES));
  }

  #compressStaged(length: number): Uint8Array<ArrayBuffer> {
    return this.#area.slice(length, length + this.#stage.compress(length));
  }
}

let loaded: ChunkCodec | undefined;

/** The codec of this process, page or worker, compiled at the first call (a few ms). */
export function loadCodec(): ChunkCodec {
  return (loaded ??= new ChunkCodec());
}

function isChunkLength(length: number): boolean {
  return Number.isInteger(length) && length >= 0 && length <= MAX_CHUNK_BYTES;
}

function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
