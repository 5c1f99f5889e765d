import type { Connection, GuestView } from '../../embed/connection.ts';
import type { BareResult } from '../../protocol/bare.ts';
import { called } from '../../protocol/format.ts';
import type { FileEntry, RequestRow, SnapshotView } from '../../protocol.ts';
import type { Check, Lesson, Question } from './course-format.ts';
import { asFacts, type Facts } from './expression.ts';

/** Rows of the log, nodes and snapshots that a check sees: expressions go through all of them. */
const MAX_ROWS = 200;
/** Requests whose buffers are looked at. */
const MAX_CHAINS = 30;
/** Bytes of a lesson's file that are text for checks. */
const MAX_TEXT = 4000;
const MAX_FILES = 30;

/** What a step plays in. */
export interface Scene {
  readonly connection: Connection;
  /** The guest that the lesson is about. */
  readonly guest: GuestView;
  /** Another guest with the same folder, or one that the lesson has made. */
  readonly second: GuestView | undefined;
  /** What the guest's driver has requested since the step began, oldest first. */
  readonly requests: readonly RequestRow[];
  /** When the step began, in milliseconds since 1970. */
  readonly began: number;
  /** What steps leave for later ones of the same lesson. */
  readonly notes: ReadonlyMap<string, unknown>;
  /** The lesson's own directory in the shared folder. */
  readonly path: string;
  /** The step's question was answered. */
  readonly predicted: boolean;
}

/** What costs a question each, so that it is asked for only where a check mentions it. */
const ASKED: Record<string, (scene: Scene) => Promise<unknown>> = {
  device: ({ guest }) => guest.api.inspector.device(),
  session: ({ guest }) => sessionOf(guest),
  queue: queueOf,
  walk: async ({ guest }) => {
    const walk = await guest.api.inspector.walk();
    return (
      walk && {
        opcode: walk.opcode,
        queue: walk.queue,
        isServed: walk.isServed,
        descriptors: walk.steps
          .filter(({ descriptor }) => descriptor)
          .map(({ descriptor, isInner = false }) => ({ ...descriptor, table: undefined, isInner })),
      }
    );
  },
  chains: chainsOf,
  secondSession: async ({ second }) => second && sessionOf(second),
  files: filesOf,
  snapshots: async ({ connection, guest }) => {
    const { snapshots } = await connection.worker.timeline.view();
    return snapshots.filter((snapshot: SnapshotView) => snapshot.guest === guest.name).slice(0, MAX_ROWS);
  },
};

/** The facts that these refer to, at this moment. */
export async function factsFor(parts: readonly (Check | Question | undefined)[], scene: Scene): Promise<Facts> {
  const source = parts.flatMap(sourcesOf).join('\n');
  const asked = Object.entries(ASKED).filter(([name]) => new RegExp(`\\b${name}\\b`).test(source));
  const values = await Promise.all(asked.map(async ([name, ask]) => [name, (await ask(scene)) ?? null] as const));
  const { connection, guest, second, requests, began, notes, path, predicted } = scene;
  return asFacts({
    ...Object.fromEntries(values),
    requests: requests.slice(-MAX_ROWS).map(factsOfRow),
    guest: factsOf(guest),
    second: second ? factsOf(second) : null,
    guests: connection.guests.map(factsOf),
    held: guest.isHeld,
    began,
    predicted,
    notes,
    dir: guest.mountPoint + path,
    path,
  }) as Facts;
}

/** What became of a driver's program, for its goals. */
export function factsOfResult(result: BareResult): Facts {
  return asFacts({ ...result, requests: result.requests.map(factsOfRow) }) as Facts;
}

/** What a visitor predicted, and what the device did: indices of options. */
export interface Prediction {
  chosen: number | undefined;
  /** Undefined until it is known; -1 for none of them. */
  right: number | undefined;
}

