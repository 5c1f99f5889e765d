import type { Output } from './frames.ts';
import { OUTPUT_WINDOW } from './process.ts';

/** Bytes that what was sent before a session may take, and what each piece of it takes besides. */
const MAX_EARLY = 16 * OUTPUT_WINDOW;
const PIECE_COST = 128;

/** Output of processes that nobody was there for, which is for who attaches to them. */
export class WaitingOutput {
  readonly #of = new Map<number, { pieces: Output[]; length: number }>();
  #early = 0;

  /** Of a process that may send so much. `bytes` is borrowed. */
  add(id: number, { stream, bytes }: Output): void {
    let of = this.#of.get(id);
    if (!of) this.#of.set(id, (of = { pieces: [], length: 0 }));
    of.pieces.push({ stream, bytes: bytes.slice() });
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

  /** Another session is looked for: as much may come before it again. */
  expect(): void {
    this.#early = 0;
  }

  clear(): void {
    this.#of.clear();
    this.#early = 0;
  }
}
