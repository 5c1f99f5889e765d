/** Bytes of the longest {@link ContentChunk}. */
export const MAX_CONTENT_CHUNK = 65_536;
/** Bytes of a {@link ContentChunk.hash}. */
export const CONTENT_HASH_LENGTH = 32;

/** What the content of a filesystem that is not here yet comes from: an image. */
export interface Origin {
  /** Names the image: BLAKE3 of its head, 64 lowercase hexadecimal digits. A snapshot names it, and is restored only where the same is. */
  readonly id: string;
  /**
   * The bytes of these chunks, in their order, checked against their hashes. They are borrowed, and never change. It may be asked for others
   * meanwhile. Rejects with an `FsError` (EIO) when they can't be had, after all that retrying is worth.
   */
  fetch(wanted: readonly ContentChunk[]): Promise<Uint8Array[]>;
  /** A hint: these will probably be asked for soon, in this order, as somebody reads a file on and on. Never fails. Default: hints are not taken. */
  expect?(wanted: readonly ContentChunk[]): void;
}

/** A chunk of content that is elsewhere. The same hash, the same bytes. */
export interface ContentChunk {
  /** BLAKE3, 32 bytes; borrowed, never changed. */
  readonly hash: Uint8Array;
  /** Bytes: 1 to 65,536. */
  readonly length: number;
}

/** Stands in the place of bytes that an {@link Origin} has, in the state of a filesystem. Never changed. */
export class AbsentBytes implements ContentChunk {
  readonly hash: Uint8Array;
  readonly length: number;
  #name: string | undefined;

  /** `hash` is borrowed: it may be part of a column. @throws TypeError for what is no hash, or a length that is out of range. */
  constructor(hash: Uint8Array, length: number) {
    if (hash.length !== CONTENT_HASH_LENGTH) throw new TypeError(`a hash has ${hash.length} bytes instead of 32`);
    if (!Number.isInteger(length) || length < 1 || length > MAX_CONTENT_CHUNK)
      throw new TypeError(`a chunk of content has ${length} bytes: 1 to ${MAX_CONTENT_CHUNK} are possible`);
    this.hash = hash;
    this.length = length;
  }

  /** The same for those with the same hash and length. */
  get name(): string {
    return (this.#name ??= `${String.fromCharCode(...this.hash)}${this.length}`);
  }
}
