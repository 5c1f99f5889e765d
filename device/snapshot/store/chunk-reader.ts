import { copyOf } from '../../bytes.ts';
import { MissingChunkError, SnapshotError } from '../errors.ts';
import { type Codec, toHex } from '../layer.ts';
import type { FileStore } from './file-store.ts';
import type { Layers, Place } from './layers.ts';

/** Bytes of unpacked chunks that are kept for the next reader. */
const CACHE_SIZE = 64 << 20;
/** How much is read at once, and which gap between two chunks is read over. */
const READ_SIZE = 8 << 20;
const GAP = 64 << 10;
/** How often chunks are looked for again, because others move them. */
const MAX_TRIES = 20;

/** A chunk as it is in a layer. */
export interface StoredChunk {
  name: string;
  length: number;
  stored: Uint8Array;
}

/** A chunk while it is read: `stored` is what the file has, both are borrowed. */
interface ReadChunk {
  name: string;
  place: Place;
  bytes: Uint8Array;
  stored: Uint8Array;
}

/**
 * Reads chunks of a store and checks each against its name. One that has been moved by another process meanwhile is looked for again,
 * and one that is damaged is read from another layer that has it.
 */
export class ChunkReader {
  readonly #files: FileStore;
  readonly #codec: Codec;
  readonly #layers: Layers;
  readonly #cache = new Map<string, Uint8Array>();
  /** See {@link pin}. */
  readonly #pinned = new Map<string, { bytes: Uint8Array; pins: number }>();
  /** What was read before: what is read but once need not be kept. */
  readonly #wasRead = new WeakSet<Place>();
  /** What need not be checked again, of a store that is private. */
  readonly #checked = new WeakSet<Place>();
  #cached = 0;

  constructor(files: FileStore, codec: Codec, layers: Layers) {
    this.#files = files;
    this.#codec = codec;
    this.#layers = layers;
  }

  /** @throws MissingChunkError when it is nowhere. */
  placeOf(name: string): Place {
    const place = this.#layers.place(name);
    if (place) return place;
    const suspects = this.#layers.suspects().join(', ');
    throw new MissingChunkError(
      `the chunk ${name.slice(0, 12)} is missing from the store: ${suspects ? `it may be in ${suspects}, which is damaged: copy that again` : 'a layer was removed; copy it again'}, or import the snapshot again`,
    );
  }

  /** Several chunks by their names. @throws SnapshotError when one is missing or damaged. */
  async chunks(names: Iterable<string>): Promise<Map<string, Uint8Array>> {
    const chunks = new Map<string, Uint8Array>();
    await this.visit(names, (name, bytes) => void chunks.set(name, this.#kept(name) ?? copyOf(bytes)));
    return chunks;
  }

  /** Keeps chunks in memory, unpacked, until what this returns is called. @throws SnapshotError when one is missing or damaged. */
  async pin(names: Iterable<string>): Promise<() => void> {
    const chunks = await this.chunks(names);
    for (const [name, bytes] of chunks) {
      const pinned = this.#pinned.get(name);
      if (pinned) pinned.pins++;
      else this.#pinned.set(name, { bytes, pins: 1 });
    }
    return () => {
      for (const name of chunks.keys()) {
        const pinned = this.#pinned.get(name)!;
        if (--pinned.pins === 0) this.#pinned.delete(name);
      }
      chunks.clear();
    };
  }

  #kept(name: string): Uint8Array | undefined {
    return this.#pinned.get(name)?.bytes ?? this.#cache.get(name);
  }

  /**
   * Gives each chunk to `use`, in the order in which they lie in the store; its bytes are borrowed until that returns.
   *
   * @throws SnapshotError when one is missing, before any is given; or damaged.
   */
  async visit(names: Iterable<string>, use: (name: string, bytes: Uint8Array) => void): Promise<void> {
    const wanted = new Set(names);
    const cached = [...wanted].flatMap((name) => {
      const bytes = this.#kept(name);
      return bytes ? [{ name, bytes }] : [];
    });
    for (const { name } of cached) wanted.delete(name);
    // More than there is room for would only drive each other out.
    let length = 0;
    for (const name of wanted) length += this.placeOf(name).length;
    for (const { name, bytes } of cached) {
      if (this.#cache.delete(name)) this.#cache.set(name, bytes);
      use(name, bytes);
    }
    await this.#read(wanted, ({ name, place, bytes }) => {
      if (length <= CACHE_SIZE && this.#wasRead.has(place)) this.keep(name, copyOf(bytes));
      this.#wasRead.add(place);
      use(name, bytes);
    });
  }

  /** Chunks as they are kept, each checked. */
  async stored(names: Iterable<string>): Promise<StoredChunk[]> {
    const chunks: StoredChunk[] = [];
    await this.#read(
      names,
      ({ name, place, stored }) => void chunks.push({ name, length: place.length, stored: copyOf(stored) }),
    );
    return chunks;
  }