/** How many of a lesson's questions there are, and how many were answered as the device did. */
export function scoreOf({ steps }: Lesson, predictions: readonly Prediction[]): { right: number; asked: number } {
  return {
    right: predictions.filter((each) => each && each.chosen !== undefined && each.chosen === each.right).length,
    asked: steps.filter(({ question }) => question).length,
  };
}

/** Of a question's options, the first one that is true. */
export function rightOf({ options }: Question, facts: Facts): number {
  return options.findIndex(({ isRight }) =>
    typeof isRight === 'boolean' ? isRight : isRight.evaluate(facts) === true,
  );
}

function factsOfRow(row: RequestRow) {
  return { ...row, isAnswered: row.written !== undefined };
}

function factsOf({ name, driver, isAsleep, isHeld }: GuestView) {
  return { name, called: called(name), driver, isAsleep, isHeld };
}

function sourcesOf(part: Check | Question | undefined): string[] {
  if (!part) return [];
  if ('options' in part)
    return part.options.flatMap(({ isRight }) => (typeof isRight === 'boolean' ? [] : [isRight.source]));
  const { lets, done, seen, soFar, start, keep } = part;
  return [
    ...lets.values(),
    done,
    ...seen.expressions,
    ...(soFar?.expressions ?? []),
    ...start.values(),
    ...keep.values(),
  ].map(({ source }) => source);
}

async function sessionOf({ api }: GuestView) {
  const { nodes, ...session } = await api.inspector.session();
  return { ...session, nodes: nodes.slice(0, MAX_ROWS) };
}

/** The buffers of the requests, oldest first. */
async function chainsOf({ guest, requests }: Scene) {
  const details = await Promise.all(
    requests.slice(-MAX_CHAINS).map(({ number }) => guest.api.inspector.request(number)),
  );
  return details
    .filter((detail) => detail !== undefined)
    .map(({ number, opcode, about, interrupt, buffers }) => {
      const [readable, writable] = [false, true].map((is) => buffers.filter((buffer) => buffer.writable === is));
      const bytes = (some: typeof buffers | undefined) => some!.reduce((sum, { length }) => sum + length, 0);
      return {
        number,
        opcode,
        about,
        interrupt,
        readable: readable!.length,
        writable: writable!.length,
        bytesIn: bytes(readable),
        bytesOut: bytes(writable),
      };
    });
}

/** The request queue: what is in it, and what it has counted. */
async function queueOf({ guest }: Scene) {
  const { inspector } = guest.api;
  const { queues } = await inspector.device();
  const index = queues.findIndex(({ name }) => name === 'request 1');
  const { entries, avail, used, descriptors, isPacked, events } = await inspector.queue(index);
  return {
    ...queues[index],
    index,
    isPacked,
    waiting: entries.reduce((sum, state) => sum + Number(state === 1), 0),
    avail_idx: avail?.idx,
    used_idx: used?.idx,
    used_event: avail?.used_event,
    avail_event: used?.avail_event,
    hasEvents: events !== undefined,
    indirect: descriptors.filter(({ flags }) => flags.includes('INDIRECT')).length,
  };
}

/** What is in the lesson's directory and below, by paths relative to it. */
async function filesOf({ guest, path }: Scene) {
  const { folder } = guest.api;
  const entries: FileEntry[] = [];
  for (let paths = [path]; paths.length && entries.length < MAX_FILES; ) {
    const found = [...(await folder.list(paths, MAX_FILES)).values()].flatMap((listing) => listing.entries);
    entries.push(...found);
    paths = found.filter(({ kind }) => kind === 'directory').map((entry) => entry.path);
  }
  return Object.fromEntries(
    await Promise.all(
      entries.slice(0, MAX_FILES).map(async (entry) => {
        const { ino, size, mtime, version, kind } = entry;
        const text =
          kind === 'file' && size
            ? await folder.read(entry.path, MAX_TEXT).then(
                ({ bytes }) => new TextDecoder().decode(bytes).trim(),
                () => '',
              )
            : '';
        return [entry.path.slice(path.length + 1), { ino, size, mtime, version, kind, text }] as const;
      }),
    ),
  );
}
