import { SnapshotError } from '../errors.ts';
import {
  HASH_LENGTH, PREFIX_LENGTH, decodeHead, decodePrefix, encodeLayer, fromU32, hashNames, toHex, toU32, type Codec, type Frozen, type LayerHead,
} from '../layer.ts';
import type { FileStore } from './file-store.ts';

const SUFFIX = '.layer';
/** Bytes of unpacked chunks that are kept for the next reader. */
const CACHE_SIZE = 64 << 20;
/** The longest chunk there is: what a damaged length may make us allocate. */
export const MAX_CHUNK_LENGTH = 1 << 20;

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

  /** The bytes of a chunk, borrowed. @throws SnapshotError when it is missing or damaged. */
  async chunk(name: string): Promise<Uint8Array> {
    const cached = this.#cache.get(name);
    if (cached) {
      this.#cache.delete(name);
      this.#cache.set(name, cached);
      return cached;
    }
    const bytes = await this.#readChunk(name);
    this.#keep(name, bytes);
    return bytes;
  }

  /** Several chunks by their names; those that lie together are read together. */
  async chunks(names: Iterable<string>): Promise<Map<string, Uint8Array>> {
    const chunks = new Map<string, Uint8Array>();
    const missing: { name: string; place: Place }[] = [];
    for (const name of new Set(names)) {
      const cached = this.#cache.get(name);
      if (cached) chunks.set(name, cached);
      else missing.push({ name, place: this.#placeOf(name) });
    }
    missing.sort((a, b) => (a.place.layer === b.place.layer ? a.place.at - b.place.at : a.place.layer.name < b.place.layer.name ? -1 : 1));
    while (missing.length) {
      const { layer, at } = missing[0]!.place;
      const far = missing.findIndex(({ place }, n) => place.layer !== layer || place.at + place.packed - at > READ_SIZE || (n > 0 && place.at - endOf(missing[n - 1]!.place) > GAP));
      const run = missing.splice(0, far < 0 ? missing.length : Math.max(1, far));
      const bytes = await this.#files.read(layer.name, at, endOf(run.at(-1)!.place));
      for (const { name, place } of run) {
        const chunk = this.#unpack(name, place, bytes.subarray(place.at - at, endOf(place) - at));
        this.#keep(name, chunk);
        chunks.set(name, chunk);
      }
    }
    return chunks;
  }

  #placeOf(name: string): Place {
    const place = this.#places.get(name);
    if (!place) throw new SnapshotError(`the chunk ${name.slice(0, 12)} is missing from the store: a layer was removed; import the snapshot again`);
    return place;
  }

  async #readChunk(name: string): Promise<Uint8Array> {
    const place = this.#placeOf(name);
    return this.#unpack(name, place, await this.#files.read(place.layer.name, place.at, endOf(place)));
  }

  /** `stored` is taken over. @throws SnapshotError when it is not the chunk. */
  #unpack(name: string, { layer, packed, length }: Place, stored: Uint8Array): Uint8Array {
    const damaged = (cause?: unknown) => new SnapshotError(`${layer.name} is damaged: its chunk ${name.slice(0, 12)} is not what it should be; copy the file again`, { cause });
    if (stored.length !== packed || length > MAX_CHUNK_LENGTH) throw damaged();
    let bytes: Uint8Array;
    try {
      bytes = packed === length ? stored.slice() : this.#codec.decompress(stored, length);
    } catch (error) {
      throw damaged(error);
    }
    if (toHex(this.#codec.hash(bytes)) !== name) throw damaged();
    return bytes;
  }

  #keep(name: string, bytes: Uint8Array): void {
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
    return this.#write(fresh.map(([name, bytes]) => ({ name, bytes })), frozen);
  }

  async #write(chunks: { name: string; bytes: Uint8Array }[], frozen?: Frozen): Promise<string> {
    const id = newId();
    const packed = chunks.map(({ bytes }) => {
      const smaller = this.#codec.compress(bytes);
      return smaller.length < bytes.length ? smaller : bytes;
    });
    const hash = new Uint8Array(chunks.length * HASH_LENGTH);
    chunks.forEach(({ name }, n) => hash.set(fromHex(name), n * HASH_LENGTH));
    const head: LayerHead = {
      id,
      chunks: { hash, length: toU32(chunks.map(({ bytes }) => bytes.length)), packed: toU32(packed.map(({ length }) => length)) },
      ...(frozen && { frozen }),
    };
    const parts = encodeLayer(this.#codec, head, packed);
    const name = id + SUFFIX;
    await this.#files.write(name, parts);
    this.#index({ name, head, dataStart: parts[0]!.length + parts[1]!.length });
    for (const { name: chunk, bytes } of chunks) this.#keep(chunk, bytes);
    return id;
  }

  /** Removes a snapshot; what others need of it stays. */
  async remove(id: string): Promise<void> {
    const { head } = this.#layer(id);
    const layer = this.#layers.get(id)!;
    const needed = this.#needed((other) => other !== layer);
    const kept = hashNames(head.chunks.hash).filter((name) => needed.has(name));
    const chunks = await Promise.all(kept.map(async (name) => ({ name, bytes: await this.#readChunk(name) })));
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
      const chunks = await Promise.all(kept.map(async (name) => ({ name, bytes: await this.#readChunk(name) })));
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
    const names = [...new Set(chunksOf(this.frozen(id)))];
    for (const [n, name] of names.entries()) {
      await this.#readChunk(name);
      onProgress?.((n + 1) / names.length);
    }
  }

  /** The snapshot as one file that stands alone: its parts, in order. */
  async export(id: string): Promise<Uint8Array[]> {
    const file = new OneFile();
    const frozen = { ...this.frozen(id), parent: '' };
    await new SnapshotStore(file, this.#codec).add(frozen, await this.chunks(chunksOf(frozen)));
    return file.parts;
  }

  /** Takes a file of {@link export} in, checked whole. Returns the snapshot's id. */
  async import(file: Uint8Array): Promise<string> {
    const name = 'the file';
    const prefix = decodePrefix(file, name);
    const dataStart = PREFIX_LENGTH + prefix.headLength;
    const head = decodeHead(this.#codec, prefix, file.subarray(PREFIX_LENGTH, dataStart), name);
    if (!head.frozen) throw new SnapshotError(`${name} is a layer without a snapshot: import what \`export\` gave`);
    const expected = dataStart + prefix.dataLength;
    if (file.length !== expected) throw new SnapshotError(`${name} is ${file.length < expected ? 'cut off' : 'too long'}: ${file.length} bytes of ${expected}; copy it again`);
    const source = new SnapshotStore(new OneFile(file), this.#codec);
    source.#index({ name, head, dataStart });
    const missing = chunksOf(head.frozen).find((chunk) => !source.has(chunk));
    if (missing) throw new SnapshotError(`${name} is not sound: it lacks the chunk ${missing.slice(0, 12)}; export it again`);
    return this.add(head.frozen, await source.chunks(chunksOf(head.frozen)));
  }
}

/** A store of one layer that comes from elsewhere, or goes there. */
class OneFile implements FileStore {
  readonly #file: Uint8Array | undefined;
  parts: Uint8Array[] = [];

  constructor(file?: Uint8Array) {
    this.#file = file;
  }

  async list(): Promise<string[]> {
    return [];
  }

  async read(_name: string, from: number, to?: number): Promise<Uint8Array> {
    return this.#file!.slice(from, to);
  }

  async write(_name: string, parts: readonly Uint8Array[]): Promise<void> {
    this.parts = [...parts];
  }

  async remove(): Promise<void> {}
}

/** Names of all the chunks that a snapshot is made of. */
function chunksOf({ ram, state, deviceChunks }: Frozen): string[] {
  return [...hashNames(ram.used), ...hashNames(state), ...hashNames(deviceChunks)];
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