  /** Reads and checks chunks, and calls `done` after each. */
  check(names: Iterable<string>, done: () => void): Promise<void> {
    return this.#read(names, done);
  }

  /** Reads these chunks, as far as they are there. After it, each has its place where a sound copy is, and has none if there is no sound copy. */
  async settle(names: Iterable<string>): Promise<void> {
    const left = new Set(names);
    for (;;) {
      for (const name of left) if (!this.#layers.place(name)) left.delete(name);
      try {
        return await this.#read(left, ({ name }) => left.delete(name));
      } catch (error) {
        if (error instanceof DamagedChunkError) this.#layers.markBad(error.chunk, error.place);
        else if (!(error instanceof MissingChunkError)) throw error;
      }
    }
  }

  /** Takes a chunk into the cache that was just written, and is right. */
  written(name: string, bytes: Uint8Array): void {
    this.keep(name, bytes);
    if (this.#files.isPrivate) this.#checked.add(this.placeOf(name));
  }

  keep(name: string, bytes: Uint8Array): void {
    if (this.#cache.has(name)) return;
    this.#cache.set(name, bytes);
    this.#cached += bytes.length;
    for (const [oldest, { length }] of this.#cache) {
      if (this.#cached <= CACHE_SIZE) return;
      this.#cache.delete(oldest);
      this.#cached -= length;
    }
  }

  /** Gives each chunk to `use` once. */
  async #read(names: Iterable<string>, use: (chunk: ReadChunk) => void): Promise<void> {
    const left = new Set(names);
    for (let tries = 1; ; tries++) {
      try {
        await this.#readPlaced(left, (name, place, stored) => {
          const bytes = this.#unpack(name, place, stored);
          left.delete(name);
          use({ name, place, bytes, stored });
        });
        return;
      } catch (error) {
        if (tries === MAX_TRIES || !(await this.#hasMoved(error))) throw error;
      }
    }
  }

  /** Whether what could not be read is to be tried again, elsewhere. */
  async #hasMoved(error: unknown): Promise<boolean> {
    const isOther = this.#files.exclusively !== undefined && (await this.#layers.refresh());
    return (error instanceof DamagedChunkError && this.#layers.markBad(error.chunk, error.place)) || isOther;
  }

  /** Those that lie together are read together, and while one lot is used the next one is read. What `use` is given is borrowed. */
  async #readPlaced(
    names: Iterable<string>,
    use: (name: string, place: Place, stored: Uint8Array) => void,
  ): Promise<void> {
    const wanted = [...names].map((name) => ({ name, place: this.placeOf(name) }));
    wanted.sort((a, b) =>
      a.place.layer === b.place.layer ? a.place.at - b.place.at : a.place.layer.name < b.place.layer.name ? -1 : 1,
    );
    const fetchNext = () => {
      if (!wanted.length) return undefined;
      const { layer, at } = wanted[0]!.place;
      const far = wanted.findIndex(
        ({ place }, n) =>
          place.layer !== layer ||
          place.at + place.packed - at > READ_SIZE ||
          (n > 0 && place.at - endOf(wanted[n - 1]!.place) > GAP),
      );
      const run = wanted.splice(0, far < 0 ? wanted.length : Math.max(1, far));
      const bytes = this.#files.read(layer.name, at, endOf(run.at(-1)!.place));
      bytes.catch(() => {});
      return { run, at, bytes };
    };
    for (let lot = fetchNext(); lot; ) {
      const bytes = await lot.bytes;
      const next = fetchNext();
      for (const { name, place } of lot.run) use(name, place, bytes.subarray(place.at - lot.at, endOf(place) - lot.at));
      lot = next;
    }
  }

  /** The result is borrowed with `stored`, or until the next call. @throws DamagedChunkError when `stored` is not the chunk. */
  #unpack(name: string, place: Place, stored: Uint8Array): Uint8Array {
    const { packed, length } = place;
    if (packed === length && this.#checked.has(place)) return stored;
    if (stored.length !== packed) throw new DamagedChunkError(name, place);
    let chunk: { bytes: Uint8Array; hash: Uint8Array };
    try {
      chunk = this.#codec.unseal(stored, length);
    } catch (error) {
      throw new DamagedChunkError(name, place, error);
    }
    if (toHex(chunk.hash) !== name) throw new DamagedChunkError(name, place);
    if (this.#files.isPrivate) this.#checked.add(place);
    return chunk.bytes;
  }
}

class DamagedChunkError extends SnapshotError {
  readonly chunk: string;
  readonly place: Place;

  constructor(chunk: string, place: Place, cause?: unknown) {
    super(
      `${place.layer.name} is damaged: its chunk ${chunk.slice(0, 12)} is not what it should be; copy the file again`,
      { cause },
    );
    this.chunk = chunk;
    this.place = place;
  }
}

function endOf({ at, packed }: Place): number {
  return at + packed;
}
