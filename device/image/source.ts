import { concat, copyOf } from '../bytes.ts';
import type { MemoryOrigin } from '../filesystems/memory/inode-table.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import { EIO, FsError } from '../fs/errno.ts';
import type { ContentChunk } from '../fs/origin.ts';
import { type Codec, sameBytes } from '../snapshot/layer.ts';
import { type Arriving, BLOCK, type BlockCounts, type BlockOptions, Blocks } from './blocks.ts';
import { ImageError, type ImageFiles } from './files.ts';
import type { Flate } from './flate.ts';
import type { ChunkPlace, ChunkPlaces } from './head.ts';

/** Blocks that are read ahead, at first and at most, where so many reads in turn have followed each other: small files, one after the other, say. */
const IN_TURN = 3;
const LEAST_AHEAD = 8;
const MOST_AHEAD = 256;
/** Blocks between two reads that follow each other, at most. */
const NEAR = 4;
/** Places in files where somebody reads on that are remembered. */
const STREAMS = 8;

/** Where somebody reads on. */
interface Stream {
  file: number;
  /** The block after the last one that was read. */
  next: number;
  /** Blocks to read ahead. */
  window: number;
  /** How many reads have followed each other. */
  inTurn: number;
}

/** A chunk as it is, and as it stands in a file; borrowed. */
export interface StoredChunk {
  bytes: Uint8Array;
  stored: Uint8Array;
}

/**
 * The chunks of an image, from wherever its files are: fetched when they are asked for, several together, and checked before anybody has them. One
 * is enough for all guests of a process.
 */
export class ImageSource implements MemoryOrigin {
  readonly id: string;
  readonly tree: MemoryState;
  readonly #places: ChunkPlaces;
  readonly #from: ImageFiles;
  readonly #blocks: Blocks;
  readonly #codec: Codec;
  readonly #flate: Flate;
  readonly #options: BlockOptions;
  /** Used longest ago first. */
  readonly #streams: Stream[] = [];
  /** Chunks that are expected, until the end of this turn. */
  #hints: (number | undefined)[] = [];
  #isClosed = false;
  /** What stood in the image's own file does not stand there any more: it was published anew, say. */
  #isFrontLost = false;

  constructor(
    id: string,
    places: ChunkPlaces,
    from: ImageFiles,
    { codec, flate, tree, ...options }: BlockOptions & { codec: Codec; flate: Flate; tree: MemoryState },
  ) {
    this.id = id;
    this.tree = tree;
    this.#places = places;
    this.#from = from;
    this.#codec = codec;
    this.#flate = flate;
    this.#options = options;
    this.#blocks = new Blocks(from, places.files, options);
  }

  /** Where the image is. */
  get place(): string {
    return this.#from.place;
  }

  /** What was fetched so far. */
  get counts(): Readonly<BlockCounts> {
    return this.#blocks.counts;
  }

  async fetch(wanted: readonly ContentChunk[]): Promise<Uint8Array[]> {
    const numbers = wanted.map((chunk) => {
      const number = this.#places.find(chunk);
      if (number === undefined) throw new FsError(EIO, 'the image has no such chunk');
      return number;
    });
    if (!this.#isFrontLost && numbers.every((n) => this.#places.inFront(n))) this.#hints = [];
    this.#takeHints();
    return this.#orEio(async () => {
      const found = await this.#fromFront(numbers);
      return (found ?? (await this.#read(numbers, (n) => this.#places.inPack(n)))).map(({ bytes }) => bytes);
    });
  }

  /** The chunks with these numbers, checked, from the packs or from the image's own file. @throws FsError EIO. */
  read(numbers: readonly number[], isInFront = false): Promise<StoredChunk[]> {
    return this.#orEio(() =>
      this.#read(numbers, (n) => (isInFront ? this.#places.inFront(n)! : this.#places.inPack(n))),
    );
  }

  /** Where an image has a profile, that says better what will be read: then a hint is taken with what is fetched beside it. */
  expect(wanted: readonly ContentChunk[]): void {
    if (!this.#hints.length) queueMicrotask(() => this.#takeHints());
    for (const chunk of wanted) this.#hints.push(this.#places.find(chunk));
  }

  #takeHints(): void {
    const places = this.#hints.flatMap((number) => (number === undefined ? [] : this.#placeOf(number)));
    this.#hints = [];
    for (const [file, blocks] of blocksByFile(places)) this.#blocks.expect(file, blocks.slice(0, MOST_AHEAD));
  }

  /** Takes in what comes of the image's own file, from the block with this number on. */
  follow(block: number, arriving: Arriving): void {
    void this.#blocks.follow(0, block, arriving);
  }

  /** Ends all requests; what is asked for gets EIO. */
  close(): void {
    this.#isClosed = true;
    this.#blocks.close();
  }

