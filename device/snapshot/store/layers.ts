import { copyOf } from '../../bytes.ts';
import { SnapshotError } from '../errors.ts';
import {
  type Codec,
  decodeHead,
  decodePrefix,
  type Frozen,
  fromU32,
  HASH_LENGTH,
  hashNames,
  type LayerHead,
  PREFIX_LENGTH,
  sameBytes,
  sum,
} from '../layer.ts';
import type { FileStore } from './file-store.ts';

export const SUFFIX = '.layer';
/** Names that this release gives to layers. What has another was put there by somebody else. */
const OWN_NAME = /^[0-9a-f]{32}\.layer$/;

/** A layer whose head is sound. */
export interface Layer {
  readonly name: string;
  readonly head: LayerHead;
  /** The first bytes of its file, by which a rewritten one is known. */
  readonly prefix: Uint8Array;
  /** Where its chunks begin in the file. */
  readonly dataStart: number;
  /** Why its chunks can't be read; '' where they can. */
  readonly damage: string;
}

/** A file of the store that no snapshot can be made of. */
export interface DamagedLayer {
  /** What `remove` takes. */
  id: string;
  file: string;
  /** What is wrong with it, and what to do. */
  reason: string;
  /** Whether it may need chunks of other layers: its head can't be read, and its name is one of ours. */
  mayNeed: boolean;
}

/** Where a chunk is. */
export interface Place {
  layer: Layer;
  at: number;
  packed: number;
  length: number;
}

/** The layers of a {@link FileStore} as they were when they were listed last, and where each chunk is. */
export class Layers {
  readonly #files: FileStore;
  readonly #codec: Codec;
  /** By the name of the file. */
  readonly #layers = new Map<string, Layer>();
  readonly #unreadable = new Map<string, DamagedLayer>();
  readonly #places = new Map<string, Place>();
  /** Chunks that were found damaged, by layer: they are as good as missing. */
  readonly #bad = new Map<string, Set<string>>();
  /** Of the chunks that have a place, by which many are looked up fast: see {@link missing}. */
  readonly #keys = new Set<number>();
  /** Listings come one after the other. */
  #listing: Promise<unknown> = Promise.resolve();

  constructor(files: FileStore, codec: Codec) {
    this.#files = files;
    this.#codec = codec;
  }

  /** Lists the files again and reads the heads of those that are new or others now. Returns whether anything is different. */
  refresh(): Promise<boolean> {
    const result = this.#listing.then(() => this.#refresh());
    this.#listing = result.catch(() => {});
    return result;
  }

