import { concat, copyOf } from '../bytes.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import { loadCodec } from '../snapshot/codec/codec.ts';
import { SnapshotError } from '../snapshot/errors.ts';
import { type Codec, decodeHead, decodePrefix, type LayerHead, PREFIX_LENGTH, toHex } from '../snapshot/layer.ts';
import type { BlockCache } from './block-cache.ts';
import { BLOCK, type BlockOptions } from './blocks.ts';
import { ImageError, type ImageFiles } from './files.ts';
import { type Flate, streamFlate } from './flate.ts';
import { type ChunkPlaces, type ImageInfo, readImageHead } from './head.ts';
import { HttpImage } from './http-image.ts';
import { Pace } from './pace.ts';
import { ImageSource } from './source.ts';

/** Bytes of packed content that are kept in memory: what is read ahead, and the rest of what came with something else. */
const MEMORY = 28 << 20;
/** Milliseconds. */
const PATIENCE = 60_000;

/** Of {@link openImage}. */
export interface OpenImageOptions extends Pick<BlockOptions, 'onTrouble' | 'onRecovered' | 'firstPause'> {
  /** The image that it has to be: {@link ImageInfo.id}. */
  id?: string;
  /** Keeps what was fetched. Default: nothing is kept. */
  cache?: BlockCache;
  /** Bytes of packed content that are kept in memory for those who ask next. Default: 28 MiB. */
  memory?: number;
  /** Milliseconds that a guest waits while not even 4 KiB come; then it gets EIO, and whoever opens the image an error. Default: 60,000. */
  patience?: number;
  /** Inodes that there is room for. Default: 1,048,576. */
  inodes?: number;
  flate?: Flate;
  codec?: Codec;
  signal?: AbortSignal;
}

/** An image that can be shared. */
export interface OpenImage {
  readonly info: ImageInfo;
  /** Has the content; it may be of several filesystems. */
  readonly origin: ImageSource;
  /** What it has, with all content absent. */
  readonly state: MemoryState;
  readonly places: ChunkPlaces;
  /** As it stands in the file. */
  readonly head: LayerHead;
}

/**
 * Reads the head of an image, `from` a URL or elsewhere; content is fetched when it is needed, and what stands behind the head comes meanwhile.
 *
 * @throws ImageError, SnapshotError that say why it can't be had, or what is wrong with it.
 */
export async function openImage(from: URL | ImageFiles, options: OpenImageOptions = {}): Promise<OpenImage> {
  const { codec = loadCodec(), flate = streamFlate, memory = MEMORY, patience = PATIENCE } = options;
  const files = from instanceof URL ? new HttpImage(from) : from;
  const name = files.place;
  const { id, cache, onTrouble, onRecovered, firstPause } = options;
  const cacheKey = toHex(codec.hash(new TextEncoder().encode(name)));
  const decoded = async (bytes: Uint8Array): Promise<OpenImage> => {
    const prefix = decodePrefix(bytes, name);
    const start = PREFIX_LENGTH + prefix.headLength;
    const head = decodeHead(codec, prefix, bytes.subarray(PREFIX_LENGTH, start), name);
    const { info, state, places } = await readImageHead(head, prefix, start, { ...options, codec, flate });
    if (id !== undefined && id !== info.id)
      throw new ImageError(
        `${name} is another image now: it is ${info.id.slice(0, 12)}, and ${id.slice(0, 12)} is needed; publish that under another name`,
      );
    const sources = { codec, flate, tree: state, cache, memory, patience, firstPause, onTrouble, onRecovered };
    return { info, origin: new ImageSource(info.id, places, files, sources), state, places, head };
  };
  const kept = async (): Promise<OpenImage | undefined> => {
    const bytes = await cache?.readWhole(cacheKey);
    return bytes && decoded(bytes).catch(() => undefined);
  };
  const fetched = async (): Promise<OpenImage> => {
    const stop = new AbortController();
    const signals = options.signal ? [options.signal, stop.signal] : [stop.signal];
    const { parts } = await files.read('', { from: 0, signal: AbortSignal.any(signals) });
    const stream = new Stream(parts[Symbol.asyncIterator](), new Pace(name, patience));
    let image: OpenImage | undefined;
    try {
      let bytes = await stream.take(PREFIX_LENGTH);
      const prefix = decodePrefix(bytes, name);
      const start = PREFIX_LENGTH + prefix.headLength;
      const front = { block: Math.floor(start / BLOCK), end: Math.ceil((start + prefix.dataLength) / BLOCK) };
      if (await cache?.isSame(cacheKey, bytes, start)) {
        const isAllHere = !prefix.dataLength || (await cache!.hasAll(toHex(prefix.headHash), front.block, front.end));
        const known = isAllHere ? await kept() : undefined;
        if (known) return known;
      }
      bytes = concat([bytes, await stream.take(prefix.headLength)]);
      image = await decoded(bytes);
      cache?.replace(cacheKey, bytes);
      if (!prefix.dataLength) return image;
      const rest = stream.rest(bytes.subarray(front.block * BLOCK));
      image.origin.follow(front.block, { parts: rest, cancel: () => stop.abort() });
      return image;
    } finally {
      if (!image?.info.firstBytes) await stream.end();
    }
  };
  try {
    // What it has to be can't have changed.
    const known = id === undefined ? undefined : await kept();
    return known ?? (await fetched());
  } catch (error) {
    const known = error instanceof ImageError && error.mayPass ? await kept() : undefined;
    if (known) return known;
    if (error instanceof ImageError || !(error instanceof SnapshotError)) throw error;
    throw new ImageError(error.message.includes(name) ? error.message : `${name}: ${error.message}`, { cause: error });
  }
}

/** What comes in parts, to be taken in others. */
class Stream {
  readonly #parts: AsyncIterator<Uint8Array>;
  readonly #pace: Pace;
  #left: Uint8Array = new Uint8Array(0);

  constructor(parts: AsyncIterator<Uint8Array>, pace: Pace) {
    this.#parts = parts;
    this.#pace = pace;
  }

  /** So many bytes, or those there are. @throws ImageError when they come too slowly. */
  async take(length: number): Promise<Uint8Array> {
    const taken = [this.#left];
    let count = this.#left.length;
    while (count < length) {
      const { done, value } = await this.#parts.next();
      if (done) break;
      taken.push(copyOf(value));
      count += value.length;
      if (count < length) this.#pace.came(value.length);
    }
    const whole = taken.length === 1 ? taken[0]! : concat(taken);
    this.#left = whole.subarray(length);
    return whole.subarray(0, length);
  }

  /** All that has not been taken, after `before`; each part is borrowed until the next one. */
  async *rest(before: Uint8Array): AsyncGenerator<Uint8Array> {
    try {
      yield before;
      yield this.#left;
      for (let next = await this.#parts.next(); !next.done; next = await this.#parts.next()) yield next.value;
    } finally {
      await this.end();
    }
  }

  async end(): Promise<void> {
    await this.#parts.return?.(undefined);
  }
}
