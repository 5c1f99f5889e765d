import { copyOf } from '../../bytes.ts';
import { OneAtATime } from '../../one-at-a-time.ts';
import { MissingChunkError, SnapshotError } from '../errors.ts';
import {
  type Codec,
  decodePrefix,
  encodeLayer,
  type Frozen,
  fromHex,
  fromU32,
  HASH_LENGTH,
  hashNames,
  type LayerHead,
  PREFIX_LENGTH,
  sum,
  toHex,
  toU32,
} from '../layer.ts';
import { Catalog, type SnapshotInfo } from './catalog.ts';
import { ChunkReader, type StoredChunk } from './chunk-reader.ts';
import { type FileStore, MemoryStore } from './file-store.ts';
import { chunksOf, type DamagedLayer, type Layer, Layers, SUFFIX } from './layers.ts';

/**
 * Snapshots in a {@link FileStore}: each is a layer with the chunks that no other had. Chunks are
 * named by their BLAKE3 and checked against it whenever they are read.
 *
 * Several may have the same files, in several processes: they change them in turns and look at what there is before each change. A
 * layer that is damaged costs the snapshots that need it.
 */
export class SnapshotStore {
  readonly #files: FileStore;
  readonly #codec: Codec;
  readonly #layers: Layers;
  readonly #catalog: Catalog;
  readonly #reader: ChunkReader;
  readonly #changes = new OneAtATime();

  private constructor(files: FileStore, codec: Codec) {
    this.#files = files;
    this.#codec = codec;
    this.#layers = new Layers(files, codec);
    this.#catalog = new Catalog(this.#layers);
    this.#reader = new ChunkReader(files, codec, this.#layers);
  }

  /** Reads the heads of all layers. What is wrong with those that can't be read is told by {@link damaged}. */
  static async open(files: FileStore, codec: Codec): Promise<SnapshotStore> {
    const store = new SnapshotStore(files, codec);
    await store.refresh();
    return store;
  }

  /** Looks at what others have changed. */
  async refresh(): Promise<void> {
    await this.#layers.refresh();
  }

  /** Reads the head of a layer that was written beside this store. @throws SnapshotError when it is damaged. */
  async readLayer(name: string): Promise<void> {
    await this.#layers.readHead(name);
  }

  /** Hashes and compresses the chunks. */
  get codec(): Codec {
    return this.#codec;
  }

  /** Oldest first. */
  list(): SnapshotInfo[] {
    return this.#catalog.list();
  }

  /** Files of the store that no snapshot can be made of, and why. They stay until they are removed by their id. */
  damaged(): DamagedLayer[] {
    return this.#catalog.damaged();
  }

  /** The id of the snapshot with this id, beginning of an id, or name; or of a damaged layer. @throws SnapshotError for none, or several. */
  find(key: string): string {
    return this.#catalog.find(key);
  }

  /** About one snapshot. @throws SnapshotError when no snapshot has this id. */
  info(id: string): SnapshotInfo {
    return this.#catalog.info(id);
  }

  /** The head of a snapshot. @throws SnapshotError when no snapshot has this id. */
  frozen(id: string): Frozen {
    return this.#catalog.layer(id).head.frozen!;
  }

  /** Whether a chunk is here already. */
  has(name: string): boolean {
    return this.#layers.place(name) !== undefined;
  }

  /** Bytes of chunks before they were compressed, one that is named twice counted twice. @throws SnapshotError when one is missing. */
  lengthOf(names: Iterable<string>): number {
    let length = 0;
    for (const name of names) length += this.#reader.placeOf(name).length;
    return length;
  }

  /** Several chunks by their names. @throws SnapshotError when one is missing or damaged. */
  chunks(names: Iterable<string>): Promise<Map<string, Uint8Array>> {
    return this.#reader.chunks(names);
  }

  /** Gives each chunk to `use`, whose bytes are borrowed until that returns. @throws SnapshotError when one is missing, before any is given; or damaged. */
  visit(names: Iterable<string>, use: (name: string, bytes: Uint8Array) => void): Promise<void> {
    return this.#reader.visit(names, use);
  }

  /**
   * Keeps all of a snapshot in memory, unpacked, for those who restore it again and again, until what this returns is called. Machines that come from it
   * share the content of its files.
   *
   * @throws SnapshotError when it is missing or damaged.
   */
  pin(id: string): Promise<() => void> {
    return this.#reader.pin(chunksOf(this.frozen(id)));
  }

  /** Bytes that {@link pin} takes. @throws SnapshotError when it is missing. */
  pinnedLength(id: string): number {
    return this.lengthOf(chunksOf(this.frozen(id)));
  }

