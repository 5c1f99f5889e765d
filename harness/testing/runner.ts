/** What a test runner says of the test that it runs, whichever it is. */
export interface RunnerTest {
  /** Its name; '' where the runner does not tell. */
  name: string;
  /** Aborted when the runner does not wait for it any more; undefined where that is not told. */
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

/** What was begun for jest and has not ended: by the name of its test. */
const begun = new Set<{ name: string; giveUp: AbortController; ended: Promise<unknown> }>();
let isTold = false;

/** jest tells no test that its time is up, but calls a hook after it, which is to call this. Settles when what still runs of it has ended too. */
export async function endOfTest(name: string): Promise<void> {
  const late = [...begun].filter((each) => each.name === name);
  for (const { giveUp } of late) giveUp.abort(new Error('jest does not wait for this test any more'));
  await Promise.all(late.map(({ ended }) => ended));
}

/** To be called when hooks call {@link endOfTest}. */
export function expectEnds(): void {
  isTold = true;
}

/** Does what a test does. `self` and `given` as for {@link runnerTest}. */
export async function runAs(
  self: unknown,
  given: readonly unknown[],
  run: (test: RunnerTest) => Promise<void>,
): Promise<void> {
  const test = runnerTest(self, given);
  if (!isTold || test.signal || isMocha(self)) return run(test);
  const giveUp = new AbortController();
  const running = run({ ...test, signal: giveUp.signal });
  const entry = { name: test.name, giveUp, ended: running.catch(() => {}) };
  begun.add(entry);
  try {
    await running;
  } finally {
    begun.delete(entry);
  }
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
