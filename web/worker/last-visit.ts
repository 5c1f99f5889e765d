import type { SnapshotInfo } from '../../device/index.ts';
import type { Timeline } from './timeline.ts';

/** Name of snapshots that were not resumed. */
const LAST_VISIT = 'Last visit';

/** Keeps snapshots that are not resumed, which new ones would drive out. Settles with whether there were any. */
export async function protect(
  timeline: Timeline,
  snapshots: readonly SnapshotInfo[],
  problem: (message: string) => void,
): Promise<boolean> {
  const nameless = snapshots.filter(({ name }) => name === '');
  try {
    for (const { id } of nameless) await timeline.rename(id, LAST_VISIT);
    return nameless.length > 0;
  } catch (error) {
    problem(`The snapshots of your last visit may be deleted when new ones are taken: ${(error as Error).message}`);
    return false;
  }
}

/** Keeps those of a visit that is not resumed because a link opens something else, and says where they are. */
export async function setAside(
  timeline: Timeline,
  snapshots: readonly SnapshotInfo[],
  problem: (message: string) => void,
): Promise<void> {
  if (await protect(timeline, snapshots, problem))
    problem(
      `Your last visit was not resumed, because this link opens something else. It is in the timeline, as “${LAST_VISIT}”.`,
    );
}
