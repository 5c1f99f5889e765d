/** Milliseconds. */
const PAUSE = 100;
/** Of a batch: a guest may write without end. */
const MAX_LINES = 500;

/** Gives lines on some times a second, the last of them where there are very many. */
export class Batches {
  readonly #take: (lines: string[]) => void;
  #lines: string[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(take: (lines: string[]) => void) {
    this.#take = take;
  }

  add(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > 2 * MAX_LINES) this.#lines = this.#lines.slice(-MAX_LINES);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#take(this.#lines.slice(-MAX_LINES));
      this.#lines = [];
    }, PAUSE);
  }
}
