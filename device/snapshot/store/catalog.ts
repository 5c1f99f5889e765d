import { PAGE_SIZE } from '../../bytes.ts';
import { SnapshotError } from '../errors.ts';
import { type Frozen, fromU32, sum } from '../layer.ts';
import type { DamagedLayer, Layer, Layers } from './layers.ts';

/** What a store tells about a snapshot without reading its content. */
export interface SnapshotInfo {
  /** 32 hexadecimal digits. */
  id: string;
  name: string;
  /** ISO 8601. */
  created: string;
  /** The snapshot it was taken after, '' for none. */
  parent: string;
  /** What has to be the same where it is restored. */
  machine: Frozen['machine'];
  /** What its owner said of it: plain data, not checked. */
  summary: unknown;
  /** Bytes of guest RAM that are not zeros. */
  ramBytes: number;
  /** Bytes that the snapshot added to the store. */
  addedBytes: number;
  /** Why it can't be restored, as far as that is known; '' where nothing is. */
  damage: string;
}

/** Which snapshots there are in layers, and how people call them. */
export class Catalog {
  readonly #layers: Layers;

  constructor(layers: Layers) {
    this.#layers = layers;
  }

  /** Oldest first. */
  list(): SnapshotInfo[] {
    return [...this.#layers.snapshots().values()]
      .map((layer) => this.#infoOf(layer))
      .sort((a, b) => a.created.localeCompare(b.created));
  }

  /** Files that no snapshot can be made of, and why. */
  damaged(): DamagedLayer[] {
    return this.#layers.damaged();
  }

  /** The id of the snapshot with this id, beginning of an id, or name; or of a damaged layer. @throws SnapshotError for none, or several. */
  find(key: string): string {
    const all = [...this.list(), ...this.damaged().map(({ id }) => ({ id, name: '' }))];
    // '' is what those without a name have, and what a variable that is not set gives.
    const known = key === '' ? [] : all;
    const named = known.filter(({ name }) => name === key);
    const found = new Set((named.length ? named : known.filter(({ id }) => id.startsWith(key))).map(({ id }) => id));
    if (found.size === 1) return [...found][0]!;
    if (found.size)
      throw new SnapshotError(
        `several snapshots are called ${JSON.stringify(key)}: give the id of one, ${[...found].map((id) => id.slice(0, 12)).join(', ')}`,
      );
    const there =
      this.list()
        .map(({ id, name }) => name || id.slice(0, 12))
        .join(', ') || 'none';
    const unreadable = this.damaged()
      .map(({ reason }) => `; ${reason}`)
      .join('');
    throw new SnapshotError(`no snapshot is called ${JSON.stringify(key)}: there are ${there}${unreadable}`);
  }

  info(id: string): SnapshotInfo {
    return this.#infoOf(this.layer(id));
  }

  /** The layer of a snapshot. @throws SnapshotError */
  layer(id: string): Layer {
    const layer = this.#layers.snapshots().get(id);
    if (layer) return layer;
    const damaged = this.damaged().find((other) => other.id === id);
    throw new SnapshotError(damaged?.reason ?? `no snapshot has the id ${id}`);
  }

  #infoOf(layer: Layer): SnapshotInfo {
    const { id, chunks, frozen } = layer.head;
    const { name, created, parent, machine, summary, ram } = frozen!;
    return {
      id,
      name,
      created,
      parent,
      machine,
      summary,
      ramBytes: PAGE_SIZE * sum(fromU32(ram.count)),
      addedBytes: sum(fromU32(chunks.packed)),
      damage: this.#damageOf(layer),
    };
  }

  #damageOf(layer: Layer): string {
    if (layer.damage) return layer.damage;
    const count = this.#layers.missing(layer);
    if (!count) return '';
    const suspects = this.#layers.suspects().join(', ');
    return `${count === 1 ? '1 of its chunks is' : `${count} of its chunks are`} missing${suspects ? `, and may be in ${suspects}: copy that again` : ': a layer was removed or is damaged; copy it again'}`;
  }
}