  async #refresh(): Promise<boolean> {
    const names = (await this.#files.list()).filter((name) => name.endsWith(SUFFIX)).sort();
    const present = new Set(names);
    const gone = [...this.#layers.values()].filter(({ name }) => !present.has(name));
    const rewritten = await this.#rewritten();
    let isDifferent = this.forget([...gone, ...rewritten]);
    for (const name of [...this.#unreadable.keys()])
      if (!present.has(name)) isDifferent = this.#unreadable.delete(name);
    for (const name of names) {
      if (this.#layers.has(name)) continue;
      const before = this.#unreadable.get(name)?.reason;
      try {
        this.add(await this.#readLayer(name));
        isDifferent = true;
      } catch (error) {
        // Another process may have removed it meanwhile.
        if (!(await this.#files.list()).includes(name)) continue;
        const reason =
          error instanceof SnapshotError
            ? error.message
            : `${name} can't be read: ${(error as Error).message}; give this process the right to read it, or copy it again`;
        this.#unreadable.set(name, {
          id: name.slice(0, -SUFFIX.length),
          file: name,
          reason,
          mayNeed: OWN_NAME.test(name),
        });
        isDifferent ||= reason !== before;
      }
    }
    return isDifferent;
  }

  /** Known layers whose files begin otherwise now, or can't be read any more. */
  async #rewritten(): Promise<Layer[]> {
    const found: Layer[] = [];
    await Promise.all(
      [...this.#layers.values()].map(async (layer) => {
        const prefix = await this.#files.read(layer.name, 0, PREFIX_LENGTH).catch(() => undefined);
        const isSame = prefix && sameBytes(prefix, layer.prefix);
        if (!isSame || (layer.damage && (await this.#isWhole(layer.name, endOf(layer))))) found.push(layer);
      }),
    );
    return found;
  }

  /** Reads the head of a layer that was written beside this store. @throws SnapshotError when it is damaged. */
  async readHead(name: string): Promise<Layer> {
    const layer = await this.#readLayer(name);
    this.add(layer);
    return layer;
  }

  async #readLayer(name: string): Promise<Layer> {
    const first = copyOf(await this.#files.read(name, 0, PREFIX_LENGTH));
    const prefix = decodePrefix(first, name);
    const dataStart = PREFIX_LENGTH + prefix.headLength;
    const head = decodeHead(this.#codec, prefix, await this.#files.read(name, PREFIX_LENGTH, dataStart), name);
    if (head.image)
      throw new SnapshotError(`${name} is an image, and not a snapshot: keep it elsewhere, and share it with a guest`);
    const layer = { name, head, prefix: first, dataStart, damage: '' };
    const end = endOf(layer);
    return (await this.#isWhole(name, end))
      ? layer
      : { ...layer, damage: `${name} is truncated: it should have ${end} bytes; copy it again` };
  }

  /** Of what others may write to it is looked at how long it is. */
  async #isWhole(name: string, end: number): Promise<boolean> {
    return !this.#files.exclusively || (await this.#files.read(name, end - 1, end)).length === 1;
  }

  /** In the place of the one with the same name, if there is one. */
  add(layer: Layer): void {
    const replaced = this.#layers.get(layer.name);
    if (replaced) this.forget([replaced]);
    this.#unreadable.delete(layer.name);
    this.#layers.set(layer.name, layer);
    this.#index(layer);
  }

  #index(layer: Layer): void {
    if (layer.damage) return;
    const { hash, length, packed } = layer.head.chunks;
    const lengths = fromU32(length);
    const packedLengths = fromU32(packed);
    const bad = this.#bad.get(layer.name);
    let at = layer.dataStart;
    hashNames(hash).forEach((name, n) => {
      if (!this.#places.has(name) && !bad?.has(name)) {
        this.#places.set(name, { layer, at, packed: packedLengths[n]!, length: lengths[n]! });
        this.#keys.add(keyOf(name));
      }
      at += packedLengths[n]!;
    });
  }

  /** Returns whether there were any. Chunks that others have too are found there. */
  forget(layers: readonly Layer[]): boolean {
    if (!layers.length) return false;
    for (const layer of layers) {
      this.#layers.delete(layer.name);
      this.#bad.delete(layer.name);
      for (const name of hashNames(layer.head.chunks.hash)) this.#displace(name, layer);
    }
    for (const other of this.#layers.values()) this.#index(other);
    return true;
  }

  /** A chunk is not what it should be: another copy takes its place, if there is one. Returns whether there is. */
  markBad(name: string, { layer }: Place): boolean {
    if (this.#layers.get(layer.name) !== layer) return this.#places.has(name);
    const bad = this.#bad.get(layer.name) ?? new Set();
    this.#bad.set(layer.name, bad.add(name));
    this.#displace(name, layer);
    for (const other of this.#layers.values()) this.#index(other);
    return this.#places.has(name);
  }

  #displace(name: string, layer: Layer): void {
    if (this.#places.get(name)?.layer !== layer) return;
    this.#places.delete(name);
    this.#keys.delete(keyOf(name));
  }

  /** Takes those of `chunks` that were found damaged for sound again: somebody may have copied their files anew. */
  forgive(chunks: Iterable<string>): void {
    if (!this.#bad.size) return;
    for (const chunk of chunks) for (const bad of this.#bad.values()) bad.delete(chunk);
    for (const [name, bad] of this.#bad) if (!bad.size) this.#bad.delete(name);
    for (const layer of this.#layers.values()) this.#index(layer);
  }

  place(chunk: string): Place | undefined {
    return this.#places.get(chunk);
  }

  [Symbol.iterator](): Iterator<Layer> {
    return this.#layers.values();
  }

  /** Layers with a snapshot, by its id. Of several with the same one the first, but rather the one whose file is called so. */
  snapshots(): Map<string, Layer> {
    const found = new Map<string, Layer>();
    for (const layer of this.#layers.values()) {
      const { id, frozen } = layer.head;
      if (frozen && (!found.has(id) || layer.name === id + SUFFIX)) found.set(id, layer);
    }
    return found;
  }

  /** What can't be read, or is there twice. */
  damaged(): DamagedLayer[] {
    const snapshots = this.snapshots();
    const of = ({ name }: Layer, reason: string): DamagedLayer => ({
      id: name.slice(0, -SUFFIX.length),
      file: name,
      reason,
      mayNeed: false,
    });
    const others = [...this.#layers.values()].flatMap((layer) => {
      const { id, frozen } = layer.head;
      if (!frozen) return layer.damage ? [of(layer, layer.damage)] : [];
      const first = snapshots.get(id)!;
      return first === layer
        ? []
        : [of(layer, `${layer.name} has the same snapshot as ${first.name}: remove one of the files`)];
    });
    return [...this.#unreadable.values(), ...others].sort((a, b) => (a.file < b.file ? -1 : 1));
  }

  /** Files that may have chunks which are missing: those that were found damaged. */
  suspects(): string[] {
    return [...new Set([...this.#bad.keys(), ...this.damaged().map(({ file }) => file)])].sort();
  }

  /** How many chunks that a snapshot needs nobody has. */
  missing({ head }: Layer): number {
    const { ram, state, deviceParts, deviceChunks } = head.frozen!;
    let count = 0;
    for (const { buffer, byteOffset, length } of [ram.used, state, deviceParts, deviceChunks]) {
      const view = new DataView(buffer, byteOffset, length);
      for (let at = 0; at < length; at += HASH_LENGTH)
        if (!this.#keys.has(view.getUint32(at) * 2 ** 16 + view.getUint16(at + 4))) count++;
    }
    return count;
  }
}

/** How long its file is. */
function endOf({ dataStart, head }: Layer): number {
  return dataStart + sum(fromU32(head.chunks.packed));
}

/** The first 48 bits of a hash. */
function keyOf(name: string): number {
  return parseInt(name.slice(0, 12), 16);
}

/** Names of all the chunks that a snapshot is made of. */
export function chunksOf({ ram, state, deviceParts, deviceChunks }: Frozen): Set<string> {
  return new Set([ram.used, state, deviceParts, deviceChunks].flatMap(hashNames));
}
