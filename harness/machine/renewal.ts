import { type Clock, fromMilliseconds, systemClock, toMilliseconds } from '../../device/fs/clock.ts';
import type { V86Machine } from '../../device/v86/adapter.ts';
import { CountedClock } from '../../device/v86/counted-clock.ts';
import type { Renewal } from './agent/renewal.ts';

/** What becomes of a guest's time and randomness when it goes on from a snapshot. */
export interface RenewalOptions {
  /**
   * What the guest's clock and the real-time clock are set to: the host's time (`host`, the default), what they stood at when the snapshot was taken (`keep`),
   * or what a function says, in milliseconds since 1970. CLOCK_MONOTONIC goes on from the snapshot in any case.
   */
  clock?: 'host' | 'keep' | (() => number);
  /** Whether the guest's kernel gets fresh randomness. Without it, all that go on from one snapshot draw the same random numbers. Default: true. */
  reseed?: boolean;
}

const SEED_SIZE = 64;

/** What a machine's guest gets by its agent when it is back, and nothing has been asked of it yet. Sets the real-time clock. */
export function renewalFor(machine: V86Machine, { clock = 'host', reseed = true }: RenewalOptions = {}): Renewal {
  const time = clock === 'keep' ? undefined : clock === 'host' ? systemClock() : told(clock);
  if (time) machine.rtc = toMilliseconds(time());
  return { clock: time, seed: reseed ? seedFor(machine) : undefined };
}

function seedFor({ clock }: V86Machine): Uint8Array {
  const seed = new Uint8Array(SEED_SIZE);
  return clock instanceof CountedClock ? seed.map(() => clock.random()) : crypto.getRandomValues(seed);
}

function told(clock: () => number): Clock {
  return () => fromMilliseconds(clock());
}
