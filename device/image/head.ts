import { concat } from '../bytes.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import { AbsentBytes, type ContentChunk, MAX_CONTENT_CHUNK } from '../fs/origin.ts';
import { randomUuid } from '../random-uuid.ts';
import { SnapshotError } from '../snapshot/errors.ts';
import {
  type ChunkColumns,
  type Codec,
  fromU32,
  HASH_LENGTH,
  type LayerHead,
  type PackColumns,
  sameBytes,
  toHex,
} from '../snapshot/layer.ts';
import { refusal } from './columns.ts';
import type { Flate } from './flate.ts';
import { decodeTree } from './read-tree.ts';

/** Ends the names of the files that have chunks and nothing else. */
export const PACK_SUFFIX = '.pack';
/** Pieces of files in an image, at most: 256 GiB of files without holes. */
const MAX_CHUNKS = 1 << 22;
/** As many inodes as a filesystem has room for by default. */
const MAX_INODES = 1 << 20;

/** A file that has chunks. */
export interface ChunkFile {
  /** Of a pack; '' for the image's own file. */
  name: string;
  /** BLAKE3 of a pack in hexadecimal digits, or of the head that stands in the image's own file: what is cached is found by it. */
  key: string;
  /** Where chunks begin in it, and where they end. */
  start: number;
  end: number;
}

/** Where a chunk is. */
export interface ChunkPlace {
  file: number;
  /** Of its first byte in the file. */
  at: number;
  packed: number;
}

/**
 * Names what is in an image, in 64 hexadecimal digits: BLAKE3 of the BLAKE3s of its tree, of its hashes, and of its lengths, in the order in
 * which the tree speaks of them. How the chunks are packed has no part in it.
 */
export function imageId(
  codec: Codec,
  tree: Uint8Array,
  { hash, length }: Pick<ChunkColumns, 'hash' | 'length'>,
): string {
  return toHex(codec.hash(concat([codec.hash(tree), codec.hash(hash), codec.hash(length)])));
}

/** What an image says of itself. */
export interface ImageInfo {
  id: string;
  name: string;
  /** ISO 8601. */
  created: string;
  /** Files, directories and all else. */
  inodes: number;
  /** Of content, each chunk once: as it is, and as it is packed. */
  bytes: number;
  packedBytes: number;
  chunks: number;
  packs: number;
  /** Of those, what is read first: bytes as they are packed. 0 without a profile. */
  firstBytes: number;
}

/** An image whose head was read, and is sound. */
export interface ImageHead {
  info: ImageInfo;
  /** With all content absent, and a uuid of its own. */
  state: MemoryState;
  places: ChunkPlaces;
}

/**
 * Judges the head of an image. `prefix`: of its file. A filesystem that takes the state finds the rest, if anything is wrong with that.
 *
 * @throws SnapshotError that says what is wrong.
 */
export async function readImageHead(
  head: LayerHead,
  prefix: { headLength: number; dataLength: number; headHash: Uint8Array },
  dataStart: number,
  { codec, flate, inodes = MAX_INODES }: { codec: Codec; flate: Flate; inodes?: number },
): Promise<ImageHead> {
  const { image, chunks, packs } = head;
  if (!image) throw new SnapshotError('this is a snapshot, and not an image: go on from it with `restore`');
  const count = chunks.hash.length / HASH_LENGTH;
  const lengths = fromU32(chunks.length);
  const packed = fromU32(chunks.packed);
  if (lengths.some((length, n) => length < 1 || length > MAX_CONTENT_CHUNK || packed[n]! < 1 || packed[n]! > length))
    throw refusal('it has a chunk of an impossible length');
  const tree = await unpacked(flate, image.tree, image.treeLength);
  const own = { name: '', key: toHex(prefix.headHash), start: dataStart, end: dataStart + prefix.dataLength };
  const places = new ChunkPlaces(chunks, [own, ...packsOf(packs)], image.first && fromU32(image.first));
  const absent: (AbsentBytes | undefined)[] = new Array(count);
  const absentAt = (n: number): AbsentBytes | undefined =>
    n < count ? (absent[n] ??= new AbsentBytes(places.hashAt(n), lengths[n]!)) : undefined;
  const id = imageId(codec, tree, chunks);
  if (head.id !== id.slice(0, head.id.length)) throw refusal('it is not what its name says');
  const { nextIno, ranges } = decodeTree(tree, absentAt, { inodes, chunks: MAX_CHUNKS });
  return {
    info: {
      id,
      name: image.name,
      created: image.created,
      inodes: nextIno - 1,
      bytes: lengths.reduce((sum, length) => sum + length, 0),
      packedBytes: packed.reduce((sum, length) => sum + length, 0),
      chunks: count,
      packs: places.files.length - 1,
      firstBytes: prefix.dataLength,
    },
    state: { uuid: randomUuid(), nextIno, origin: id, ranges },
    places,
  };
}

