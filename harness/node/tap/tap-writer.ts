import { printable } from '../../machine/printable.ts';
import { hasFailed, ResultReader, type TestResult } from './test-results.ts';

/** Characters of a line that is read before it has ended. */
const MAX_LINE = 65_536;

/** Writes the test results in what a command says as TAP 14 (testanything.org), each as it comes. */
export class TapWriter {
  /** Tests that are not in another one. */
  count = 0;
  failures = 0;
  readonly #write: (text: string) => void;
  readonly #reader = new ResultReader((test) => this.#tell(test));
  readonly #decoder = new TextDecoder();
  #rest = '';

  constructor(write: (text: string) => void) {
    this.#write = write;
    write('TAP version 14\n');
  }

  /** What the command says next: borrowed. */
  add(data: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(data, { stream: true })).split('\n');
    this.#rest = lines.pop()!;
    if (this.#rest.length > MAX_LINE) lines.push(this.#rest, (this.#rest = ''));
    for (const line of lines) this.#reader.add(line);
  }

  /** The command has ended; `trouble`: because of that. */
  end(trouble?: string): void {
    if (this.#rest) this.#reader.add(this.#rest);
    this.#rest = '';
    this.#reader.end(trouble);
    this.#write(trouble === undefined ? `1..${this.count}\n` : `Bail out! ${escaped(trouble)}\n`);
  }

  #tell(test: TestResult): void {
    this.count++;
    if (hasFailed(test)) this.failures++;
    this.#write(`${[...linesOf(test, this.count, '')].join('\n')}\n`);
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
