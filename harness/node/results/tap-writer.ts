import { printable } from '../../machine/printable.ts';
import type { Outcome, ResultWriter } from './result-stream.ts';
import { hasFailed, type TestResult } from './test-results.ts';

/** Test results as TAP 14 (testanything.org). */
export class TapWriter implements ResultWriter {
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
    write('TAP version 14\n');
  }

  add(test: TestResult, number: number): void {
    this.#write(`${[...linesOf(test, number, '')].join('\n')}\n`);
  }

  end({ count, trouble }: Outcome): void {
    this.#write(trouble === undefined ? `1..${count}\n` : `Bail out! ${escaped(trouble)}\n`);
  }
}

function* linesOf(test: TestResult, number: number, indent: string): Generator<string> {
  const { name, outcome, reason, log, subtests } = test;
  const below = `${indent}    `;
  if (subtests.length) {
    yield `${indent}# Subtest: ${escaped(name)}`;
    for (const [n, subtest] of subtests.entries()) yield* linesOf(subtest, n + 1, below);
    yield `${below}1..${subtests.length}`;
  }
  const directive = outcome === 'skipped' ? ' # SKIP' : outcome === 'excused' ? ' # TODO' : '';
  const isOk = outcome === 'skipped' || (outcome === 'passed' && !hasFailed(test));
  const why = reason && (directive ? ` ${escaped(reason)}` : '');
  yield `${indent}${isOk ? '' : 'not '}ok ${number} - ${escaped(name)}${directive}${why}`;
  const details = [...(reason && !directive ? [reason] : []), ...log];
  if (outcome !== 'failed' || !details.length) return;
  yield `${indent}  ---`;
  yield `${indent}  log: |`;
  for (const line of details) yield `${indent}    ${printable(line)}`.trimEnd();
  yield `${indent}  ...`;
}

function escaped(text: string): string {
  return printable(text).replace(/[\\#]/g, '\\$&');
}
