/** What a test runner says of the test that it runs, whichever it is. */
export interface RunnerTest {
  /** Its name; '' where the runner does not tell. */
  name: string;
  /** Aborted when the runner does not wait for it any more. */
  signal: AbortSignal | undefined;
  /** What the runner gives each test: `t` of `node:test`, vitest's context, mocha's `this`; undefined of jest. */
  context: unknown;
}

interface MochaContext {
  test: { fullTitle(): string };
  timeout(ms: number): unknown;
}

interface NodeContext {
  name: string;
  fullName?: string;
  signal: AbortSignal;
}

interface VitestContext {
  task: { name: string };
  signal?: AbortSignal;
}

/** `self` and `given`: how the runner has called the test's function. Mocha's own limit, of 2 s, is taken off: a test of this kit has another. */
export function runnerTest(self: unknown, [given]: readonly unknown[]): RunnerTest {
  if (isMocha(self)) {
    self.timeout(0);
    return { name: self.test.fullTitle(), signal: undefined, context: self };
  }
  if (isVitest(given)) return { name: given.task.name, signal: given.signal, context: given };
  if (isNode(given)) return { name: given.fullName ?? given.name, signal: given.signal, context: given };
  // jest tells its matchers alone.
  const { expect } = globalThis as { expect?: { getState?(): { currentTestName?: string } } };
  return { name: expect?.getState?.().currentTestName ?? '', signal: undefined, context: given };
}

/** vitest's context is a function. */
const isObject = (value: unknown): value is Record<string, unknown> =>
  (typeof value === 'object' && value !== null) || typeof value === 'function';

function isMocha(self: unknown): self is MochaContext {
  return isObject(self) && typeof self['timeout'] === 'function' && isObject(self['test']);
}

function isVitest(given: unknown): given is VitestContext {
  return isObject(given) && isObject(given['task']) && typeof given['task']['name'] === 'string';
}

function isNode(given: unknown): given is NodeContext {
  return isObject(given) && typeof given['name'] === 'string' && given['signal'] instanceof AbortSignal;
}
