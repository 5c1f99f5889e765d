import { copyOf } from '../bytes.ts';
import { SnapshotError } from './errors.ts';
import { decodeFields, encodeFields } from './fields.ts';

/**
 * A layer: one file that holds what a snapshot added to those before it, or an image. Numbers are little-endian:
 *
 * | offset | bytes | field |
 * |---|---|---|
 * | 0 | 8 | magic, "V86LAYER" |
 * | 8 | 4 | format version |
 * | 12 | 4 | length of the head |
 * | 16 | 8 | length of the chunks, all together (f64) |
 * | 24 | 8 | 0 |
 * | 32 | 32 | BLAKE3 of the head |
 * | 64 | … | head: CBOR (RFC 8949) of {@link LayerHead} |
 * | 64 + head | … | chunks, one after the other: LZ4 blocks, or plain where that is no longer |
 *
 * The chunks of an image go on in packs, files beside it, and are compressed with deflate (RFC 1951).
 */
const MAGIC = 'V86LAYER';
/** Format version of the layers that this release writes. What it reads begins with version 1. */
export const LAYER_VERSION = 3;
export const PREFIX_LENGTH = 64;
/** Far above any real one: what is damaged, or made to do damage, must not become a huge allocation. */
const MAX_HEAD_LENGTH = 256 << 20;
const MAX_STATE_LENGTH = 256 << 20;
/** Of guest RAM: 4 GiB. */
const MAX_PAGES = 1 << 20;
/** The longest chunk there is, and how many pages of guest RAM may be in one. */
const MAX_CHUNK_LENGTH = 1 << 20;
export const PAGES_PER_CHUNK = 64;
/** What static hosts take as one file. */
export const MAX_PACK_LENGTH = 32 << 20;
/** Of an image's tree, unpacked: some two million files. */
export const MAX_TREE_LENGTH = 128 << 20;
export const HASH_LENGTH = 32;

/** An `Origin.id`. */
const IMAGE_ID = /^[0-9a-f]{64}$/;

/** What compresses and names chunks: see codec/. Buffers are borrowed, results the caller's. */
export interface Codec {
  /** BLAKE3, 32 bytes. */
  hash(bytes: Uint8Array): Uint8Array;
  /** An LZ4 block. */
  compress(bytes: Uint8Array): Uint8Array;
  /** The bytes of a chunk as it is kept, plain where both lengths are the same, borrowed until the next call; and their BLAKE3. @throws Error for damaged input. */
  unseal(stored: Uint8Array, length: number): { bytes: Uint8Array; hash: Uint8Array };
}

/** A list of chunks as columns of numbers. */
export interface ChunkColumns {
  /** 32 bytes each. */
  hash: Uint8Array;
  /** u32: bytes before compression. */
  length: Uint8Array;
  /** u32: bytes in the file; as many as `length` where it is not compressed. */
  packed: Uint8Array;
}

/** The pages of guest RAM that are not zeros, as runs; every column is u32. */
export interface RamMap {
  pageCount: number;
  /** First page of the run, and how many there are. */
  first: Uint8Array;
  count: Uint8Array;
  /** Which of `used` has them, and from which of its pages on. */
  chunk: Uint8Array;
  page: Uint8Array;
  /** Hashes of chunks, 32 bytes each. */
  used: Uint8Array;
}

/** One frozen machine. */
export interface Frozen {
  /** ISO 8601. */
  created: string;
  name: string;
  /** The snapshot it was taken after, in the same machine; '' for the first. */
  parent: string;
  /** What has to be the same where it is restored. */
  machine: Record<string, string | number | string[]>;
  /** What `inspect` tells of the session: plain data. */
  summary: unknown;
  ram: RamMap;
  /** Hashes of the chunks of v86's own state, in order. */
  state: Uint8Array;
  stateLength: number;
  /** Schema version of the virtio-fs state. */
  schema: number;
  /**
   * The virtio-fs state: see {@link encodeFields}. A long one is in chunks, whose hashes are in `deviceParts`, in order, and `devices` is
   * empty. Long byte strings in it are chunks too, whose hashes are in `deviceChunks`.
   */
  devices: Uint8Array;
  deviceParts: Uint8Array;
  deviceChunks: Uint8Array;
  /** The images that its filesystems are on, by their ids: it can't be restored without them. Default: none. */
  bases?: string[];
}

