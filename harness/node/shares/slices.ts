/** Milliseconds after which long work lets the event loop have its turn. */
const SLICE = 20;

import { NotYet } from '../../../device/index.ts';

/** A break, to let others have a turn, or until what was not here yet is. */
export type Break = NotYet | undefined | void;

/** Long work on the main thread: it yields where others may have a turn, when `isDue` says that it is time. */
export type Steps<T> = (isDue: () => boolean) => Generator<Break, T, void>;

/** What `action` returns, which is done again as long as something that it takes is not here. */
export function* whenItIsHere<T>(action: () => T): Generator<Break, T, void> {
  for (let hasWaited = false; ; hasWaited = true) {
    try {
      return action();
    } catch (error) {
      if (error instanceof NotYet) {
        yield error;
        continue;
      }
      // In the turn in which it is told that something can't be had, nothing else can.
      if (hasWaited) yield;
      throw error;
    }
  }
}

/** Does it without a break. @throws NotYet when something that it takes is not here. */
export function atOnce<T>(steps: Steps<T>): T {
  const work = steps(() => false);
  const { done, value } = work.next();
  if (!done) {
    work.return(undefined as T);
    throw value ?? new Error('there was no reason for a break');
  }
  awaitTick();
  return value;
}

/** Does it with breaks. @throws the reason of `signal`, when what it had begun is tidied up. */
export async function inSlices<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let started = performance.now();
  const work = steps(() => performance.now() - started >= SLICE);
  for (let step = work.next(); ; ) {
    awaitTick();
    if (step.done) return step.value;
    const next = () => {
      signal?.throwIfAborted();
      started = performance.now();
      return work.next();
    };
    try {
      if (step.value instanceof NotYet) step = await onceHere(step.value, next, signal);
      else {
        await new Promise(setImmediate);
        step = next();
      }
    } catch (error) {
      work.return(undefined as T);
      throw error;
    }
  }
}

/** What `next` returns, called in the very turn in which it is here. */
function onceHere<T>({ wait }: NotYet, next: () => T, signal: AbortSignal | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      giveUp();
      reject(signal!.reason as Error);
    };
    signal?.addEventListener('abort', abort);
    const giveUp = wait(() => {
      signal?.removeEventListener('abort', abort);
      try {
        resolve(next());
      } catch (error) {
        reject(error as Error);
      }
    });
  });
}

/**
 * What a guest changes is known by its times, and some of what happens within one millisecond has the same ones. So
 * nobody gets a turn within the millisecond in which the work has looked at them.
 */
function awaitTick(): void {
  const now = Date.now();
  while (Date.now() === now);
}
