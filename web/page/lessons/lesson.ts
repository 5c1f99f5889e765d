import type { Connection, GuestView } from '../../embed/connection.ts';
import type { DeviceView, GuestId, RequestRow } from '../../protocol.ts';

/** What a lesson plays in. */
export interface Scene {
  readonly connection: Connection;
  /** The guest that the lesson is about. */
  readonly guest: GuestView;
  /** Another guest with the same folder. */
  readonly second: GuestView | undefined;
  /** What the guest's driver has requested since the step began, oldest first. */
  readonly requests: readonly RequestRow[];
  /** When the step began, in milliseconds since 1970. */
  readonly began: number;
  /** What steps leave for later ones of the same lesson. */
  readonly notes: Map<string, string>;
  /** The lesson's own directory in the shared folder. */
  readonly path: string;
  /** Guests and snapshots that steps have made, for whoever clears up. */
  readonly opened: Set<GuestId>;
  readonly taken: Set<string>;
}

/** What can be seen of a step's doing. */
export interface Seen {
  text: string;
  isDone: boolean;
}

/** Something to do. The page sees by itself when it has happened, whoever did it. */
export interface Step {
  title: string;
  text: string;
  /**
   * For a terminal: of the lesson's guest, or the second one. `directory`: the lesson's own in the guest. Whoever types it in another place
   * must not damage what is there, so that nothing in it depends on where it is typed.
   */
  command?: (directory: string) => string;
  where?: 'second';
  /** Does it for the visitor, where it is nothing to type. */
  act?: (scene: Scene) => Promise<unknown>;
  look: (scene: Scene) => Promise<Seen | undefined> | Seen | undefined;
}

export interface Lesson {
  id: string;
  title: string;
  about: string;
  /** What is in its directory at first, and names that its steps make there: see `LessonApi.begin`. */
  files: Record<string, string>;
  others?: string[];
  steps: readonly Step[];
}

/** For lessons that read a file. */
export const README = 'This file belongs to a lesson, and goes when the lesson ends.\n';

export function done(text: string): Seen {
  return { text, isDone: true };
}

export function soFar(text: string): Seen {
  return { text, isDone: false };
}

/** Opcodes in their order, repeated ones counted. */
export function opcodesOf(requests: readonly RequestRow[]): string {
  const runs: { opcode: string; count: number }[] = [];
  for (const { opcode } of requests) {
    const last = runs.at(-1);
    if (last?.opcode === opcode) last.count++;
    else runs.push({ opcode, count: 1 });
  }
  return runs.map(({ opcode, count }) => (count > 1 ? `${opcode} ×${count}` : opcode)).join(', ');
}

/** The answered requests of one opcode, about one file where `about` is given. */
export function answered({ requests }: Scene, opcode: string, about?: string): RequestRow[] {
  return requests.filter(
    (row) => row.opcode === opcode && row.written !== undefined && (about === undefined || row.about.includes(about)),
  );
}

export const holdOn = ({ connection, guest }: Scene): Promise<void> => connection.hold(guest, true);
export const holdOff = ({ connection, guest }: Scene): Promise<void> => connection.hold(guest, false);

/** How many requests wait in the guest's request queue, and how many can. */
export async function waitingOf({ guest }: Scene): Promise<{ waiting: number; size: number }> {
  const { queues } = await guest.api.inspector.device();
  const { entries, size } = await guest.api.inspector.queue(queues.findIndex(isRequestQueue));
  return { waiting: entries.reduce((sum, state) => sum + Number(state === 1), 0), size };
}

/** What the guest's request queue has counted. */
export async function statisticsOf({ guest }: Scene): Promise<DeviceView['queues'][number]> {
  return (await guest.api.inspector.device()).queues.find(isRequestQueue)!;
}

const isRequestQueue = ({ name }: { name: string }) => name === 'request 1';