/** The files that have the chunks of an image: chunks only, none in two of them. */
export interface PackColumns {
  /** BLAKE3 of each, 32 bytes: its name is that in hexadecimal digits, and `.pack`. */
  hash: Uint8Array;
  /** u32 */
  length: Uint8Array;
}

/** A tree of files whose content is fetched when it is needed. */
export interface ImagePart {
  /** ISO 8601. */
  created: string;
  name: string;
  /** See `encodeTree`; deflated. */
  tree: Uint8Array;
  /** Bytes of it before that. */
  treeLength: number;
  /** u32: chunks that stand once more in the file itself, in this order: what is read first. Default: none. */
  first?: Uint8Array;
}

export interface LayerHead {
  id: string;
  chunks: ChunkColumns;
  /** Undefined for a layer that only holds chunks which others need, and for an image. */
  frozen?: Frozen;
  packs?: PackColumns;
  image?: ImagePart;
}

/** The first bytes of a layer, checked: what to read next. */
export interface LayerPrefix {
  version: number;
  headLength: number;
  dataLength: number;
  headHash: Uint8Array;
}

/**
 * Puts a layer together: the parts of its file, to be written one after the other.
 *
 * @throws SnapshotError for what {@link decodeHead} would refuse.
 */
export function encodeLayer(codec: Codec, head: LayerHead, chunks: readonly Uint8Array[]): Uint8Array[] {
  const { stateLength = 0 } = head.frozen ?? {};
  if (stateLength > MAX_STATE_LENGTH)
    throw new SnapshotError(
      `the emulator's own state has ${stateLength} bytes, and a snapshot has room for ${MAX_STATE_LENGTH}: give the machine smaller disks or less video memory`,
    );
  checkHead(head, { dataLength: totalLength(chunks) }, 'the snapshot');
  const encoded = encodeFields(head);
  if (encoded.length > MAX_HEAD_LENGTH)
    throw new SnapshotError(
      `the head of the snapshot has ${encoded.length} bytes, and there is room for ${MAX_HEAD_LENGTH}: it has too many chunks, or too long a summary`,
    );
  return layerParts(codec, encoded, chunks);
}

/** The parts of a layer's file, whatever is in them. */
export function layerParts(codec: Codec, head: Uint8Array, chunks: readonly Uint8Array[]): Uint8Array[] {
  const prefix = new Uint8Array(PREFIX_LENGTH);
  const view = new DataView(prefix.buffer);
  prefix.set(new TextEncoder().encode(MAGIC));
  view.setUint32(8, LAYER_VERSION, true);
  view.setUint32(12, head.length, true);
  view.setFloat64(16, totalLength(chunks), true);
  prefix.set(codec.hash(head), 32);
  return [prefix, head, ...chunks];
}

function totalLength(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}

/** `name` is for messages. @throws SnapshotError for what is no layer, cut off, or of another version. */
export function decodePrefix(bytes: Uint8Array, name: string): LayerPrefix {
  if (bytes.length < PREFIX_LENGTH)
    throw new SnapshotError(
      `${name} is truncated: ${bytes.length} bytes, and the prefix alone has ${PREFIX_LENGTH}; copy it again`,
    );
  const magic = new TextDecoder('latin1').decode(bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC)
    throw new SnapshotError(
      `${name} is not a snapshot of v86-virtiofs: it begins with ${JSON.stringify(magic)}, not ${JSON.stringify(MAGIC)}`,
    );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(8, true);
  if (version < 1 || version > LAYER_VERSION) {
    throw new SnapshotError(
      `${name} has format version ${version}, and this release reads versions 1 to ${LAYER_VERSION}: ${version > LAYER_VERSION ? 'use a newer release' : 'take it again'}`,
    );
  }
  const headLength = view.getUint32(12, true);
  const dataLength = view.getFloat64(16, true);
  if (bytes.subarray(24, 32).some((byte) => byte !== 0))
    throw new SnapshotError(`${name} is damaged: bytes 24 to 31 are not zeros; copy it again`);
  if (headLength > MAX_HEAD_LENGTH || !Number.isSafeInteger(dataLength) || dataLength < 0)
    throw new SnapshotError(`${name} is damaged: its lengths are impossible; copy it again`);
  return { version, headLength, dataLength, headHash: copyOf(bytes.subarray(32, 64)) };
}

