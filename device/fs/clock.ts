import type { Timespec } from './filesystem.ts';

/** Tells the time of day; never goes back by less than a second, so that what happens later never looks earlier. */
export type Clock = () => Timespec;

/** The host's clock, with the fractions of a millisecond that `performance.now()` has. */
export function systemClock(): Clock {
  let last = 0;
  let fraction = 0;
  return () => {
    const now = Date.now();
    const part = performance.now() % 1;
    if (now > last || now < last - 1000) {
      last = now;
      fraction = part;
    } else if (part > fraction) {
      fraction = part;
    }
    const sec = Math.floor(last / 1000);
    return { sec, nsec: (last - sec * 1000) * 1_000_000 + Math.floor(fraction * 1_000_000) };
  };
}

/** Milliseconds since 1970, as `Date` has them. */
export function toMilliseconds({ sec, nsec }: Timespec): number {
  return sec * 1000 + Math.floor(nsec / 1_000_000);
}

/** Milliseconds may have a fraction. */
export function fromMilliseconds(ms: number): Timespec {
  const sec = Math.floor(ms / 1000);
  return { sec, nsec: Math.floor((ms - sec * 1000) * 1_000_000) };
}

export function isBefore(a: Timespec, b: Timespec): boolean {
  return a.sec < b.sec || (a.sec === b.sec && a.nsec < b.nsec);
}
