import { SnapshotError } from '../errors.ts';
import {
  HASH_LENGTH, PREFIX_LENGTH, decodeHead, decodePrefix, encodeLayer, fromU32, hashNames, toHex, toU32, type Codec, type Frozen, type LayerHead,
} from '../layer.ts';
import { MemoryStore, type FileStore } from './file-store.ts';

const SUFFIX = '.layer';
/** Bytes of unpacked chunks that are kept for the next reader. */
const CACHE_SIZE = 64 << 20;

export interface SnapshotInfo {
  id: string;
  name: string;
  created: string;
  /** The snapshot it was taken after, '' for none. */
  parent: string;
  machine: Frozen['machine'];
  summary: unknown;
  /** Bytes of guest RAM that are not zeros. */
  ramBytes: number;
  /** Bytes that the snapshot added to the store. */
  addedBytes: number;
}

interface Layer {
  name: string;
  head: LayerHead;
  /** Where its chunks begin in the file. */
  dataStart: number;
}

/** How much is read at once, and which gap between two chunks is read over. */
const READ_SIZE = 8 << 20;
const GAP = 64 << 10;

interface Place {
  layer: Layer;
  at: number;
  packed: number;
  length: number;
}

function endOf({ at, packed }: Place): number {
  return at + packed;
}

/** A chunk as it is in a layer. */
interface StoredChunk {
  name: string;
  length: number;
  stored: Uint8Array;
}

/**
 * Snapshots in a {@link FileStore}: each is a layer with the chunks that no other had. Chunks are
 * named by their BLAKE3 and checked against it whenever they are read.
 */
export class SnapshotStore {
  readonly #files: FileStore;
  readonly #codec: Codec;
  readonly #layers = new Map<string, Layer>();
  readonly #places = new Map<string, Place>();
  readonly #cache = new Map<string, Uint8Array>();
  /** What was read before: what is read but once need not be kept. */
  readonly #wasRead = new WeakSet<Place>();
  /** What need not be checked again, of a store that is private. */
  readonly #checked = new WeakSet<Place>();
  #cached = 0;

  private constructor(files: FileStore, codec: Codec) {
    this.#files = files;
    this.#codec = codec;
  }

  /** Reads the heads of all layers. @throws SnapshotError when one is damaged, which names it. */
  static async open(files: FileStore, codec: Codec): Promise<SnapshotStore> {
    const store = new SnapshotStore(files, codec);
    for (const name of (await files.list()).sort()) {
      if (name.endsWith(SUFFIX)) store.#index(await store.#readLayer(name));
    }
    return store;
  }

  /** Reads the head of a layer that was written beside this store. @throws SnapshotError when it is damaged. */
  async look(name: string): Promise<void> {
    this.#index(await this.#readLayer(name));
  }

  get codec(): Codec {
    return this.#codec;
  }