  #placeOf(n: number): ChunkPlace {
    return (this.#isFrontLost ? undefined : this.#places.inFront(n)) ?? this.#places.inPack(n);
  }

  /** Chunks from wherever they can be had the soonest; undefined when the image's own file is not any more what it was, and packs have all. */
  async #fromFront(numbers: readonly number[]): Promise<StoredChunk[] | undefined> {
    try {
      return await this.#read(numbers, (n) => this.#placeOf(n));
    } catch (error) {
      const isOver = !(error instanceof ImageError) || error.mayPass || this.#isClosed || this.#isFrontLost;
      if (isOver || !numbers.some((n) => this.#places.inFront(n))) throw error;
      this.#isFrontLost = true;
      return undefined;
    }
  }

  async #orEio<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      if (!this.#isClosed) this.#options.onTrouble?.({ error, retryIn: undefined });
      throw new FsError(EIO, error.message);
    }
  }

  async #read(numbers: readonly number[], placeOf: (n: number) => ChunkPlace): Promise<StoredChunk[]> {
    const places = numbers.map(placeOf);
    const blocks = new Map(
      await Promise.all(
        [...blocksByFile(places)].map(async ([file, list]) => {
          const ahead = this.#ahead(file, list);
          return [file, await this.#blocks.get(file, list, { ahead })] as const;
        }),
      ),
    );
    return Promise.all(
      numbers.map((n, row) => this.#chunk(this.#places.chunkAt(n), places[row]!, blocks.get(places[row]!.file)!)),
    );
  }

  /** What follows these blocks, more of it the longer somebody reads on. */
  #ahead(file: number, blocks: readonly number[]): number[] {
    const [first, last] = [blocks[0]!, blocks.at(-1)!];
    const at = this.#streams.findIndex(
      (other) => other.file === file && first >= other.next - NEAR - other.window && first <= other.next + NEAR,
    );
    const stream = at < 0 ? { file, next: last + 1, window: 0, inTurn: 0 } : this.#streams.splice(at, 1)[0]!;
    if (last + 1 > stream.next) {
      stream.next = last + 1;
      if (++stream.inTurn >= IN_TURN) stream.window = Math.min(MOST_AHEAD, Math.max(LEAST_AHEAD, 2 * stream.window));
    }
    this.#streams.push(stream);
    if (this.#streams.length > STREAMS) this.#streams.shift();
    const end = Math.min(this.#blocks.countOf(file), stream.next + stream.window);
    return Array.from({ length: Math.max(0, end - last - 1) }, (_, n) => last + 1 + n);
  }

  /** `blocks`: those that it is in, from wherever they were. */
  async #chunk(chunk: ContentChunk, place: ChunkPlace, blocks: ReadonlyMap<number, Uint8Array>): Promise<StoredChunk> {
    const found = await this.#unpacked(chunk, place, blocks);
    if (found) return found;
    const { file, at } = place;
    const list = blocksOf(place);
    await this.#blocks.forget(file, list);
    const again = await this.#unpacked(chunk, place, await this.#blocks.get(file, list, { isFresh: true }));
    if (again) return again;
    await this.#blocks.forget(file, list);
    const name = this.#places.files[file]!.name || this.place;
    throw new ImageError(
      `${name} is damaged where it comes from: bytes from ${at} on are not what they should be; publish the image again`,
    );
  }

  /** Undefined when it is not what it should be. */
  async #unpacked(
    { hash, length }: ContentChunk,
    place: ChunkPlace,
    blocks: ReadonlyMap<number, Uint8Array>,
  ): Promise<StoredChunk | undefined> {
    const { at, packed } = place;
    const numbers = blocksOf(place);
    const start = at - numbers[0]! * BLOCK;
    const whole = numbers.length === 1 ? blocks.get(numbers[0]!)! : concat(numbers.map((block) => blocks.get(block)!));
    const stored = whole.subarray(start, start + packed);
    try {
      const bytes = packed === length ? copyOf(stored) : await this.#flate.inflate(stored, length);
      return sameBytes(this.#codec.hash(bytes), hash) ? { bytes, stored } : undefined;
    } catch {
      return undefined;
    }
  }
}

function blocksByFile(places: readonly ChunkPlace[]): Map<number, number[]> {
  const sets = new Map<number, Set<number>>();
  for (const place of places) {
    let blocks = sets.get(place.file);
    if (!blocks) sets.set(place.file, (blocks = new Set()));
    for (const block of blocksOf(place)) blocks.add(block);
  }
  return new Map([...sets].map(([file, blocks]) => [file, [...blocks].sort((a, b) => a - b)]));
}

/** The blocks that a chunk is in; one of no bytes in the one that it would be in. */
function blocksOf({ at, packed }: ChunkPlace): number[] {
  const blocks: number[] = [];
  for (let block = Math.floor(at / BLOCK); block * BLOCK < at + Math.max(packed, 1); block++) blocks.push(block);
  return blocks;
}
