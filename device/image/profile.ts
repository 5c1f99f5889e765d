import { copyOf } from '../bytes.ts';
import type { MemoryOrigin } from '../filesystems/memory/inode-table.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import type { ContentChunk } from '../fs/origin.ts';
import { loadCodec } from '../snapshot/codec/codec.ts';
import { type Codec, encodeLayer, toHex, toU32 } from '../snapshot/layer.ts';
import type { FileStore } from '../snapshot/store/file-store.ts';
import type { OpenImage } from './open.ts';

/** Bytes that stand in front at most, as they are packed: fewer than a reader keeps in memory. */
const MOST = 24 << 20;
/** Chunks that are asked for together. */
const LOT = 64;

/** Another's content, and what was asked for of it: the profile of whoever asks. */
export class ReadRecorder implements MemoryOrigin {
  readonly id: string;
  readonly tree: MemoryState | undefined;
  readonly #origin: MemoryOrigin;
  readonly #chunks = new Map<string, ContentChunk>();

  constructor(origin: MemoryOrigin) {
    this.id = origin.id;
    this.tree = origin.tree;
    this.#origin = origin;
  }

  /** What was asked for, each once, in the order of that. */
  get chunks(): ContentChunk[] {
    return [...this.#chunks.values()];
  }

  fetch(wanted: readonly ContentChunk[]): Promise<Uint8Array[]> {
    for (const chunk of wanted) {
      const name = toHex(chunk.hash);
      if (!this.#chunks.has(name)) this.#chunks.set(name, chunk);
    }
    return this.#origin.fetch(wanted);
  }

  expect(wanted: readonly ContentChunk[]): void {
    this.#origin.expect?.(wanted);
  }
}

/** What came of {@link repackImage}. */
export interface RepackedImage {
  /** Chunks in front, and their bytes as they are packed. */
  chunks: number;
  bytes: number;
  /** Chunks that found no room there. */
  leftOut: number;
  /** Bytes of the file. */
  size: number;
}

/**
 * Writes an image's own file to `files` as `file`, with copies of these chunks behind the head, in this order, in the place of those that stood there:
 * they come with the head, in one request. Packs and id stay as they are, and so do snapshots. The same chunks make the same bytes. There is room for
 * 24 MiB.
 *
 * @throws FsError EIO when content can't be had; what `files` throws.
 */
export async function repackImage(
  { head, origin, places }: Pick<OpenImage, 'head' | 'origin' | 'places'>,
  first: readonly ContentChunk[],
  files: Pick<FileStore, 'write'>,
  file: string,
  { codec = loadCodec() }: { codec?: Codec } = {},
): Promise<RepackedImage> {
  const wanted = [...new Set(first.flatMap((chunk) => places.find(chunk) ?? []))];
  const numbers: number[] = [];
  let bytes = 0;
  for (const number of wanted) {
    const { packed } = places.inPack(number);
    if (bytes + packed > MOST) break;
    numbers.push(number);
    bytes += packed;
  }
  const parts: Uint8Array[] = [];
  for (let at = 0; at < numbers.length; at += LOT)
    for (const { stored } of await origin.read(numbers.slice(at, at + LOT))) parts.push(copyOf(stored));
  const { first: _, ...image } = head.image!;
  const layer = encodeLayer(
    codec,
    { ...head, image: numbers.length ? { ...image, first: toU32(numbers) } : image },
    parts,
  );
  await files.write(file, layer);
  return {
    chunks: numbers.length,
    bytes,
    leftOut: wanted.length - numbers.length,
    size: layer.reduce((sum, { length }) => sum + length, 0),
  };
}
