/** The host's event loop, as a device sees it. */
export interface Turns {
  /** Milliseconds since whenever. */
  now(): number;
  /** Calls `action` in a later turn of the event loop. */
  later(action: () => void): void;
  /** Whether the machine runs: guest RAM must stay as it is while it does not. */
  isRunning(): boolean;
}

/** For a machine that always runs. */
export const TURNS: Turns = {
  now: () => performance.now(),
  later: (action) => void setTimeout(action, 0),
  isRunning: () => true,
};
