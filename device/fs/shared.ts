import { randomUuid } from '../random-uuid.ts';
import type { FileSystem } from './filesystem.ts';
import { LockTable } from './locks.ts';

/** What all sessions of a filesystem share, of those that don't have it themselves. */
const uuids = new WeakMap<FileSystem, string>();
const tables = new WeakMap<FileSystem, LockTable>();

/** How snapshots know a filesystem again: its own uuid, or one that it has in this process. */
export function uuidOf(filesystem: FileSystem): string {
  return filesystem.uuid ?? inMap(uuids, filesystem, randomUuid);
}

/** Where the locks of a filesystem are. */
export function locksOf(filesystem: FileSystem): LockTable {
  return filesystem.locks ?? inMap(tables, filesystem, () => new LockTable());
}

function inMap<V>(map: WeakMap<FileSystem, V>, filesystem: FileSystem, make: () => V): V {
  let value = map.get(filesystem);
  if (value === undefined) map.set(filesystem, (value = make()));
  return value;
}
