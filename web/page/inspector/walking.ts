import type { GuestView } from '../../embed/connection.ts';

const asked = new WeakSet<GuestView>();

/** The next request of this guest that is held is to be walked through without the visitor's doing. */
export function walkByItself(guest: GuestView): void {
  asked.add(guest);
}

/** Whether that was asked for since it was looked for last. */
export function isToWalk(guest: GuestView): boolean {
  return asked.delete(guest);
}
