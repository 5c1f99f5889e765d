/** Seconds before which a guess is worth nothing. */
const EARLY = 10;
/** Of the whole: with less done since the beginning, a guess would be worth nothing either. */
const LITTLE = 0.03;

/** Tells how long something will take, by how much of it is done. */
export class Estimate {
  readonly #onProgress: (message: string) => void;
  readonly #now: () => number;
  /** When it was told of first, and how much was done then: what was there already takes no time. */
  #first: { time: number; done: number } | undefined;
  #told = '';

  /** `now`: a clock in milliseconds. */
  constructor(onProgress: (message: string) => void, now: () => number = () => performance.now()) {
    this.#onProgress = onProgress;
    this.#now = now;
  }

  /** Tells of a part of it, which lasts from one fraction of the whole to another. */
  part(from: number, to: number): (message: string, fraction?: number) => void {
    return (message, fraction = 0) => this.#tell(message, from + (to - from) * Math.min(1, fraction));
  }

  #tell(message: string, done: number): void {
    if (!message) return;
    this.#first ??= { time: this.#now(), done };
    const passed = (this.#now() - this.#first.time) / 1000;
    const progress = done - this.#first.done;
    const left = (passed * (1 - done)) / progress;
    const guess = passed > EARLY && progress >= LITTLE && left > 0 ? `, about ${inWords(left)} left` : '';
    const text = `${message}: ${Math.round(100 * done)} %${guess}`;
    if (text !== this.#told) this.#onProgress(text);
    this.#told = text;
  }
}

function inWords(seconds: number): string {
  return seconds < 90 ? `${Math.max(5, Math.round(seconds / 5) * 5)} s` : `${Math.round(seconds / 60)} min`;
}
