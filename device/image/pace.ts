import { ImageError } from './files.ts';

/** Bytes that have to come in the time that those who wait have. */
const LEAST = 4096;

/** Ends what comes, but so slowly that nobody should wait for it. */
export class Pace {
  readonly #place: string;
  readonly #patience: number;
  #since = performance.now();
  #count = 0;

  /** `place`: what comes, for messages. `patience`: milliseconds without 4 KiB. */
  constructor(place: string, patience: number) {
    this.#place = place;
    this.#patience = patience;
  }

  /** So many bytes have come, and more are needed. @throws ImageError when that is too slow. */
  came(bytes: number): void {
    this.#count += bytes;
    const now = performance.now();
    if (this.#count >= LEAST) {
      this.#count = 0;
      this.#since = now;
    } else if (now - this.#since >= this.#patience)
      throw new ImageError(
        `${this.#place} comes too slowly, not even ${LEAST} bytes in ${this.#patience / 1000} s: look at the network`,
        { mayPass: true },
      );
  }
}
