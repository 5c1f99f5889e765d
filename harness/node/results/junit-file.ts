import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import type { Outcome, ResultWriter } from './result-stream.ts';
import { hasFailed, type TestResult } from './test-results.ts';

/** Bytes for counts and times in the beginning of a file, which is written again at its end. */
const ROOM = 300;

/** Elements for what has not passed, and the attributes that count them. */
const COUNTED_AS = { failure: 'failures', error: 'errors', skipped: 'skipped' } as const;
type Verdict = keyof typeof COUNTED_AS;

/**
 * A file of test results in JUnit's XML, as systems for continuous integration read it: one `testsuite`, named as the command, and a `testcase` for
 * each test that has no others in it, whose `classname` is the tests that it is in.
 */
export class JunitFile implements ResultWriter {
  readonly #path: string;
  readonly #suite: string;
  readonly #fd: number;
  readonly #headLength: number;
  readonly #began = new Date();
  readonly #counts = { tests: 0, failures: 0, errors: 0, skipped: 0 };
  #failure: Error | undefined;

  /** Takes the place of what is there. `suite`: the command. @throws VmError `configuration`. */
  constructor(path: string, suite: string) {
    this.#path = path;
    this.#suite = suite;
    try {
      this.#fd = openSync(path, 'w');
      if (!fstatSync(this.#fd).isFile()) throw new Error('it is not a file');
    } catch (error) {
      throw new VmError('configuration', `can't write test results to ${printable(path)}: ${(error as Error).message}`);
    }
    this.#headLength = Buffer.byteLength(this.#head()) + ROOM;
    this.#write(this.#head().padEnd(this.#headLength));
  }

  add(test: TestResult): void {
    for (const element of this.#casesOf(test, [], false)) this.#write(element);
  }

  /** @throws VmError `share` when not everything is in the file. */
  end({ trouble }: Outcome): void {
    if (trouble !== undefined) this.#write(this.#case(this.#suite, [], 'error', trouble));
    this.#write('</testsuite>\n</testsuites>\n');
    this.#write(this.#head(), 0);
    closeSync(this.#fd);
    if (this.#failure)
      throw new VmError(
        'share',
        `the test results in ${printable(this.#path)} are not complete: ${this.#failure.message}`,
      );
  }

  #head(): string {
    const time = ((Date.now() - this.#began.getTime()) / 1000).toFixed(3);
    const all = attributes({ name: this.#suite, ...this.#counts, time });
    const timestamp = this.#began.toISOString().slice(0, 19);
    return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites${all}>\n<testsuite${all}${attributes({ timestamp })}>\n`;
  }

  /** `isExcused`: it is in one that does not count as failed, whatever is in it. */
  *#casesOf(test: TestResult, parents: string[], isExcused: boolean): Generator<string> {
    const { name, outcome, reason, log, subtests } = test;
    const isOver = isExcused || outcome === 'skipped' || outcome === 'excused';
    for (const each of subtests) yield* this.#casesOf(each, [...parents, name], isOver);
    // What failed in it is told already.
    if (subtests.length && (isOver || outcome === 'passed' || subtests.some(hasFailed))) return;
    const isFailure = !isOver && outcome === 'failed';
    const verdict = isFailure ? 'failure' : isOver && outcome !== 'passed' ? 'skipped' : undefined;
    yield this.#case(name, parents, verdict, reason, isFailure ? log : []);
  }

  #case(name: string, parents: string[], verdict?: Verdict, message = '', log: string[] = []): string {
    this.#counts.tests++;
    if (verdict) this.#counts[COUNTED_AS[verdict]]++;
    const classname = parents.join('.') || this.#suite;
    const open = `<testcase${attributes({ classname, name })}`;
    if (!verdict) return `${open}/>\n`;
    const text = log.map((line) => escaped(printable(line))).join('\n');
    return `${open}><${verdict}${attributes({ message: message || undefined })}>${text}</${verdict}></testcase>\n`;
  }

  #write(text: string, position: number | null = null): void {
    try {
      const bytes = Buffer.from(text);
      for (let at = 0; at < bytes.length && !this.#failure; )
        at += writeSync(this.#fd, bytes, at, bytes.length - at, position === null ? null : position + at);
    } catch (error) {
      this.#failure = error as Error;
    }
  }
}

function attributes(values: Record<string, string | number | undefined>): string {
  return Object.entries(values)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => ` ${name}="${escaped(printable(String(value)))}"`)
    .join('');
}

/** Of text that is {@link printable}: what has a meaning in XML, and two characters that no document may have. */
function escaped(text: string): string {
  return text.replace(/[<>&"]/g, (character) => `&#${character.charCodeAt(0)};`).replace(/[\ufffe\uffff]/g, '\ufffd');
}
