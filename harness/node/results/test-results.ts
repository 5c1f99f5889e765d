/** A test as a guest has told of it. */
export interface TestResult {
  name: string;
  /** `excused`: it fails, and was expected to (TODO, XFAIL). */
  outcome: 'passed' | 'failed' | 'skipped' | 'excused';
  /** What was said behind the name; '' for nothing. */
  reason: string;
  /** What was said before its result, the last {@link MAX_LOG} lines. */
  log: string[];
  subtests: TestResult[];
}

/** Whether a test or one below it has failed. */
export function hasFailed({ outcome, subtests }: TestResult): boolean {
  return outcome === 'failed' || (outcome === 'passed' && subtests.some(hasFailed));
}

/** Lines that are kept of what a test says, and characters of each. */
const MAX_LOG = 200;
const MAX_LINE = 1000;
/** Levels of tests in tests. */
const MAX_DEPTH = 16;
/** Tests whose parents have no result yet, and characters that are kept of them. */
const MAX_WAITING = 100_000;
const MAX_WAITING_TEXT = 8 << 20;

/** What the kernel's log has before each line: level, time, and who has said it. */
const LOG_PREFIX = /^(?:<\d+>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?/;
const VERSION = /^K?TAP version \d+$/;
const PLAN = /^1\.\.(\d{1,7})(?:\s+# *(?:skip:? *)?(.*))?$/i;
const RESULT = /^(not )?ok \d+(?: -)?(?: +(.*))?$/;
const DIRECTIVE = /^(.*?)(?:^| +)# *(?:(SKIP|TODO|XFAIL)\b:? *)?(.*)$/i;

interface List {
  column: number;
  tests: TestResult[];
  /** Those of the document that goes on, told or not. */
  count: number;
  plan: number | undefined;
  log: string[];
}

/**
 * Reads test results among other lines: TAP, and the kernel's KTAP (Documentation/dev-tools/ktap.rst), as KUnit writes it into the kernel's log and kselftest to
 * its output, with results of the tests in a test indented, or behind `# `. Results have numbers. Nothing that a guest says makes it throw, or keep more than
 * some megabytes; what it can't keep is a failure.
 */
export class ResultReader {
  readonly #onTest: (test: TestResult) => void;
  #lists: List[] = [newList(0)];
  #waiting = 0;
  #waitingText = 0;
  #isFull = false;

  /** `onTest` gets each test that is not in another one, as soon as its result is there. */
  constructor(onTest: (test: TestResult) => void) {
    this.#onTest = onTest;
  }

  /** A line, without its end. */
  add(line: string): void {
    const { column, text, isNested } = placeOf(
      line
        .slice(0, 2 * MAX_LINE)
        .replace(LOG_PREFIX, '')
        .trimEnd(),
    );
    const isKnown = this.#lists.some((list) => list.column === column);
    const isVersion = VERSION.test(text);
    const plan = PLAN.exec(text);
    const result = RESULT.exec(text);
    // Behind `# ` anything may stand: only where results were announced it is one.
    if (isVersion || plan || (result && (isKnown || !isNested))) {
      const list = this.#listAt(column, result ? newTest(result) : undefined);
      if (list) {
        if (isVersion) this.#restart(list);
        else if (plan) this.#plan(list, Number(plan[1]), plan[2] ?? '');
        return;
      }
    }
    if (text.startsWith('Bail out!')) this.#onTest(failure(text.slice(0, MAX_LINE), []));
    keep(this.#lists.at(-1)!.log, line);
  }

  /** To be called when nothing more comes. `why`: what to say of tests that have no result. */
  end(why = 'it has no result'): void {
    this.#listAt(0, undefined, why);
    this.#restart(this.#lists[0]!, why);
    if (this.#isFull) this.#onTest(failure('a test had more in it than is kept, which was not read', []));
  }

  /** The list of tests at a column, with `test` as its next one, which those further right are part of. Undefined where there would be too many levels. */
  #listAt(column: number, test: TestResult | undefined, why = 'it has no result'): List | undefined {
    let inner: TestResult[] = [];
    for (let top = this.#lists.at(-1)!; top.column > column; ) {
      this.#lists.pop();
      const tests = this.#finish(top, why);
      top = this.#lists.at(-1)!;
      if (test && top.column <= column) inner = tests;
      else this.#append(top, { ...failure('a test', top.log.splice(0)), reason: why, subtests: tests });
    }
    let list = this.#lists.at(-1)!;
    if (list.column < column) {
      if (this.#lists.length === MAX_DEPTH) return undefined;
      list = newList(column);
      this.#lists.push(list);
    }
    if (test) this.#append(list, { ...test, log: list.log.splice(0), subtests: inner });
    return list;
  }

  #append(list: List, test: TestResult): void {
    list.count++;
    this.#add(list, test);
  }

  #add(list: List, test: TestResult): void {
    if (list.column === 0) {
      this.#waiting = 0;
      this.#waitingText = 0;
      this.#onTest(test);
      return;
    }
    this.#waiting++;
    this.#waitingText += sizeOf(test);
    if (this.#waiting <= MAX_WAITING && this.#waitingText <= MAX_WAITING_TEXT) list.tests.push(test);
    else this.#isFull = true;
  }

  #finish(list: List, why: string): TestResult[] {
    const missing = shortage(list, why);
    if (missing) this.#add(list, missing);
    return list.tests;
  }

  #plan(list: List, count: number, reason: string): void {
    list.plan = count;
    if (count === 0 && reason && list.column === 0)
      this.#onTest({ ...failure('all tests', []), outcome: 'skipped', reason });
  }

  /** Another document begins at the same column. */
  #restart(list: List, why?: string): void {
    const missing = shortage(list, why);
    if (missing) this.#add(list, missing);
    list.plan = undefined;
    list.count = 0;
  }
}