  async #readLayer(name: string): Promise<Layer> {
    const prefix = decodePrefix(await this.#files.read(name, 0, PREFIX_LENGTH), name);
    const dataStart = PREFIX_LENGTH + prefix.headLength;
    const head = decodeHead(this.#codec, prefix, await this.#files.read(name, PREFIX_LENGTH, dataStart), name);
    return { name, head, dataStart };
  }

  #index(layer: Layer): void {
    this.#layers.set(layer.head.id, layer);
    const { hash, length, packed } = layer.head.chunks;
    const lengths = fromU32(length);
    const packedLengths = fromU32(packed);
    let at = layer.dataStart;
    hashNames(hash).forEach((name, n) => {
      if (!this.#places.has(name)) this.#places.set(name, { layer, at, packed: packedLengths[n]!, length: lengths[n]! });
      at += packedLengths[n]!;
    });
  }

  /** Oldest first. */
  list(): SnapshotInfo[] {
    const snapshots = [...this.#layers.values()].filter(({ head }) => head.frozen);
    return snapshots.map(({ head }) => infoOf(head)).sort((a, b) => a.created.localeCompare(b.created));
  }

  /** The id of the snapshot with this id, beginning of an id, or name. @throws SnapshotError for none, or several. */
  find(key: string): string {
    const all = this.list();
    const named = all.filter(({ name }) => name === key);
    const found = named.length ? named : all.filter(({ id }) => key !== '' && id.startsWith(key));
    if (found.length === 1) return found[0]!.id;
    const known = all.map(({ id, name }) => name || id.slice(0, 12)).join(', ') || 'none';
    throw new SnapshotError(`${found.length ? 'several snapshots are' : 'no snapshot is'} called ${JSON.stringify(key)}: there are ${known}`);
  }

  info(id: string): SnapshotInfo {
    return infoOf(this.#layer(id).head);
  }

  frozen(id: string): Frozen {
    return this.#layer(id).head.frozen!;
  }

  #layer(id: string): Layer {
    const layer = this.#layers.get(id);
    if (!layer?.head.frozen) throw new SnapshotError(`no snapshot has the id ${id}`);
    return layer;
  }

  /** Whether a chunk is here already. */
  has(name: string): boolean {
    return this.#places.has(name);
  }

  /** Bytes of chunks before they were compressed, one that is named twice counted twice. @throws SnapshotError when one is missing. */
  lengthOf(names: Iterable<string>): number {
    let length = 0;
    for (const name of names) length += this.#placeOf(name).length;
    return length;
  }

  /** Several chunks by their names. @throws SnapshotError when one is missing or damaged. */
  async chunks(names: Iterable<string>): Promise<Map<string, Uint8Array>> {
    const chunks = new Map<string, Uint8Array>();
    await this.visit(names, (name, bytes) => void chunks.set(name, this.#cache.get(name) ?? bytes.slice()));
    return chunks;
  }

  /**
   * Gives each chunk to `use`, in the order in which they lie in the store; its bytes are borrowed until that returns.
   *
   * @throws SnapshotError when one is missing, before any is given; or damaged.
   */
  async visit(names: Iterable<string>, use: (name: string, bytes: Uint8Array) => void): Promise<void> {
    const wanted = new Set(names);
    const cached = [...wanted].flatMap((name) => {
      const bytes = this.#cache.get(name);
      return bytes ? [{ name, bytes }] : [];
    });
    for (const { name } of cached) wanted.delete(name);
    // More than there is room for would only drive each other out.
    const isKept = this.lengthOf(wanted) <= CACHE_SIZE;
    for (const { name, bytes } of cached) {
      this.#cache.delete(name);
      this.#cache.set(name, bytes);
      use(name, bytes);
    }
    await this.#read(wanted, (name, place, stored) => {
      const bytes = this.#unpack(name, place, stored);
      if (isKept && this.#wasRead.has(place)) this.#keep(name, bytes.slice());
      this.#wasRead.add(place);
      use(name, bytes);
    });
  }

  /** Those that lie together are read together, and while one lot is used the next one is read. What `use` is given is borrowed. */
  async #read(names: Iterable<string>, use: (name: string, place: Place, stored: Uint8Array) => void): Promise<void> {
    const wanted = [...names].map((name) => ({ name, place: this.#placeOf(name) }));
    wanted.sort((a, b) => (a.place.layer === b.place.layer ? a.place.at - b.place.at : a.place.layer.name < b.place.layer.name ? -1 : 1));
    const fetchNext = () => {
      if (!wanted.length) return undefined;
      const { layer, at } = wanted[0]!.place;
      const far = wanted.findIndex(({ place }, n) => place.layer !== layer || place.at + place.packed - at > READ_SIZE || (n > 0 && place.at - endOf(wanted[n - 1]!.place) > GAP));
      const run = wanted.splice(0, far < 0 ? wanted.length : Math.max(1, far));
      const bytes = this.#files.read(layer.name, at, endOf(run.at(-1)!.place));
      bytes.catch(() => {});
      return { run, at, bytes };
    };
    for (let lot = fetchNext(); lot;) {
      const bytes = await lot.bytes;
      const next = fetchNext();
      for (const { name, place } of lot.run) use(name, place, bytes.subarray(place.at - lot.at, endOf(place) - lot.at));
      lot = next;
    }
  }

  #placeOf(name: string): Place {
    const place = this.#places.get(name);
    if (!place) throw new SnapshotError(`the chunk ${name.slice(0, 12)} is missing from the store: a layer was removed; import the snapshot again`);
    return place;
  }

  /** Chunks as they are kept, each checked. */
  async #stored(names: Iterable<string>): Promise<StoredChunk[]> {
    const chunks: StoredChunk[] = [];
    await this.#read(names, (name, place, stored) => {
      this.#unpack(name, place, stored);
      chunks.push({ name, length: place.length, stored: stored.slice() });
    });
    return chunks;
  }

  /** The result is borrowed with `stored`, or until the next call. @throws SnapshotError when `stored` is not the chunk. */
  #unpack(name: string, place: Place, stored: Uint8Array): Uint8Array {
    const { layer, packed, length } = place;
    if (packed === length && this.#checked.has(place)) return stored;
    const damaged = (cause?: unknown) => new SnapshotError(`${layer.name} is damaged: its chunk ${name.slice(0, 12)} is not what it should be; copy the file again`, { cause });
    if (stored.length !== packed) throw damaged();
    let chunk: { bytes: Uint8Array; hash: Uint8Array };
    try {
      chunk = this.#codec.unseal(stored, length);
    } catch (error) {
      throw damaged(error);
    }
    if (toHex(chunk.hash) !== name) throw damaged();
    if (this.#files.isPrivate) this.#checked.add(place);
    return chunk.bytes;
  }

  #keep(name: string, bytes: Uint8Array): void {
    if (this.#cache.has(name)) return;
    this.#cache.set(name, bytes);
    this.#cached += bytes.length;
    for (const [oldest, { length }] of this.#cache) {
      if (this.#cached <= CACHE_SIZE) return;
      this.#cache.delete(oldest);
      this.#cached -= length;
    }
  }

  /** Stores a snapshot. `chunks`: those of its chunks that may not be here, by name; borrowed. Returns its id. */
  async add(frozen: Frozen, chunks: Map<string, Uint8Array>): Promise<string> {
    const fresh = [...chunks].filter(([name]) => !this.has(name));
    const id = await this.#write(fresh.map(([name, bytes]) => {
      const smaller = this.#codec.compress(bytes);
      return { name, length: bytes.length, stored: smaller.length < bytes.length ? smaller : bytes };
    }), frozen);
    for (const [name, bytes] of fresh) {
      this.#keep(name, bytes);
      if (this.#files.isPrivate) this.#checked.add(this.#placeOf(name));
    }
    return id;
  }

  async #write(chunks: StoredChunk[], frozen?: Frozen): Promise<string> {
    const head = makeHead(chunks, frozen);
    await this.#writeLayer(head.id + SUFFIX, head, chunks.map(({ stored }) => stored));
    return head.id;
  }

