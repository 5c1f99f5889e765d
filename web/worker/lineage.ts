import type { SnapshotInfo } from '../../device/index.ts';
import { readSummary } from './summary.ts';

/** Ancestors that a snapshot names: the nearest ones, and the one that all began with. */
const MAX_ANCESTORS = 64;

/**
 * What each snapshot was taken after. A snapshot names all its ancestors that were there then, so that its line stays whole when
 * those between are removed; here is the same for snapshots that were removed while a guest continues from them.
 */
export class Lineage {
  readonly #list: () => readonly SnapshotInfo[];
  readonly #removed = new Map<string, readonly string[]>();

  constructor(list: () => readonly SnapshotInfo[]) {
    this.#list = list;
  }

  /** Of a snapshot that a guest is at, and is to be frozen after: itself and its ancestors, as far as they are there; nearest first. */
  lineOf(id: string): string[] {
    const all = new Map(this.#list().map((info) => [info.id, info]));
    const info = all.get(id);
    const line = [id, ...(info ? ancestorsOf(info) : (this.#removed.get(id) ?? []))].filter((each) => all.has(each));
    return line.length > MAX_ANCESTORS ? [...line.slice(0, MAX_ANCESTORS - 1), line.at(-1)!] : line;
  }

  /** The nearest ancestor that is there; '' for none. */
  parentOf(info: SnapshotInfo): string {
    const there = new Set(this.#list().map(({ id }) => id));
    return ancestorsOf(info).find((id) => there.has(id)) ?? '';
  }

  /** Before a snapshot is removed. `isAt`: whether a guest continues from it. */
  removes(info: SnapshotInfo, isAt: (id: string) => boolean): void {
    for (const id of this.#removed.keys()) if (!isAt(id)) this.#removed.delete(id);
    if (isAt(info.id)) this.#removed.set(info.id, ancestorsOf(info));
  }
}

/** Those that the page has told, or the one that the snapshot itself knows. */
function ancestorsOf({ summary, parent }: SnapshotInfo): readonly string[] {
  const { ancestors, kind } = readSummary(summary);
  return ancestors.length || !parent || kind === 'imported' ? ancestors : [parent];
}
