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

/** Bytes that aren't what a chunk must be. The codec goes on working. */
export class CodecError extends Error {
  override name = 'CodecError';
}

export interface SealedChunk {
  /** BLAKE3 of the bytes as given, 32 bytes. */
  hash: Uint8Array;
  /** The bytes as an LZ4 block. May be longer than they are. */
  packed: Uint8Array;
}

/**
 * BLAKE3 and the LZ4 block format, in wasm. What's passed in is borrowed for the call, what's
 * returned is the caller's own. Calls work in one staging area that is kept, as large as the
 * largest call needed: the chunk and its compressed form.
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
  hash(bytes: Uint8Array): Uint8Array {
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

  /** An LZ4 block, longer than `bytes` if they can't be compressed. Throws {@link CodecError} above {@link MAX_CHUNK_BYTES}. */
  compress(bytes: Uint8Array): Uint8Array {
    this.#stageChunk(bytes);
    return this.#compressStaged(bytes.length);
  }

  /** Both {@link hash} and {@link compress}, for less than the two calls. */
  seal(bytes: Uint8Array): SealedChunk {
    this.#stageChunk(bytes);
    this.#stage.update(bytes.length);
    return { hash: this.#takeHash(), packed: this.#compressStaged(bytes.length) };
  }

  /**
   * The `rawLength` bytes that an LZ4 block was made of. `packed` may be any bytes: what isn't a
   * block of exactly that length throws {@link CodecError}, before anything is allocated if
   * `packed` is too short or too long for it.
   */
  decompress(packed: Uint8Array, rawLength: number): Uint8Array {
    checkLength(rawLength);
    if (rawLength > packed.length * MAX_EXPANSION) throw new CodecError(`Damaged chunk: ${packed.length} bytes can't make ${rawLength}`);
    if (packed.length > Stage.compressed_bound(rawLength)) throw new CodecError(`Damaged chunk: ${packed.length} bytes are too many for ${rawLength}`);
    this.#copyIn(packed, packed.length + rawLength);
    try {
      this.#stage.decompress(packed.length, rawLength);
    } catch (error) {
      throw new CodecError(`Damaged chunk: ${(error as Error).message}`, { cause: error });
    }
    return this.#area.slice(packed.length, packed.length + rawLength);
  }

  #stageChunk(bytes: Uint8Array): void {
    checkLength(bytes.length);
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

  #takeHash(): Uint8Array {
    const address = this.#stage.digest();
    return new Uint8Array(this.#memory.buffer, address, HASH_BYTES).slice();
  }

  #compressStaged(length: number): Uint8Array {
    return this.#area.slice(length, length + this.#stage.compress(length));
  }
}

let loaded: ChunkCodec | undefined;

/** The codec of this process, page or worker, compiled at the first call (a few ms). */
export function loadCodec(): ChunkCodec {
  return (loaded ??= new ChunkCodec());
}

function checkLength(length: number): void {
  if (!Number.isInteger(length) || length < 0 || length > MAX_CHUNK_BYTES) throw new CodecError(`A chunk has 0 to ${MAX_CHUNK_BYTES} bytes, not ${length}`);
}

function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}
