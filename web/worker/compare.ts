import { LOCK_END_MAX } from '../../device/fs/locks.ts';
import { type Contents, diff, inspect, type LockContents, type SnapshotStore } from '../../device/index.ts';
import type { Trees } from '../../device/snapshot/inspect.ts';
import { type Comparison, type Listed, MAX_COMPARED } from '../protocol/timeline.ts';

/** What lies between two snapshots. `trees`: see {@link inspect}. @throws SnapshotError when one of them is damaged. */
export async function compare(store: SnapshotStore, from: string, to: string, trees: Trees): Promise<Comparison> {
  const { pages, pageCount, filesystems } = await diff(store, from, to, trees);
  const [before, after] = await Promise.all([inspect(store, from, trees), inspect(store, to, trees)]);
  return {
    pages,
    pageCount,
    folders: filesystems.map(({ added, removed, changed }, n) => ({
      added: listed(added),
      removed: listed(removed),
      changed: listed(changed),
      ...gainsAndLosses(before.filesystems[n]?.locks, after.filesystems[n]?.locks, lockText, 'locked', 'unlocked'),
    })),
    sessions: Array.from({ length: Math.max(before.devices.length, after.devices.length) }, (_, n) => {
      const [old, now] = [before.devices[n], after.devices[n]];
      return {
        tag: (now ?? old)!.tag,
        nodes: [old?.nodes ?? 0, now?.nodes ?? 0] as const,
        ...gainsAndLosses(old?.handles, now?.handles, handleText, 'opened', 'closed'),
      };
    }),
  };
}

/** What is in the second list only, and in the first only. */
function gainsAndLosses<T, G extends string, L extends string>(
  before: readonly T[] = [],
  after: readonly T[] = [],
  text: (each: T) => string,
  gained: G,
  lost: L,
): Record<G | L, Listed> {
  const [old, now] = [before.map(text), after.map(text)];
  const without = (all: string[], others: Set<string>) => listed(all.filter((each) => !others.has(each)));
  return { [gained]: without(now, new Set(old)), [lost]: without(old, new Set(now)) } as Record<G | L, Listed>;
}

function listed(all: readonly string[]): Listed {
  return { count: all.length, first: all.slice(0, MAX_COMPARED) };
}

function handleText({ kind, path, fh }: Contents['devices'][number]['handles'][number]): string {
  return `${path} (${kind}, handle ${fh})`;
}

function lockText({ space, type, path, pid, start, end }: LockContents): string {
  const bytes = end < LOCK_END_MAX ? `bytes ${start} to ${end}` : start ? `from byte ${start}` : 'all of it';
  return `${path} (${space} ${type ? 'write' : 'read'} lock of process ${pid}, ${bytes})`;
}