function newList(column: number): List {
  return { column, tests: [], count: 0, plan: undefined, log: [] };
}

function newTest([, not, text = '']: RegExpExecArray): TestResult {
  const [, name = text, directive, reason = ''] = DIRECTIVE.exec(text) ?? [];
  const word = directive?.toUpperCase();
  const outcome = word === 'SKIP' ? 'skipped' : not ? (word ? 'excused' : 'failed') : 'passed';
  return {
    name: name.trim().slice(0, MAX_LINE),
    outcome,
    reason: reason.trim().slice(0, MAX_LINE),
    log: [],
    subtests: [],
  };
}

function failure(name: string, log: string[]): TestResult {
  return { name, outcome: 'failed', reason: '', log, subtests: [] };
}

/** Characters kept of a test, those in it not counted. */
function sizeOf({ name, reason, log }: TestResult): number {
  return log.reduce((sum, line) => sum + line.length, name.length + reason.length);
}

/** A failure where tests were announced that have no result. */
function shortage({ plan, count, log }: List, why = 'there is no result'): TestResult | undefined {
  if (plan === undefined || count === plan) return undefined;
  return { ...failure(`${count} of ${plan} tests have a result`, [...log]), reason: why };
}

function keep(log: string[], line: string): void {
  log.push(line.slice(0, MAX_LINE));
  if (log.length > MAX_LOG) log.shift();
}

/** How far right a line begins; `isNested`: behind `# `, as kselftest writes what its tests say. */
function placeOf(line: string): { column: number; text: string; isNested: boolean } {
  let at = 0;
  let isNested = false;
  for (let depth = 0; depth <= MAX_DEPTH; depth++) {
    while (line[at] === ' ') at++;
    if (!/^# +(?:# |not ok \d|ok \d|1\.\.\d|K?TAP version)/.test(line.slice(at, at + 40))) break;
    isNested = true;
    at += 2;
  }
  return { column: at, text: line.slice(at), isNested };
}