async function unpacked(flate: Flate, bytes: Uint8Array, length: number): Promise<Uint8Array> {
  try {
    return await flate.inflate(bytes, length);
  } catch (error) {
    throw new SnapshotError(`the image is invalid: the list of its files is damaged: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function packsOf(packs: PackColumns | undefined): ChunkFile[] {
  if (!packs) return [];
  return Array.from(fromU32(packs.length), (end, n): ChunkFile => {
    const key = toHex(packs.hash.subarray(n * HASH_LENGTH, (n + 1) * HASH_LENGTH));
    return { name: key + PACK_SUFFIX, key, start: 0, end };
  });
}

/** Where the chunks of an image are. */
export class ChunkPlaces {
  /** The image's own file first. */
  readonly files: readonly ChunkFile[];
  readonly #hash: Uint8Array;
  readonly #length: Uint32Array;
  readonly #packed: Uint32Array;
  readonly #file: Uint32Array;
  readonly #at: Float64Array;
  /** Of those that stand in the image's own file too: where. */
  readonly #first = new Map<number, number>();
  /** By the first 48 bits of their hashes. */
  readonly #numbers = new Map<number, number>();

  /** Of a head that was found sound: the chunks fill the packs one after the other, and those in `first` the image's own file. */
  constructor({ hash, length, packed }: ChunkColumns, files: readonly ChunkFile[], first?: Uint32Array) {
    this.files = files;
    this.#hash = hash;
    this.#length = fromU32(length);
    this.#packed = fromU32(packed);
    this.#file = new Uint32Array(this.#packed.length);
    this.#at = new Float64Array(this.#packed.length);
    const view = new DataView(hash.buffer, hash.byteOffset, hash.length);
    let file = 0;
    let at = files[0]!.end;
    this.#packed.forEach((bytes, n) => {
      while (at + bytes > files[file]!.end) at = files[++file]!.start;
      this.#file[n] = file;
      this.#at[n] = at;
      at += bytes;
      this.#numbers.set(keyAt(view, n * HASH_LENGTH), n);
    });
    at = files[0]!.start;
    for (const n of first ?? []) {
      this.#first.set(n, at);
      at += this.#packed[n]!;
    }
  }

  get count(): number {
    return this.#packed.length;
  }

  /** Those that stand in the image's own file too, in their order there. */
  get first(): Iterable<number> {
    return this.#first.keys();
  }

  /** A view of it. */
  hashAt(n: number): Uint8Array {
    return this.#hash.subarray(n * HASH_LENGTH, (n + 1) * HASH_LENGTH);
  }

  chunkAt(n: number): ContentChunk {
    return { hash: this.hashAt(n), length: this.#length[n]! };
  }

  /** Which chunk it is; undefined for one that is not of this image. */
  find({ hash, length }: ContentChunk): number | undefined {
    const n = this.#numbers.get(keyAt(new DataView(hash.buffer, hash.byteOffset, hash.length), 0));
    return n === undefined || length !== this.#length[n] || !sameBytes(hash, this.hashAt(n)) ? undefined : n;
  }

  /** Where it stands in a pack. */
  inPack(n: number): ChunkPlace {
    return { file: this.#file[n]!, at: this.#at[n]!, packed: this.#packed[n]! };
  }

  /** Where it stands in the image's own file; undefined where it does not. */
  inFront(n: number): ChunkPlace | undefined {
    const at = this.#first.get(n);
    return at === undefined ? undefined : { file: 0, at, packed: this.#packed[n]! };
  }
}

function keyAt(view: DataView, at: number): number {
  return view.getUint32(at) * 2 ** 16 + view.getUint16(at + 4);
}