  /** In the place of the layer with the same id, if there is one. */
  async #writeLayer(name: string, head: LayerHead, chunks: readonly Uint8Array[]): Promise<void> {
    const parts = encodeLayer(this.#codec, head, chunks);
    await this.#files.write(name, parts);
    const replaced = this.#layers.get(head.id);
    if (replaced) this.#forget(replaced);
    this.#index({ name, head, dataStart: parts[0]!.length + parts[1]!.length });
  }

  /** Gives a snapshot another name. Its layer is written anew, in one step; who has the store open elsewhere opens it again. */
  async rename(id: string, name: string): Promise<void> {
    const layer = this.#layer(id);
    const data = await this.#files.read(layer.name, layer.dataStart);
    await this.#writeLayer(layer.name, { ...layer.head, frozen: { ...layer.head.frozen!, name } }, [data]);
  }

  /** Removes a snapshot; what others need of it stays. */
  async remove(id: string): Promise<void> {
    const { head } = this.#layer(id);
    const layer = this.#layers.get(id)!;
    const needed = this.#needed((other) => other !== layer);
    const chunks = await this.#stored(hashNames(head.chunks.hash).filter((name) => needed.has(name)));
    this.#forget(layer);
    if (chunks.length) await this.#write(chunks);
    await this.#files.remove(layer.name);
  }

