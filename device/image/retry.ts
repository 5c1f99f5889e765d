import type { ImageError } from './files.ts';

/** Milliseconds until a request is tried again: the first time, and at most. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 10_000;

/** The source of an image can't be reached, or is not what it should be, and somebody waits. */
export interface Trouble {
  /** What is wrong, and what to do. */
  readonly error: ImageError;
  /** Milliseconds until it is tried again; undefined when those who wait get EIO. */
  readonly retryIn: number | undefined;
}

export interface RetryOptions {
  /** Milliseconds of the first pause between two tries. Default: 250. */
  firstPause?: number;
  /** The source can't be reached, or is wrong, and somebody waits. */
  onTrouble?: (trouble: Trouble) => void;
  /** What was in trouble works again. */
  onRecovered?: () => void;
}

/** When to try again: after pauses that double with each failure in a row. */
export class Retry {
  readonly #options: RetryOptions;
  readonly #onEnd: () => void;
  #failures = 0;
  #pausedUntil = 0;
  #end: ReturnType<typeof setTimeout> | undefined;

  /** @param onEnd A pause is over. */
  constructor(options: RetryOptions, onEnd: () => void) {
    this.#options = options;
    this.#onEnd = onEnd;
  }

  get isPaused(): boolean {
    return performance.now() < this.#pausedUntil;
  }

  failed(): void {
    this.#failures++;
  }

  recovered(): void {
    if (!this.#failures) return;
    this.#failures = 0;
    this.#pausedUntil = 0;
    this.#options.onRecovered?.();
  }

  /** Somebody waits for what failed: nothing is tried for a while. */
  pause(error: ImageError): void {
    const { firstPause = FIRST_PAUSE } = this.#options;
    const retryIn = Math.min(LONGEST_PAUSE, firstPause * 2 ** Math.min(this.#failures - 1, 16));
    this.#pausedUntil = performance.now() + retryIn;
    this.#options.onTrouble?.({ error, retryIn });
    // Of several that fail one after the other, the last one's pause counts.
    clearTimeout(this.#end);
    this.#end = setTimeout(() => {
      this.#pausedUntil = 0;
      this.#onEnd();
    }, retryIn);
  }

  /** Nothing is tried any more. */
  close(): void {
    clearTimeout(this.#end);
  }
}
