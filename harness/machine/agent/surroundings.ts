/** What the guest can tell of the host: its time, and its choices. */
export interface Surroundings {
  /** Milliseconds since whenever. */
  now(): number;
  /** Calls `action` after so many of them. Returns what keeps it from that. */
  later(milliseconds: number, action: () => void): () => void;
  /** A whole number from 0 to 2^32 - 1. */
  random(): number;
}

export const HOST: Surroundings = {
  now: () => performance.now(),
  later: (milliseconds, action) => {
    const timer = setTimeout(action, milliseconds);
    return () => clearTimeout(timer);
  },
  random: () => crypto.getRandomValues(new Uint32Array(1))[0]!,
};
