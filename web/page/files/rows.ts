import type { FileEntry, Listing } from '../../protocol.ts';

export type SortKey = 'name' | 'size' | 'time';

/** In which order the entries of a directory stand. */
export interface Order {
  key: SortKey;
  /** From the largest or newest on. */
  isDown: boolean;
}

/** A row of the tree. */
export interface TreeRow {
  /** Undefined of the row behind those of a directory that are listed. */
  entry: FileEntry | undefined;
  level: number;
  /** From 1, and of how many. */
  position: number;
  count: number;
  /** How many are not listed. */
  more: number;
}

/** All rows of a tree; `lists` by path, the root's is "/". */
export function treeRows(
  lists: ReadonlyMap<string, Listing>,
  expanded: ReadonlySet<string>,
  order: Order,
  path = '/',
  level = 1,
): TreeRow[] {
  const listing = lists.get(path);
  if (!listing) return [];
  const { entries, count } = listing;
  const rows: TreeRow[] = [];
  for (const [n, entry] of sorted(entries, order).entries()) {
    rows.push({ entry, level, position: n + 1, count, more: 0 });
    if (entry.kind !== 'directory' || !expanded.has(entry.path)) continue;
    for (const row of treeRows(lists, expanded, order, entry.path, level + 1)) rows.push(row);
  }
  if (count > entries.length)
    rows.push({ entry: undefined, level, position: count, count, more: count - entries.length });
  return rows;
}

/** They come by name, folders first. */
function sorted(entries: readonly FileEntry[], { key, isDown }: Order): readonly FileEntry[] {
  if (key === 'name') return isDown ? entries.toReversed() : entries;
  const value = ({ size, mtime, kind }: FileEntry) => (key === 'time' ? mtime : kind === 'directory' ? -1 : size);
  return entries.toSorted((a, b) => (isDown ? value(b) - value(a) : value(a) - value(b)));
}
