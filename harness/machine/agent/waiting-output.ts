import { concat, copyOf } from '../../../device/bytes.ts';
import { MAX_PROCESSES, type Output, type Stream } from './frames.ts';
import { OUTPUT_WINDOW } from './process.ts';

/** Bytes that what was sent before a session may take, and what each piece of it takes besides: more than can wait of one process in any other way. */
const MAX_EARLY = 16 * OUTPUT_WINDOW;
const PIECE_COST = 128;

/** What waits of a process, its bytes in two. */
export interface Waiting extends Record<Stream, Uint8Array> {
  id: number;
}

/** Output of processes that nobody was there for, which is for who attaches to them. */
export class WaitingOutput {
  readonly #of = new Map<number, { pieces: Output[]; length: number }>();
  #early = 0;

  /** Of a process that may send so much. `bytes` is borrowed. */
  add(id: number, { stream, bytes }: Output): void {
    let of = this.#of.get(id);
    if (!of) {
      // The guest has no more processes: of the others nobody can have what they wrote.
      if (this.#of.size === MAX_PROCESSES) this.#of.delete(this.#of.keys().next().value!);
      this.#of.set(id, (of = { pieces: [], length: 0 }));
    }
    of.pieces.push({ stream, bytes: copyOf(bytes) });
    of.length += bytes.length;
  }

  /** Of any process, before a session. `bytes` is borrowed. Returns false for more than there can be. */
  addEarly(id: number, output: Output): boolean {
    this.add(id, output);
    this.#early += output.bytes.length + PIECE_COST;
    return this.#of.get(id)!.length <= OUTPUT_WINDOW && this.#early <= MAX_EARLY;
  }

  /** What waits of a process; from now on nothing. */
  take(id: number): Output[] {
    const { pieces = [] } = this.#of.get(id) ?? {};
    this.#of.delete(id);
    return pieces;
  }

  /** All that waits, and `held`: output of attached processes that has no listener. Copies. */
  all(held: Iterable<readonly [number, Output[]]>): Waiting[] {
    const of = new Map([...held, ...[...this.#of].map(([id, { pieces }]) => [id, pieces] as const)]);
    return [...of]
      .filter(([, pieces]) => pieces.length)
      .slice(-MAX_PROCESSES)
      .map(([id, pieces]) => {
        const all = (stream: Stream) =>
          concat(pieces.filter((piece) => piece.stream === stream).map(({ bytes }) => bytes));
        return { id, stdout: all('stdout'), stderr: all('stderr') };
      });
  }

  /** Takes over what {@link all} has given elsewhere. */
  adopt(waiting: readonly Waiting[]): void {
    for (const { id, ...streams } of waiting)
      for (const stream of ['stdout', 'stderr'] as const)
        if (streams[stream].length) this.add(id, { stream, bytes: streams[stream] });
  }

  /** Forgets what waits of others than the guest's processes, which `list` returns: nobody can attach to them. */
  async keepKnown(list: () => Promise<number[]>): Promise<void> {
    if (!this.#of.size) return;
    const known = new Set(await list().catch(() => this.#of.keys()));
    for (const id of this.#of.keys()) if (!known.has(id)) this.#of.delete(id);
  }

  /** Another session is looked for: as much may come before it again. */
  expect(): void {
    this.#early = 0;
  }

  clear(): void {
    this.#of.clear();
    this.#early = 0;
  }
}

/** What a guest has sent, and nobody has heard: it goes along with the guest. */
export interface Unheard {
  /** What has come of a frame that is not whole. */
  begun: Uint8Array;
  output: Waiting[];
}

/** What whoever made a snapshot, or sends a machine, says of it; undefined for what no agent can have sent. */
export function readUnheard(value: unknown): Unheard | undefined {
  const { begun, output } = (value ?? {}) as Record<string, unknown>;
  if (!(begun instanceof Uint8Array) || !Array.isArray(output) || output.length > MAX_PROCESSES) return undefined;
  const waiting = output.map((one: unknown) => {
    const { id, stdout, stderr } = (one ?? {}) as Record<string, unknown>;
    const isSound =
      Number.isInteger(id) &&
      id === (id as number) >>> 0 &&
      stdout instanceof Uint8Array &&
      stderr instanceof Uint8Array &&
      stdout.length + stderr.length <= MAX_EARLY;
    return isSound ? { id, stdout, stderr } : undefined;
  });
  return waiting.includes(undefined) ? undefined : { begun, output: waiting as Waiting[] };
}
