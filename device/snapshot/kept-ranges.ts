import { concat } from '../bytes.ts';
import { cutByContent } from './cut.ts';
import { SnapshotError } from './errors.ts';
import { Allowance, decodeFields, encodeFields } from './fields.ts';
import { HASH_LENGTH, hashNames } from './layer.ts';
import { CHUNK_BYTES } from './ram-map.ts';

/** Byte strings from this length on are chunks of their own. */
export const MIN_CHUNK = 4096;

/** Stands for the bytes of a chunk: its hash. */
export class ChunkReference extends Uint8Array {}

/** How a range is kept: as CBOR in pieces. */
export interface KeptRange {
  /** Bytes, or {@link ChunkReference}s. */
  pieces: readonly Uint8Array[];
  /** The hashes of all chunks that it takes, those of the content of its files included. */
  chunks: Uint8Array;
}

/**
 * The ranges of filesystems, and how snapshots have them: a range never changes, so that what became of it once is what will become of it
 * again.
 */
export class KeptRanges {
  #kept = new WeakMap<object, KeptRange>();

  /** The next snapshot builds on nothing. */
  forget(): void {
    this.#kept = new WeakMap();
  }

  of(range: object): KeptRange | undefined {
    return this.#kept.get(range);
  }

  /** `add` is given every chunk that an earlier snapshot has not, borrowed, and returns its hash. */
  keep(range: object, add: (bytes: Uint8Array) => Uint8Array): KeptRange {
    const known = this.#kept.get(range);
    if (known) return known;
    const chunks: Uint8Array[] = [];
    const content = listed(range);
    const addTo = (bytes: Uint8Array): ChunkReference => {
      const hash = add(bytes);
      chunks.push(hash);
      return new ChunkReference(hash);
    };
    const encoded = encodeFields(range, (bytes) => {
      if (bytes instanceof ChunkReference) {
        chunks.push(bytes);
        return bytes;
      }
      return content.has(bytes) && bytes.length >= MIN_CHUNK && bytes.length <= CHUNK_BYTES ? addTo(bytes) : undefined;
    });
    const pieces = encoded.length <= CHUNK_BYTES ? [encoded] : [...cutByContent(encoded)];
    const kept = {
      pieces: pieces.map((piece) => (piece.length < MIN_CHUNK ? piece : addTo(piece))),
      chunks: concat(chunks),
    };
    this.#kept.set(range, kept);
    return kept;
  }

  /** The range that {@link keep} has made these pieces of. `find` gives the bytes of a chunk by its hash. @throws SnapshotError when it is damaged. */
  read(pieces: unknown, find: (hash: Uint8Array) => Uint8Array, allowance: Room): object {
    if (!isPieces(pieces))
      throw new SnapshotError('the snapshot is invalid: it has a range of files that is no list of bytes');
    const chunks: Uint8Array[] = [];
    const take = (hash: Uint8Array): Uint8Array => {
      chunks.push(hash);
      return find(hash);
    };
    const whole = pieces.map((piece) => {
      const bytes = piece instanceof ChunkReference ? take(piece) : piece;
      allowance.take(bytes.length);
      return bytes;
    });
    const range = decodeFields(whole.length === 1 ? whole[0]! : concat(whole), take, allowance.containers);
    if (typeof range !== 'object' || range === null)
      throw new SnapshotError('the snapshot is invalid: it has a range of files that is no record');
    this.#kept.set(range, { pieces, chunks: concat(chunks) });
    return range;
  }
}

/** How much the ranges of a snapshot may be, all together. */
export class Room {
  readonly containers = new Allowance();
  readonly #limit: number;
  #left: number;

  constructor(limit: number) {
    this.#limit = this.#left = limit;
  }

  take(bytes: number): void {
    this.#left -= bytes;
    if (this.#left < 0)
      throw new SnapshotError(`the files of the snapshot take more than ${this.#limit} bytes besides their content`);
  }
}

const latin1 = new TextDecoder('latin1');

/** The same for ranges with the same bytes; undefined when `pieces` is invalid. */
export function nameOf(pieces: unknown): string | undefined {
  return isPieces(pieces)
    ? pieces.map((piece) => `${piece instanceof ChunkReference ? 0 : piece.length}:${latin1.decode(piece)}`).join('')
    : undefined;
}

/** The names of the chunks that a kept range takes. */
export function chunkNames({ chunks }: KeptRange): string[] {
  return hashNames(chunks);
}

function isPieces(pieces: unknown): pieces is Uint8Array[] {
  return (
    Array.isArray(pieces) &&
    pieces.every(
      (piece) => piece instanceof Uint8Array && !(piece instanceof ChunkReference && piece.length !== HASH_LENGTH),
    )
  );
}

/** The byte strings that stand in lists in a range: content, which may be in many ranges. */
export function listed(range: object): Set<Uint8Array> {
  const found = new Set<Uint8Array>();
  for (const group of Object.values(range)) {
    if (typeof group !== 'object' || group === null || group instanceof Uint8Array) continue;
    for (const list of Object.values(group as object))
      if (Array.isArray(list)) for (const bytes of list) if (bytes instanceof Uint8Array) found.add(bytes);
  }
  return found;
}
