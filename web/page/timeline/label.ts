import { printable } from '../../../harness/machine/printable.ts';
import type { SnapshotView } from '../../protocol.ts';
import { formatMoment } from '../format.ts';

export const KINDS: Record<SnapshotView['kind'], string> = {
  start: 'Start',
  manual: 'Snapshot',
  automatic: 'Automatic',
  fork: 'Before a fork',
  rewind: 'Before a rewind',
  close: 'Before closing',
  imported: 'Imported',
};

/** Without the time. */
export function titleOf({ name, kind }: SnapshotView): string {
  return name && kind !== 'start' ? printable(name) : KINDS[kind];
}

/** What a visitor calls it. */
export function labelOf(snapshot: SnapshotView): string {
  const title = titleOf(snapshot);
  return title === KINDS[snapshot.kind] ? `${title}, ${formatMoment(snapshot.created)}` : title;
}

/** Snapshots with `text` in what the visitor sees of them. */
export function matches(snapshot: SnapshotView, text: string): boolean {
  const all = `${titleOf(snapshot)} ${KINDS[snapshot.kind]} ${formatMoment(snapshot.created)} ${snapshot.guest} ${snapshot.isPinned ? 'pinned' : ''}`;
  return all.toLowerCase().includes(text.trim().toLowerCase());
}

/** The snapshots that are shown, each with the nearest ancestor that is shown too. */
export function narrow(all: readonly SnapshotView[], isShown: (snapshot: SnapshotView) => boolean): SnapshotView[] {
  const known = new Map(all.map((snapshot) => [snapshot.id, snapshot]));
  return all.filter(isShown).map((snapshot) => ({ ...snapshot, parent: shownAbove(snapshot.parent, known, isShown) }));
}

/** The snapshot with this id, or the nearest of its ancestors that is shown; '' for none. */
export function shownAbove(
  id: string,
  known: ReadonlyMap<string, SnapshotView>,
  isShown: (snapshot: SnapshotView) => boolean,
): string {
  const seen = new Set<string>();
  let at = known.get(id);
  while (at && !isShown(at) && !seen.has(at.id)) {
    seen.add(at.id);
    at = known.get(at.parent);
  }
  return at && isShown(at) ? at.id : '';
}
