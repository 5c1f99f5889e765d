import { EAGAIN, FsError } from './errno.ts';

/** Calls `again` once, in a later turn, when it is worth asking again. Returns what takes that back. */
export type Wait = (again: () => void) => () => void;

/**
 * Thrown by a method of a filesystem that can't answer now, and has changed nothing: whoever asked asks again when told to, at once, and gets the
 * answer, an error, or another of these. A guest's request waits longer where the turn has no time for it, or the machine is stopped.
 *
 * A request that waits in this way is in snapshots whatever it is about to change: it has not begun, so it is asked for again when they are restored.
 */
export class NotYet extends FsError {
  /** Calls `again` once, in a later turn, when it is worth asking again. Returns what takes that back. */
  readonly wait: Wait;

  /** `ready`: what is waited for, in whatever way it settles, or how to wait for it. */
  constructor(ready: Promise<unknown> | Wait, message = 'EAGAIN: what this takes is not here yet') {
    super(EAGAIN, message);
    this.wait = typeof ready === 'function' ? ready : waitFor(ready);
  }
}

function waitFor(ready: Promise<unknown>): Wait {
  return (again) => {
    let isOver = false;
    const call = () => {
      if (!isOver) again();
    };
    void ready.then(call, call);
    return () => void (isOver = true);
  };
}

/** What `action` returns, which is done again as long as it throws {@link NotYet}. */
export function whenHere<T>(action: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const attempt = () => {
      try {
        resolve(action());
      } catch (error) {
        if (error instanceof NotYet) error.wait(attempt);
        else reject(error as Error);
      }
    };
    attempt();
  });
}
