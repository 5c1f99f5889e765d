import { type Frozen, toHex, toU32 } from '../../device/snapshot/layer.ts';
import type { SnapshotStore } from '../../device/snapshot/store/snapshot-store.ts';

/** A snapshot of no machine, whose RAM is `contents`: one chunk each, of up to 64 pages. */
export function smallSnapshot(
  store: SnapshotStore,
  name: string,
  contents: readonly Uint8Array[],
): { frozen: Frozen; chunks: Map<string, Uint8Array> } {
  const hashes = contents.map((bytes) => store.codec.hash(bytes));
  const pages = contents.map(({ length }) => length / 4096);
  const none = new Uint8Array(0);
  const frozen: Frozen = {
    created: new Date().toISOString(),
    name,
    parent: '',
    machine: {},
    summary: {},
    state: none,
    stateLength: 0,
    schema: 2,
    devices: none,
    deviceParts: none,
    deviceChunks: none,
    ram: {
      pageCount: 64 * contents.length,
      first: toU32(contents.map((_, n) => 64 * n)),
      count: toU32(pages),
      chunk: toU32(contents.map((_, n) => n)),
      page: toU32(contents.map(() => 0)),
      used: Buffer.concat(hashes),
    },
  };
  return { frozen, chunks: new Map(contents.map((bytes, n) => [toHex(hashes[n]!), bytes])) };
}

export function addSnapshot(store: SnapshotStore, name: string, contents: readonly Uint8Array[]): Promise<string> {
  const { frozen, chunks } = smallSnapshot(store, name, contents);
  return store.add(frozen, chunks);
}

/** Returns what adds snapshots to `store`, of the contents of some seeds, and notes in `done` the name of each that is stored, by its id. */
export function adder(store: SnapshotStore, done: { set(id: string, name: string): unknown }) {
  return async (name: string, seeds: number[]): Promise<string> => {
    const id = await addSnapshot(store, name, contentsOf(seeds));
    done.set(id, name);
    return id;
  };
}

export function contentsOf(seeds: number[]): Uint8Array[] {
  return seeds.map((seed) => contentOf(seed));
}

/** The same bytes for the same seed: half of them can be compressed. */
export function contentOf(seed: number, pages = 1 + (seed % 3)): Uint8Array {
  const bytes = new Uint8Array(4096 * pages);
  let x = Math.imul(seed + 1, 0x9e3779b9);
  for (let at = 0; at < bytes.length / 2; at++) {
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97) + seed;
    bytes[at] = x >>> 8;
  }
  return bytes;
}
