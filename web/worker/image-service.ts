import { transfer } from 'comlink';
import { BlockCache } from '../../device/image/block-cache.ts';
import { ImageError } from '../../device/image/files.ts';
import { type OpenImage, type OpenImageOptions, openImage } from '../../device/image/open.ts';
import type { LayerHead } from '../../device/snapshot/layer.ts';
import type { FileStore } from '../../device/snapshot/store/file-store.ts';
import { OpfsStore } from '../../device/snapshot/store/opfs-store.ts';

/** In the browser's own file system: one for all guests and tabs of a site. */
const CACHE = 'v86-virtiofs images';
/** Bytes that the cache has at most, and of what the browser gives the site. */
const LIMIT = 512 << 20;
const SHARE = 1 / 4;
/** Bytes of packed content in memory. */
const MEMORY = 24 << 20;
/** Milliseconds before each further attempt to open an image. */
const PAUSES = [500, 1000, 2000, 4000, 8000];

/** Chunks of an image: their hashes one after the other, and their lengths. */
export interface Wanted {
  hashes: Uint8Array;
  lengths: Uint32Array;
}

/** What is wrong with the source of an image: see {@link Trouble}. */
export interface ToldTrouble {
  message: string;
  retryIn: number | undefined;
}

/** What the image's user is told. `undefined`: all is well again. */
export type OnTrouble = (trouble: ToldTrouble | undefined) => void;

/** Fetches, checks and unpacks images, in a worker of its own: the emulator's has no time for that. */
export class ImageService {
  readonly #images: OpenImage[] = [];
  #cache: Promise<BlockCache | undefined> | undefined;

  /** Returns the number by which it is asked for from now on. `id`: what it has to be. @throws ImageError, SnapshotError. */
  async open(url: string, id: string | undefined, onTrouble: OnTrouble): Promise<{ number: number; head: LayerHead }> {
    const cache = await (this.#cache ??= openCache());
    const options: OpenImageOptions = {
      ...(id !== undefined && { id }),
      ...(cache && { cache }),
      memory: MEMORY,
      onTrouble: ({ error, retryIn }) => onTrouble({ message: error.message, retryIn }),
      onRecovered: () => onTrouble(undefined),
    };
    const image = await persist(() => openImage(new URL(url), options), options);
    return { number: this.#images.push(image) - 1, head: image.head };
  }

  /** See `Origin.fetch`. */
  async fetch(image: number, wanted: Wanted): Promise<Uint8Array[]> {
    const chunks = await this.#images[image]!.origin.fetch(chunksOf(wanted));
    return transfer(
      chunks,
      chunks.map(({ buffer }) => buffer),
    );
  }

  /** See `Origin.expect`. */
  expect(image: number, wanted: Wanted): void {
    this.#images[image]!.origin.expect(chunksOf(wanted));
  }
}

/** Tries again what fails for the moment, and says so. */
async function persist<T>(action: () => Promise<T>, { onTrouble, onRecovered }: OpenImageOptions): Promise<T> {
  for (let failures = 0; ; failures++) {
    try {
      const result = await action();
      if (failures) onRecovered?.();
      return result;
    } catch (error) {
      const pause = PAUSES[failures];
      if (!(error instanceof ImageError) || !error.mayPass || pause === undefined) {
        if (failures) onRecovered?.();
        throw error;
      }
      onTrouble?.({ error, retryIn: pause });
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

function chunksOf({ hashes, lengths }: Wanted): { hash: Uint8Array; length: number }[] {
  const size = hashes.length / lengths.length;
  return Array.from(lengths, (length, n) => ({ hash: hashes.subarray(n * size, (n + 1) * size), length }));
}

/** Undefined where the browser keeps no files, as for pages from http, and in some private windows. */
async function openCache(): Promise<BlockCache | undefined> {
  try {
    const store = await OpfsStore.open(CACHE);
    const { quota = Infinity } = await navigator.storage.estimate();
    const files: FileStore = {
      list: () => store.list(),
      read: (name, from, to) => store.read(name, from, to),
      // A tab that opens the store removes what is unfinished: nothing is, in its turn.
      write: (name, parts) => store.exclusively(() => store.write(name, parts)),
      remove: (name) => store.remove(name),
    };
    return new BlockCache(files, { limit: Math.min(LIMIT, quota * SHARE) });
  } catch {
    return undefined;
  }
}