  /** Removes chunks that no snapshot needs any more. Returns how many bytes that gave back. */
  async gc(): Promise<number> {
    const needed = this.#needed(() => true);
    let freed = 0;
    for (const layer of [...this.#layers.values()]) {
      if (layer.head.frozen) continue;
      const names = hashNames(layer.head.chunks.hash);
      const kept = names.filter((name) => needed.has(name) && this.#places.get(name)?.layer === layer);
      if (kept.length === names.length) continue;
      const chunks = await this.#stored(kept);
      freed += sum(fromU32(layer.head.chunks.packed));
      this.#forget(layer);
      if (chunks.length) freed -= sum(fromU32(this.#layers.get(await this.#write(chunks))!.head.chunks.packed));
      await this.#files.remove(layer.name);
    }
    return freed;
  }

  #needed(counts: (layer: Layer) => boolean): Set<string> {
    const names = new Set<string>();
    for (const layer of this.#layers.values()) {
      if (layer.head.frozen && counts(layer)) for (const name of chunksOf(layer.head.frozen)) names.add(name);
    }
    return names;
  }

  #forget(layer: Layer): void {
    this.#layers.delete(layer.head.id);
    for (const name of hashNames(layer.head.chunks.hash)) if (this.#places.get(name)?.layer === layer) this.#places.delete(name);
    for (const other of this.#layers.values()) this.#index(other);
  }

  /** Reads every chunk of a snapshot. @throws SnapshotError for the first that is missing or damaged. */
  async verify(id: string, onProgress?: (fraction: number) => void): Promise<void> {
    const names = chunksOf(this.frozen(id));
    let done = 0;
    await this.#read(names, (name, place, stored) => {
      this.#unpack(name, place, stored);
      onProgress?.(++done / names.size);
    });
  }

  /** The snapshot as one file that stands alone: its parts, in order. */
  async export(id: string): Promise<Uint8Array[]> {
    const frozen = { ...this.frozen(id), parent: '' };
    const chunks = await this.#stored(chunksOf(frozen));
    return encodeLayer(this.#codec, makeHead(chunks, frozen), chunks.map(({ stored }) => stored));
  }

  /** Takes a file of {@link export} in, checked whole; `summarize` may make another summary of the one in it. Returns the snapshot's id. */
  async import(file: Uint8Array, summarize: (summary: unknown) => unknown = (summary) => summary): Promise<string> {
    const name = 'the file';
    const { headLength, dataLength } = decodePrefix(file, name);
    const expected = PREFIX_LENGTH + headLength + dataLength;
    if (file.length !== expected) throw new SnapshotError(`${name} is ${file.length < expected ? 'cut off' : 'too long'}: ${file.length} bytes of ${expected}; copy it again`);
    const source = new SnapshotStore(new MemoryStore([[name, file]]), this.#codec);
    await source.look(name);
    const { frozen } = [...source.#layers.values()][0]!.head;
    if (!frozen) throw new SnapshotError(`${name} is a layer without a snapshot: import what \`export\` gave`);
    const names = chunksOf(frozen);
    for (const chunk of names) if (!source.has(chunk)) throw new SnapshotError(`${name} is not sound: it lacks the chunk ${chunk.slice(0, 12)}; export it again`);
    const chunks = await source.#stored(names);
    return this.#write(chunks.filter((chunk) => !this.has(chunk.name)), { ...frozen, summary: summarize(frozen.summary) });
  }
}

/** Names of all the chunks that a snapshot is made of. */
function chunksOf({ ram, state, deviceParts, deviceChunks }: Frozen): Set<string> {
  return new Set([ram.used, state, deviceParts, deviceChunks].flatMap(hashNames));
}

/** Of a new layer, with a new id. */
function makeHead(chunks: readonly StoredChunk[], frozen?: Frozen): LayerHead {
  const hash = new Uint8Array(chunks.length * HASH_LENGTH);
  chunks.forEach(({ name }, n) => hash.set(fromHex(name), n * HASH_LENGTH));
  const columns = { hash, length: toU32(chunks.map(({ length }) => length)), packed: toU32(chunks.map(({ stored }) => stored.length)) };
  return { id: newId(), chunks: columns, ...(frozen && { frozen }) };
}

function infoOf({ id, chunks, frozen }: LayerHead): SnapshotInfo {
  const { name, created, parent, machine, summary, ram } = frozen!;
  return { id, name, created, parent, machine, summary, ramBytes: 4096 * sum(fromU32(ram.count)), addedBytes: sum(fromU32(chunks.packed)) };
}

function newId(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}

function fromHex(name: string): Uint8Array {
  return Uint8Array.from({ length: name.length / 2 }, (_, n) => parseInt(name.slice(2 * n, 2 * n + 2), 16));
}

function sum(values: Uint32Array): number {
  return values.reduce((total, value) => total + value, 0);
}
