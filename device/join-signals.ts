/** A signal that is aborted with the first of several. */
export interface JoinedSignal {
  readonly signal: AbortSignal;
  /** To be called when nobody waits for it any more. */
  release(): void;
}

/** Milliseconds: with more, timers of Node and browsers are up at once. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Who waits for a signal: one listener for all, since Node warns of more than ten. */
const waiters = new WeakMap<AbortSignal, Set<(reason: unknown) => void>>();

function waitersOf(signal: AbortSignal): Set<(reason: unknown) => void> {
  const known = waiters.get(signal);
  if (known) return known;
  const made = new Set<(reason: unknown) => void>();
  waiters.set(signal, made);
  signal.addEventListener('abort', () => made.forEach((abort) => abort(signal.reason)), { once: true });
  return made;
}

/**
 * Joins signals that may live much longer than what waits for them. `AbortSignal.any` is not for those: they hold on to each signal that it has
 * made, in Node 20 to a KiB of them. `timeoutMs`: aborts it too, with a TimeoutError as `AbortSignal.timeout` does; what is longer than 24 days, such as
 * `Infinity`, is for ever.
 */
export function joinSignals(given: readonly (AbortSignal | undefined)[], timeoutMs?: number): JoinedSignal {
  const signals = given.filter((signal) => signal !== undefined);
  const joined = new AbortController();
  const release = () => {
    clearTimeout(timer);
    for (const signal of signals) waitersOf(signal).delete(abort);
  };
  const abort = (reason: unknown) => {
    release();
    joined.abort(reason);
  };
  const timer =
    timeoutMs === undefined || timeoutMs > LONGEST_TIMER
      ? undefined
      : setTimeout(() => abort(new DOMException('it took too long', 'TimeoutError')), timeoutMs);
  const first = signals.find(({ aborted }) => aborted);
  if (first) abort(first.reason);
  else for (const signal of signals) waitersOf(signal).add(abort);
  return { signal: joined.signal, release };
}
