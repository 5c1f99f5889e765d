import { copyOf } from '../bytes.ts';
import { checkState } from '../filesystems/memory/check-state.ts';
import type { MemoryOrigin } from '../filesystems/memory/inode-table.ts';
import { baseOf, completed } from '../filesystems/memory/range-difference.ts';
import type { MemoryState, RangeState } from '../filesystems/memory/state.ts';
import { EIO, FsError } from '../fs/errno.ts';
import { AbsentBytes } from '../fs/origin.ts';
import { keepDeviceState, ownChunks, readDeviceState } from './device-state.ts';
import { SnapshotError } from './errors.ts';
import { ChunkReference, KeptRanges, MIN_CHUNK } from './kept-ranges.ts';
import { type Frozen, fromHex, hashNames, toHex } from './layer.ts';
import type { StoredChunk } from './store/chunk-reader.ts';
import type { SnapshotStore } from './store/snapshot-store.ts';

/** Chunks that are fetched together. */
const LOT = 64;

/** Of {@link exportWhole}. */
export interface WholeOptions {
  /** The machine that it is of then: what its devices are may name the images too. Default: as it was. */
  machine?: Frozen['machine'];
  /** Bytes of content that have been fetched, and that there are to fetch. */
  onProgress?: (done: number, all: number) => void;
  signal?: AbortSignal;
}

/**
 * A snapshot as one file that stands alone, with all that the images have that its filesystems are on: it needs none of them. Returns the parts of the file, in
 * order.
 *
 * @throws SnapshotError when it is damaged, or one of the images is not among `origins`; FsError EIO when its content can't be had.
 */
export async function exportWhole(
  store: SnapshotStore,
  id: string,
  origins: readonly MemoryOrigin[],
  { machine, onProgress, signal }: WholeOptions = {},
): Promise<Uint8Array[]> {
  const frozen = store.frozen(id);
  const parts = await store.chunks(hashNames(frozen.deviceParts));
  const own = await store.chunks(ownChunks(frozen, (name) => parts.get(name)!));
  // The content of files stays where it is.
  const chunk = (name: string) => parts.get(name) ?? own.get(name) ?? new ChunkReference(fromHex(name));
  const saved = readDeviceState(frozen, { chunk });
  const added = new Map<string, StoredChunk>();
  const fetching = new Fetching(store, added, onProgress, signal);
  const states = saved.filesystems.map((state) => completeState(state, origins));
  for (const { origin, ranges } of states) if (origin) fetching.expect(ranges);
  saved.filesystems = [];
  for (const { state, origin, ranges } of states) {
    const whole = origin ? { ...(state as object), ranges: await fetching.fill(origin, ranges) } : state;
    if (origin) orDamaged(() => checkState(whole));
    saved.filesystems.push(whole);
  }
  const kept = keepDeviceState(saved, new KeptRanges(), (bytes) => {
    const hash = store.codec.hash(bytes);
    const name = toHex(hash);
    if (!added.has(name)) added.set(name, store.pack(name, copyOf(bytes)));
    return hash;
  });
  const { bases: _, ...rest } = frozen;
  return store.exportAs({ ...rest, ...kept, machine: machine ?? frozen.machine }, added);
}

interface Completed {
  /** Without the image, where it is on one. */
  state: unknown;
  origin: MemoryOrigin | undefined;
  /** All of them, whole. */
  ranges: RangeState[];
}

function completeState(state: unknown, origins: readonly MemoryOrigin[]): Completed {
  const { origin: id, isDifference, ...rest } = (state ?? {}) as Partial<MemoryState>;
  if (id === undefined) return { state, origin: undefined, ranges: [] };
  const origin = origins.find((other) => other.id === id);
  if (!origin) throw new SnapshotError(`the snapshot is on image ${id}: give that image, to have what it has`);
  const base = origin.tree && baseOf(origin.tree);
  return orDamaged(() => {
    checkState(state, undefined, base);
    return { state: rest, origin, ranges: isDifference ? completed(rest.ranges!, base!) : rest.ranges! };
  });
}

function orDamaged<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new SnapshotError(`the snapshot is invalid: ${(error as Error).message}`, { cause: error });
  }
}

/** Puts content in the place of what stands for it. */
class Fetching {
  readonly #store: SnapshotStore;
  readonly #added: Map<string, StoredChunk>;
  readonly #onProgress: WholeOptions['onProgress'];
  readonly #signal: AbortSignal | undefined;
  /** What was fetched, or will be. */
  readonly #counted = new Set<string>();
  #done = 0;
  #all = 0;

  constructor(
    store: SnapshotStore,
    added: Map<string, StoredChunk>,
    onProgress: WholeOptions['onProgress'],
    signal: AbortSignal | undefined,
  ) {
    this.#store = store;
    this.#added = added;
    this.#onProgress = onProgress;
    this.#signal = signal;
  }

  /** Counts what {@link fill} will have to fetch for these. */
  expect(ranges: readonly RangeState[]): void {
    for (const { chunks } of ranges)
      for (const each of chunks?.bytes ?? []) {
        if (!(each instanceof AbsentBytes) || this.#counted.has(each.name) || this.#isHere(each)) continue;
        this.#counted.add(each.name);
        this.#all += each.length;
      }
  }

  async fill(origin: MemoryOrigin, ranges: readonly RangeState[]): Promise<RangeState[]> {
    const filled: RangeState[] = [];
    for (const range of ranges) filled.push(await this.#fillRange(origin, range));
    return filled;
  }

  async #fillRange(origin: MemoryOrigin, range: RangeState): Promise<RangeState> {
    const { chunks } = range;
    if (!chunks) return range;
    const bytes: Uint8Array[] = [];
    for (let from = 0; from < chunks.bytes.length; from += LOT) {
      this.#signal?.throwIfAborted();
      const lot = chunks.bytes.slice(from, from + LOT);
      const wanted = [
        ...new Map(
          lot.flatMap((each) => (each instanceof AbsentBytes && !this.#isHere(each) ? [[each.name, each]] : [])),
        ).values(),
      ];
      const fetched = new Map<string, Uint8Array>();
      for (const [n, content] of (wanted.length ? await origin.fetch(wanted) : []).entries()) {
        const { name, length } = wanted[n]!;
        if (content.length !== length)
          throw new FsError(EIO, `the image has sent ${content.length} bytes of a chunk of ${length}`);
        fetched.set(name, content);
      }
      for (const each of lot) bytes.push(each instanceof AbsentBytes ? this.#take(each, fetched.get(each.name)) : each);
      for (const { name, length } of wanted) if (this.#counted.delete(name)) this.#done += length;
      this.#onProgress?.(this.#done, this.#all);
    }
    return { ...range, chunks: { ...chunks, bytes } };
  }

  /** It is a chunk of the store, or will be. */
  #isHere({ hash, length }: AbsentBytes): boolean {
    const name = toHex(hash);
    return length >= MIN_CHUNK && (this.#added.has(name) || this.#store.has(name));
  }

  /** The bytes, or what stands for a chunk of the snapshot with them. */
  #take({ hash, length }: AbsentBytes, content: Uint8Array | undefined): Uint8Array {
    if (length < MIN_CHUNK) return copyOf(content!);
    const name = toHex(hash);
    if (content) this.#added.set(name, this.#store.pack(name, content));
    return new ChunkReference(hash);
  }
}
