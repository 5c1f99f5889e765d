/** Milliseconds after which long work lets the event loop have its turn. */
const SLICE = 20;

/** Long work on the main thread: it yields where others may have a turn, when `isDue` says that it is time. */
export type Steps<T> = (isDue: () => boolean) => Generator<void, T, void>;

/** Does it without a break. */
export function atOnce<T>(steps: Steps<T>): T {
  const { done, value } = steps(() => false).next();
  if (!done) throw new Error('there was no reason for a break');
  awaitTick();
  return value;
}

/** Does it with breaks. @throws the reason of `signal`, when what it had begun is tidied up. */
export async function inSlices<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let started = performance.now();
  const work = steps(() => performance.now() - started >= SLICE);
  for (let step = work.next(); ; step = work.next()) {
    awaitTick();
    if (step.done) return step.value;
    await new Promise(setImmediate);
    if (signal?.aborted) {
      work.return(undefined as T);
      throw signal.reason;
    }
    started = performance.now();
  }
}

/**
 * What a guest changes is known by its times, and some of what happens within one millisecond has the same ones. So
 * nobody gets a turn within the millisecond in which the work has looked at them.
 */
function awaitTick(): void {
  const now = Date.now();
  while (Date.now() === now);
}
