import type { Connection, GuestView } from '../../embed/connection.ts';
import type { GuestId } from '../../protocol.ts';
import type { Lesson } from './course-format.ts';

/** What a lesson leaves. */
interface Left {
  /** Guests that there were before it. */
  others: ReadonlySet<GuestId>;
  /** Guests and snapshots that its acts have made. */
  opened: ReadonlySet<GuestId>;
  taken: ReadonlySet<string>;
  /** The device was paused before it. */
  wasHeld: boolean;
}

/** Makes everything as it was before a lesson of a guest, whether that is still there or not. */
export async function clearUp(
  connection: Connection,
  guest: GuestView,
  lesson: Lesson,
  { others, opened, taken, wasHeld }: Left,
): Promise<void> {
  const isHere = connection.guests.includes(guest);
  if (isHere) {
    if (guest.isHeld && !wasHeld) await connection.hold(guest, false);
    await guest.api.inspector.record(false, 'lesson');
  }
  // Of the guests with the folder one stays. What the visitor forked, because the lesson said so, is kept as a snapshot.
  const isForked = lesson.steps.some(({ acts }) => acts.some(({ what }) => what === 'fork'));
  for (const other of connection.guests) {
    const isOwn = opened.has(other.id);
    const isNew = isOwn || (isForked && !others.has(other.id));
    if (isNew && (isHere || other.folder !== guest.folder)) await connection.close(other, !isOwn);
  }
  const { snapshots } = await connection.worker.timeline.view();
  for (const { id } of snapshots) if (taken.has(id)) await connection.worker.timeline.remove(id);
  const heir = isHere ? guest : connection.guests.find(({ folder }) => folder === guest.folder);
  await heir?.api.lesson.end();
}
