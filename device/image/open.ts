import { concat } from '../bytes.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import { loadCodec } from '../snapshot/codec/codec.ts';
import { SnapshotError } from '../snapshot/errors.ts';
import { type Codec, decodeHead, decodePrefix, PREFIX_LENGTH, toHex } from '../snapshot/layer.ts';
import type { BlockCache } from './block-cache.ts';
import type { BlockOptions } from './blocks.ts';
import { ImageError, type ImageFiles, once } from './files.ts';
import { type Flate, streamFlate } from './flate.ts';
import { type ChunkPlaces, type ImageInfo, readImageHead } from './head.ts';
import { HttpImage } from './http-image.ts';
import { ImageSource } from './source.ts';

/** Bytes of packed content that are kept in memory: what is read ahead, and the rest of what came with something else. */
const MEMORY = 16 << 20;
/** Milliseconds. */
const PATIENCE = 60_000;

export interface OpenImageOptions extends Pick<BlockOptions, 'onTrouble' | 'onRecovered' | 'firstPause'> {
  /** The image that it has to be: {@link ImageInfo.id}. */
  id?: string;
  /** Keeps what was fetched. Default: nothing is kept. */
  cache?: BlockCache;
  /** Bytes of packed content that are kept in memory for those who ask next. Default: 16 MiB. */
  memory?: number;
  /** Milliseconds that a guest waits while nothing comes; then it gets EIO. Default: 60,000. */
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
}

/**
 * Reads the head of an image, `from` a URL or elsewhere; content is fetched when it is needed.
 *
 * @throws ImageError, SnapshotError that say why it can't be had, or what is wrong with it.
 */
export async function openImage(from: URL | ImageFiles, options: OpenImageOptions = {}): Promise<OpenImage> {
  const { codec = loadCodec(), flate = streamFlate, memory = MEMORY, patience = PATIENCE } = options;
  const files = from instanceof URL ? new HttpImage(from) : from;
  const name = files.place;
  const { id, cache, onTrouble, onRecovered, firstPause } = options;
  const cacheKey = toHex(codec.hash(new TextEncoder().encode(name)));
  const read = async (stream: Stream): Promise<OpenImage> => {
    const prefixBytes = await stream.take(PREFIX_LENGTH);
    const prefix = decodePrefix(prefixBytes, name);
    const headBytes = await stream.take(prefix.headLength);
    const head = decodeHead(codec, prefix, headBytes, name);
    const dataStart = PREFIX_LENGTH + prefix.headLength;
    const { info, state, places } = await readImageHead(head, prefix, dataStart, { ...options, codec, flate });
    if (id !== undefined && id !== info.id)
      throw new ImageError(
        `${name} is another image now: it is ${info.id.slice(0, 12)}, and ${id.slice(0, 12)} is needed; publish that under another name`,
      );
    const sources = { codec, flate, cache, memory, patience, firstPause, onTrouble, onRecovered };
    const origin = new ImageSource(info.id, places, files, sources);
    const start = concat([prefixBytes, headBytes, await stream.take(Math.min(prefix.dataLength, memory))]);
    if (prefix.dataLength) origin.take(start);
    if (!stream.isKept) cache?.replace(cacheKey, start);
    return { info, origin, state, places };
  };
  const kept = async () => {
    const bytes = await cache?.readWhole(cacheKey);
    if (!bytes) return undefined;
    return read(new Stream(once(bytes), true)).catch(() => undefined);
  };
  try {
    // What it has to be can't have changed.
    const known = id === undefined ? undefined : await kept();
    return known ?? (await fetchHead(files, options, read));
  } catch (error) {
    const known = error instanceof ImageError && error.mayPass ? await kept() : undefined;
    if (known) return known;
    if (error instanceof ImageError || !(error instanceof SnapshotError)) throw error;
    throw new ImageError(error.message.includes(name) ? error.message : `${name}: ${error.message}`, { cause: error });
  }
}

async function fetchHead<T>(
  files: ImageFiles,
  { signal = new AbortController().signal }: OpenImageOptions,
  read: (stream: Stream) => Promise<T>,
): Promise<T> {
  const { parts } = await files.read('', { from: 0, signal });
  const stream = new Stream(parts[Symbol.asyncIterator]());
  try {
    return await read(stream);
  } finally {
    await stream.end();
  }
}

/** What comes in parts, to be taken in others. */
class Stream {
  readonly #parts: AsyncIterator<Uint8Array>;
  /** It comes from the cache. */
  readonly isKept: boolean;
  #left: Uint8Array = new Uint8Array(0);

  constructor(parts: AsyncIterator<Uint8Array>, isKept = false) {
    this.#parts = parts;
    this.isKept = isKept;
  }

  /** So many bytes, or those there are. */
  async take(length: number): Promise<Uint8Array> {
    const taken = [this.#left];
    let count = this.#left.length;
    while (count < length) {
      const { done, value } = await this.#parts.next();
      if (done) break;
      taken.push(value.slice());
      count += value.length;
    }
    const whole = taken.length === 1 ? taken[0]! : concat(taken);
    this.#left = whole.subarray(length);
    return whole.subarray(0, length);
  }

  async end(): Promise<void> {
    await this.#parts.return?.(undefined);
  }
}
