import { concat, copyOf } from '../bytes.ts';
import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import { loadCodec } from '../snapshot/codec/codec.ts';
import { SnapshotError } from '../snapshot/errors.ts';
import {
  type Codec,
  encodeLayer,
  HASH_LENGTH,
  MAX_PACK_LENGTH,
  MAX_TREE_LENGTH,
  toHex,
  toU32,
} from '../snapshot/layer.ts';
import type { FileStore } from '../snapshot/store/file-store.ts';
import type { TreeProgress } from '../trees/report.ts';
import { type Flate, streamFlate } from './flate.ts';
import { imageId, PACK_SUFFIX } from './head.ts';
import { piecesOf, survey } from './survey.ts';
import { encodeTree, type TreeRows } from './tree.ts';

/** Bytes of a pack: few files on the server, and not too much where a server sends whole files only. */
const PACK_SIZE = 16 << 20;
/** Chunks that are compressed at once. */
const AT_ONCE = 16;

/** Of {@link buildImage}. */
export interface ImageOptions {
  /** What it is called; for people. */
  name?: string;
  /** Seconds since 1970, `SOURCE_DATE_EPOCH`: what was changed later counts as changed then, and the image as made then. Default: when the newest of its files was changed. */
  epoch?: number;
  /** Bytes of a pack at most, up to 32 MiB. Default: 16 MiB. */
  packSize?: number;
  flate?: Flate;
  codec?: Codec;
  /** Files that are packed, and bytes of them. */
  onProgress?: TreeProgress;
}

/** What came of {@link buildImage}. */
export interface BuiltImage {
  /** Names what is in it: the BLAKE3 of its tree and its chunks, 64 hexadecimal digits. */
  id: string;
  /** Files, directories and all else. */
  inodes: number;
  /** Of files, holes included. */
  bytes: number;
  /** The names of the files that were written, the image first. */
  files: string[];
  /** Bytes of them, and of the first one. */
  size: number;
  headSize: number;
}

/**
 * Makes an image of what is in a filesystem: writes packs to `files`, and then `file`, which names them. The same files make the same bytes, with
 * the same `flate`; and the same id with any. The filesystem should stay as it is meanwhile.
 *
 * @throws SnapshotError for more than an image can have; what `files` throws.
 */
export async function buildImage(
  filesystem: MemoryFileSystem,
  files: Pick<FileStore, 'write'>,
  file: string,
  { name = '', epoch, packSize = PACK_SIZE, flate = streamFlate, codec = loadCodec(), onProgress }: ImageOptions = {},
): Promise<BuiltImage> {
  if (!(packSize >= 1 << 16 && packSize <= MAX_PACK_LENGTH))
    throw new RangeError(`a pack of ${packSize} bytes: it can have 64 KiB to ${MAX_PACK_LENGTH >> 20} MiB`);
  const found = survey(filesystem, epoch);
  const packer = new Packer(files, codec, flate, packSize);
  const done = { files: 0, bytes: 0 };
  for (const { ino, inode, size } of found.files) {
    await addContent(found.rows, ino, size, piecesOf(filesystem, inode, size), packer);
    onProgress?.(++done.files, (done.bytes += size));
  }
  const { chunks, packs, size } = await packer.finish();
  const tree = encodeTree(found.rows);
  if (tree.length > MAX_TREE_LENGTH)
    throw new SnapshotError(
      `the names and attributes of ${found.rows.inodes.mode.length} files take ${tree.length} bytes, and an image has room for ${MAX_TREE_LENGTH}: make several`,
    );
  const id = imageId(codec, tree, chunks);
  const made = epoch ?? Math.max(0, found.newest);
  const parts = encodeLayer(
    codec,
    {
      id: id.slice(0, HASH_LENGTH),
      chunks,
      packs,
      image: {
        created: new Date(made * 1000).toISOString(),
        name,
        tree: await flate.deflate(tree),
        treeLength: tree.length,
      },
    },
    [],
  );
  await files.write(file, parts);
  const headSize = parts.reduce((sum, { length }) => sum + length, 0);
  return {
    id,
    inodes: found.rows.inodes.mode.length,
    bytes: found.bytes,
    files: [file, ...packer.names],
    size: size + headSize,
    headSize,
  };
}

async function addContent(
  { files, chunks }: TreeRows,
  ino: number,
  size: number,
  pieces: AsyncIterable<{ index: number; map: number; bytes: Uint8Array }>,
  packer: Packer,
): Promise<void> {
  const before = chunks.chunk.length;
  for await (const { index, map, bytes } of pieces) {
    chunks.index.push(index);
    chunks.map.push(map);
    chunks.chunk.push(await packer.add(bytes));
  }
  files.ino.push(ino);
  files.size.push(size);
  files.chunks.push(chunks.chunk.length - before);
}

/** Writes chunks into packs, each once. */
class Packer {
  readonly #files: Pick<FileStore, 'write'>;
  readonly #codec: Codec;
  readonly #flate: Flate;
  readonly #packSize: number;
  /** Which chunk has these bytes, by their hash. */
  readonly #known = new Map<string, number>();
  readonly #hashes: Uint8Array[] = [];
  readonly #lengths: number[] = [];
  readonly #packed: number[] = [];
  readonly #packHashes: Uint8Array[] = [];
  readonly #packLengths: number[] = [];
  /** Being compressed, in order. */
  readonly #waiting: Promise<Uint8Array>[] = [];
  #parts: Uint8Array[] = [];
  #length = 0;

  constructor(files: Pick<FileStore, 'write'>, codec: Codec, flate: Flate, packSize: number) {
    this.#files = files;
    this.#codec = codec;
    this.#flate = flate;
    this.#packSize = packSize;
  }

  get names(): string[] {
    return this.#packHashes.map((hash) => toHex(hash) + PACK_SUFFIX);
  }

  /** `bytes` are borrowed until it has settled. Returns the number of the chunk. */
  async add(bytes: Uint8Array): Promise<number> {
    const hash = this.#codec.hash(bytes);
    const name = toHex(hash);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const number = this.#hashes.length;
    this.#known.set(name, number);
    this.#hashes.push(hash);
    this.#lengths.push(bytes.length);
    this.#waiting.push(this.#pack(copyOf(bytes)));
    if (this.#waiting.length >= AT_ONCE) await this.#take();
    return number;
  }

  async #pack(bytes: Uint8Array): Promise<Uint8Array> {
    const packed = await this.#flate.deflate(bytes);
    return packed.length < bytes.length ? packed : bytes;
  }

  async #take(): Promise<void> {
    const packed = await this.#waiting.shift()!;
    if (this.#length + packed.length > this.#packSize) await this.#flush();
    this.#packed.push(packed.length);
    this.#parts.push(packed);
    this.#length += packed.length;
  }

  async #flush(): Promise<void> {
    if (!this.#length) return;
    const pack = concat(this.#parts);
    this.#parts = [];
    this.#length = 0;
    const hash = this.#codec.hash(pack);
    this.#packHashes.push(hash);
    this.#packLengths.push(pack.length);
    await this.#files.write(toHex(hash) + PACK_SUFFIX, [pack]);
  }

  async finish() {
    while (this.#waiting.length) await this.#take();
    await this.#flush();
    return {
      chunks: { hash: concat(this.#hashes), length: toU32(this.#lengths), packed: toU32(this.#packed) },
      packs: { hash: concat(this.#packHashes), length: toU32(this.#packLengths) },
      size: this.#packLengths.reduce((sum, length) => sum + length, 0),
    };
  }
}