/** @throws SnapshotError unless `bytes` are the head that `prefix` speaks of, and sound. */
export function decodeHead(codec: Codec, prefix: LayerPrefix, bytes: Uint8Array, name: string): LayerHead {
  if (bytes.length < prefix.headLength)
    throw new SnapshotError(
      `${name} is truncated: its head has ${bytes.length} bytes of ${prefix.headLength}; copy it again`,
    );
  if (!sameBytes(codec.hash(bytes), prefix.headHash))
    throw new SnapshotError(`${name} is damaged: the checksum of its head does not match; copy it again`);
  const head = upgradeHead(prefix.version, decodeFields(bytes) as LayerHead);
  checkHead(head, prefix, name);
  return head;
}

/** What a layer of the version with this index + 1 lacks, filled in: see `upgrades.ts` for the state of the devices, which has versions of its own. */
const UPGRADES: readonly ((frozen: Frozen) => Frozen)[] = [
  (frozen) => ({ ...frozen, schema: 1, deviceParts: new Uint8Array(0) }),
];

function upgradeHead(version: number, head: LayerHead): LayerHead {
  if (typeof head?.frozen !== 'object') return head;
  return { ...head, frozen: UPGRADES.slice(version - 1).reduce((frozen, upgrade) => upgrade(frozen), head.frozen) };
}

function checkHead(head: LayerHead, { dataLength }: Pick<LayerPrefix, 'dataLength'>, name: string): void {
  const fail = (what: string): never => {
    throw new SnapshotError(`${name} is invalid: ${what}`);
  };
  if (typeof head?.id !== 'string' || !/^[0-9a-f]{32}$/.test(head.id)) fail('its id is invalid');
  const { hash, length, packed } = head.chunks ?? {};
  if (!(hash instanceof Uint8Array && length instanceof Uint8Array && packed instanceof Uint8Array))
    fail('it has no list of chunks');
  const count = hash.length / HASH_LENGTH;
  if (!Number.isInteger(count) || length.length !== 4 * count || packed.length !== 4 * count)
    fail('its list of chunks has columns of different lengths');
  const [lengths, packedLengths] = [fromU32(length), fromU32(packed)];
  if (lengths.some((value) => value > MAX_CHUNK_LENGTH)) fail('it has a chunk that is too long');
  if (packedLengths.some((value, n) => value > lengths[n]!)) fail('it has a chunk that is longer packed than it is');
  if (head.image === undefined) {
    if (head.packs !== undefined) fail('it has packs and is no image');
    checkPlaces(packedLengths, [dataLength], fail);
  } else {
    checkPlaces(packedLengths, packLengths(head, fail), fail);
    checkImage(head.image, packedLengths, dataLength, fail);
  }
  const { frozen } = head;
  if (!frozen) return;
  for (const field of ['created', 'name', 'parent'] as const)
    if (typeof frozen[field] !== 'string') fail(`${field} is not text`);
  if (typeof frozen.machine !== 'object' || frozen.machine === null) fail('it describes no machine');
  if (!(frozen.devices instanceof Uint8Array)) fail('it has no device state');
  if (!Number.isInteger(frozen.schema)) fail('its device state has no version');
  if (!(frozen.deviceParts instanceof Uint8Array) || frozen.deviceParts.length % HASH_LENGTH !== 0)
    fail('it does not list the parts of its device state');
  if (!(frozen.deviceChunks instanceof Uint8Array) || frozen.deviceChunks.length % HASH_LENGTH !== 0)
    fail('it does not list the chunks of its device state');
  const { bases } = frozen;
  if (
    bases !== undefined &&
    !(Array.isArray(bases) && bases.every((id) => typeof id === 'string' && IMAGE_ID.test(id)))
  )
    fail('its list of images is invalid');
  const { state, stateLength } = frozen;
  const isState =
    state instanceof Uint8Array &&
    state.length % HASH_LENGTH === 0 &&
    Number.isInteger(stateLength) &&
    stateLength >= 0 &&
    stateLength <= MAX_STATE_LENGTH;
  if (!isState) fail('it has no state of the emulator');
  checkRam(frozen.ram, fail);
}