  /** Nobody else changes the files meanwhile, and what they have changed before is known. */
  #change<T>(action: () => Promise<T>): Promise<T> {
    const { exclusively } = this.#files;
    if (!exclusively) return this.#changes.run(action);
    const changing = exclusively.call(this.#files, async () => {
      await this.refresh();
      return action();
    }) as Promise<T>;
    return changing.catch(async (error: unknown) => {
      // What was said of the files may not have come to be.
      await this.refresh().catch(() => {});
      throw error;
    });
  }

  /**
   * Stores a snapshot. `chunks`: those of its chunks that may not be here, by name; borrowed. Returns its id.
   *
   * @throws MissingChunkError when one of the others is not here any more.
   */
  async add(frozen: Frozen, chunks: Map<string, Uint8Array>): Promise<string> {
    const packed = new Map<string, StoredChunk>();
    // Most of the work, before others have to wait.
    for (const [name, bytes] of chunks) if (!this.has(name)) packed.set(name, this.pack(name, bytes));
    return this.#change(async () => {
      for (const name of chunksOf(frozen))
        if (!chunks.has(name) && !this.has(name))
          throw new MissingChunkError(
            `the snapshot builds on the chunk ${name.slice(0, 12)}, which another process has removed: freeze again`,
          );
      const fresh = [...chunks].filter(([name]) => !this.has(name));
      const id = await this.#write(
        fresh.map(([name, bytes]) => packed.get(name) ?? this.pack(name, bytes)),
        frozen,
      );
      for (const [name, bytes] of fresh) this.#reader.written(name, bytes);
      return id;
    });
  }

  async #write(chunks: StoredChunk[], frozen?: Frozen): Promise<string> {
    const head = makeHead(chunks, frozen);
    await this.#writeLayer(
      head.id + SUFFIX,
      head,
      chunks.map(({ stored }) => stored),
    );
    return head.id;
  }

  /** In the place of the layer with the same name, if there is one. */
  async #writeLayer(name: string, head: LayerHead, chunks: readonly Uint8Array[]): Promise<void> {
    const parts = encodeLayer(this.#codec, head, chunks);
    await this.#files.write(name, parts);
    this.#layers.add({
      name,
      head,
      prefix: copyOf(parts[0]!),
      dataStart: parts[0]!.length + parts[1]!.length,
      damage: '',
    });
  }

  /** Gives a snapshot another name. */
  rename(id: string, name: string): Promise<void> {
    return this.amend(id, { name });
  }

  /** Changes what is said of a snapshot. Its layer is written anew, in one step. */
  amend(id: string, changes: Partial<Pick<Frozen, 'name' | 'summary'>>): Promise<void> {
    return this.#change(async () => {
      const layer = this.#catalog.layer(id);
      if (layer.damage) throw new SnapshotError(layer.damage);
      const data = await this.#files.read(layer.name, layer.dataStart);
      const length = sum(fromU32(layer.head.chunks.packed));
      if (data.length < length)
        throw new SnapshotError(
          `${layer.name} is truncated: its chunks have ${data.length} bytes of ${length}; copy it again`,
        );
      await this.#writeLayer(layer.name, { ...layer.head, frozen: { ...layer.head.frozen!, ...changes } }, [
        data.subarray(0, length),
      ]);
    });
  }

  /**
   * Removes a snapshot; what others need of it stays. Removes a damaged layer too.
   *
   * @throws SnapshotError when what others need can't be read, and may still be saved.
   */
  remove(id: string): Promise<void> {
    return this.#change(async () => {
      const damaged = this.damaged().find((other) => other.id === id);
      const layer = this.#layers.snapshots().get(id);
      if (damaged && (!layer || damaged.file !== layer.name)) return this.#removeDamaged(damaged);
      const { name, damage } = this.#catalog.layer(id);
      if (damage) return this.#removeDamaged({ file: name, id });
      const chunks = await this.#takeOut(
        layer!,
        this.#needed((other) => other !== layer),
      );
      if (chunks.length) await this.#write(chunks);
      await this.#files.remove(name);
      this.#layers.forget([layer!]);
    });
  }

  async #removeDamaged({ file, id }: Pick<DamagedLayer, 'file' | 'id'>): Promise<void> {
    const robbed = this.list().filter((info) => info.damage && info.id !== id);
    if (robbed.length) {
      const names = robbed.map((info) => info.name || info.id.slice(0, 12)).join(', ');
      throw new SnapshotError(
        `${file} is damaged and may have what ${names} lack${robbed.length === 1 ? 's' : ''}: copy it again, or remove ${robbed.length === 1 ? 'that' : 'those'} first`,
      );
    }
    await this.#files.remove(file);
    await this.refresh();
  }

  /**
   * Removes chunks that no snapshot needs any more. Returns how many bytes that gave back: none as long as a layer is there whose needs
   * can't be read (`mayNeed`), for they may be any.
   */
  gc(): Promise<number> {
    return this.#change(async () => {
      const needed = this.#needed(() => true);
      let freed = 0;
      for (const layer of [...this.#layers]) {
        if (layer.head.frozen || layer.damage) continue;
        const names = hashNames(layer.head.chunks.hash);
        if (names.every((name) => needed(name) && this.#layers.place(name)?.layer === layer)) continue;
        let chunks: StoredChunk[];
        try {
          chunks = await this.#takeOut(layer, needed);
        } catch {
          // As long as the file is there it may still be saved.
          continue;
        }
        freed += sum(fromU32(layer.head.chunks.packed));
        if (chunks.length) {
          await this.#write(chunks);
          freed -= chunks.reduce((total, { stored }) => total + stored.length, 0);
        }
        await this.#files.remove(layer.name);
        this.#layers.forget([layer]);
      }
      return freed;
    });
  }

  /** The chunks of a layer that are needed and have no other place where they are sound. @throws SnapshotError when one is damaged. */
  async #takeOut(layer: Layer, needed: (chunk: string) => boolean): Promise<StoredChunk[]> {
    const names = hashNames(layer.head.chunks.hash).filter(needed);
    const isHere = (name: string) => this.#reader.placeOf(name).layer === layer;
    await this.#reader.settle(names.filter((name) => !isHere(name)));
    return this.#reader.stored(names.filter(isHere));
  }

  /** Whether a chunk is needed by those layers that `counts` says. */
  #needed(counts: (layer: Layer) => boolean): (chunk: string) => boolean {
    if (this.damaged().some(({ mayNeed }) => mayNeed)) return () => true;
    const names = new Set<string>();
    for (const layer of this.#layers) {
      if (layer.head.frozen && counts(layer)) for (const name of chunksOf(layer.head.frozen)) names.add(name);
    }
    return (name) => names.has(name);
  }

  /** Reads every chunk of a snapshot. @throws SnapshotError for the first that is missing or damaged. */
  async verify(id: string, onProgress?: (fraction: number) => void): Promise<void> {
    const names = chunksOf(this.frozen(id));
    this.#layers.forgive(names);
    const { damage } = this.info(id);
    if (damage) throw new SnapshotError(`the snapshot is damaged: ${damage}`);
    let done = 0;
    await this.#reader.check(names, () => onProgress?.(++done / names.size));
  }

  /** The snapshot as one file that stands alone: its parts, in order. */
  async export(id: string): Promise<Uint8Array[]> {
    return this.exportAs(this.frozen(id));
  }

  /** As {@link export}, of a snapshot that is not in the store. `added`: those of its chunks that need not be here, by name. */
  async exportAs(frozen: Frozen, added: ReadonlyMap<string, StoredChunk> = new Map()): Promise<Uint8Array[]> {
    const names = [...chunksOf(frozen)];
    const here = await this.#reader.stored(names.filter((name) => !added.has(name)));
    const chunks = [...here, ...names.flatMap((name) => added.get(name) ?? [])];
    return encodeLayer(
      this.#codec,
      makeHead(chunks, { ...frozen, parent: '' }),
      chunks.map(({ stored }) => stored),
    );
  }

  /** What the files of the store have of a chunk. The result may be `bytes` themselves. */
  pack(name: string, bytes: Uint8Array): StoredChunk {
    const smaller = this.#codec.compress(bytes);
    return { name, length: bytes.length, stored: smaller.length < bytes.length ? smaller : bytes };
  }

  /** Takes a file of {@link export} in, checked whole; `summarize` may make another summary of the one in it. Returns the snapshot's id. */
  async import(file: Uint8Array, summarize: (summary: unknown) => unknown = (summary) => summary): Promise<string> {
    const name = 'the file';
    const { headLength, dataLength } = decodePrefix(file, name);
    const expected = PREFIX_LENGTH + headLength + dataLength;
    if (file.length !== expected)
      throw new SnapshotError(
        `${name} is ${file.length < expected ? 'truncated' : 'too long'}: ${file.length} bytes of ${expected}; copy it again`,
      );
    const source = new SnapshotStore(new MemoryStore([[name, file]]), this.#codec);
    const {
      head: { frozen },
    } = await source.#layers.readHead(name);
    if (!frozen) throw new SnapshotError(`${name} is a layer without a snapshot: import what \`export\` gave`);
    const names = chunksOf(frozen);
    for (const chunk of names)
      if (!source.has(chunk))
        throw new SnapshotError(`${name} is invalid: it lacks the chunk ${chunk.slice(0, 12)}; export it again`);
    const chunks = await source.#reader.stored(names);
    return this.#change(async () => {
      await this.#reader.settle(names);
      return this.#write(
        chunks.filter((chunk) => !this.has(chunk.name)),
        { ...frozen, summary: summarize(frozen.summary) },
      );
    });
  }
}

/** Of a new layer, with a new id. */
function makeHead(chunks: readonly StoredChunk[], frozen?: Frozen): LayerHead {
  const hash = new Uint8Array(chunks.length * HASH_LENGTH);
  chunks.forEach(({ name }, n) => hash.set(fromHex(name), n * HASH_LENGTH));
  const columns = {
    hash,
    length: toU32(chunks.map(({ length }) => length)),
    packed: toU32(chunks.map(({ stored }) => stored.length)),
  };
  return { id: newId(), chunks: columns, ...(frozen && { frozen }) };
}

function newId(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(16)));
}