function packLengths({ packs }: LayerHead, fail: (what: string) => never): readonly number[] {
  if (packs === undefined) return [];
  const { hash, length } = packs ?? {};
  if (!(hash instanceof Uint8Array && length instanceof Uint8Array) || hash.length !== 8 * length.length)
    fail('it has no list of packs');
  const lengths = fromU32(length);
  if (hash.length % HASH_LENGTH || lengths.some((value) => value === 0 || value > MAX_PACK_LENGTH))
    fail('its list of packs is invalid');
  return [...lengths];
}

/** The chunks fill the files one after the other, and none is in two. */
function checkPlaces(packed: Uint32Array, files: readonly number[], fail: (what: string) => never): void {
  let file = 0;
  let left = files[0] ?? 0;
  for (const length of packed) {
    while (left === 0 && file + 1 < files.length) left = files[++file]!;
    if (length > left) fail('the lengths of its chunks do not add up');
    left -= length;
  }
  if (left !== 0 || file + 1 < files.length) fail('the lengths of its chunks do not add up');
}

function checkImage(image: ImagePart, packed: Uint32Array, dataLength: number, fail: (what: string) => never): void {
  for (const field of ['created', 'name'] as const)
    if (typeof image?.[field] !== 'string') fail(`${field} is not text`);
  const { tree, treeLength, first = new Uint8Array(0) } = image;
  if (!(tree instanceof Uint8Array) || !Number.isInteger(treeLength) || treeLength < 0 || treeLength > MAX_TREE_LENGTH)
    fail('it has no tree');
  if (!(first instanceof Uint8Array) || first.length % 4 || first.length > 4 * packed.length)
    fail('its list of what is read first is invalid');
  const isThere = new Uint8Array(packed.length);
  let length = 0;
  for (const chunk of fromU32(first)) {
    if (chunk >= packed.length || isThere[chunk]) fail('its list of what is read first is invalid');
    isThere[chunk] = 1;
    length += packed[chunk]!;
  }
  if (length !== dataLength) fail('what is read first is not what stands in it');
}

function checkRam(ram: RamMap, fail: (what: string) => never): void {
  if (!Number.isInteger(ram?.pageCount) || ram.pageCount < 0 || ram.pageCount > MAX_PAGES)
    fail('the size of its RAM is invalid');
  const columns = [ram.first, ram.count, ram.chunk, ram.page];
  if (
    !columns.every(
      (column) => column instanceof Uint8Array && column.length === columns[0]!.length && column.length % 4 === 0,
    )
  )
    fail('its map of RAM has columns of different lengths');
  if (!(ram.used instanceof Uint8Array) || ram.used.length % HASH_LENGTH !== 0) fail('its map of RAM names no chunks');
  const [first, count, chunk, page] = columns.map(fromU32) as [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let next = 0;
  for (let run = 0; run < first.length; run++) {
    if (first[run]! < next || first[run]! + count[run]! > ram.pageCount)
      fail('its map of RAM overlaps itself or exceeds RAM');
    if (chunk[run]! * HASH_LENGTH >= ram.used.length) fail('its map of RAM names a chunk that does not exist');
    if (page[run]! + count[run]! > PAGES_PER_CHUNK) fail('its map of RAM names a page that is in no chunk');
    next = first[run]! + count[run]!;
  }
}

/** A column of u32 as bytes, and back; copied when it is not aligned. */
export function toU32(values: ArrayLike<number>): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}

export function fromU32(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : copyOf(bytes);
  return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength / 4);
}

export function sum(values: Uint32Array): number {
  return values.reduce((total, value) => total + value, 0);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, n) => byte === b[n]);
}

/** A hash as the name of its chunk. */
export function toHex(hash: Uint8Array): string {
  let text = '';
  for (const byte of hash) text += HEX[byte];
  return text;
}

export function fromHex(name: string): Uint8Array {
  return Uint8Array.from({ length: name.length / 2 }, (_, n) => parseInt(name.slice(2 * n, 2 * n + 2), 16));
}

const HEX = Array.from({ length: 256 }, (_, n) => n.toString(16).padStart(2, '0'));

/** The hashes of a column, as names. */
export function hashNames(column: Uint8Array): string[] {
  return Array.from({ length: column.length / HASH_LENGTH }, (_, n) =>
    toHex(column.subarray(n * HASH_LENGTH, (n + 1) * HASH_LENGTH)),
  );
}
