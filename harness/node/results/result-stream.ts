import { hasFailed, ResultReader, type TestResult } from './test-results.ts';

/** Characters of a line that is read before it has ended. */
const MAX_LINE = 65_536;

/** What came of a command that prints test results. */
export interface Outcome {
  /** Tests that are not in another one. */
  count: number;
  failures: number;
  /** The command's exit code; undefined when it has none, because of `trouble`. */
  code?: number;
  trouble?: string;
}

/** A form that test results are told in. */
export interface ResultWriter {
  /** The next test that is not in another one, `number` from 1 on. */
  add(test: TestResult, number: number): void;
  /** Nothing more comes. */
  end(outcome: Outcome): void;
}

/** Reads test results in what a command says, and tells them as each comes. */
export class ResultStream {
  count = 0;
  failures = 0;
  readonly #writers: readonly ResultWriter[];
  readonly #reader = new ResultReader((test) => this.#tell(test));
  readonly #decoder = new TextDecoder();
  #rest = '';

  constructor(writers: readonly ResultWriter[]) {
    this.#writers = writers;
  }

  /** What the command says next: borrowed. */
  add(data: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(data, { stream: true })).split('\n');
    this.#rest = lines.pop()!;
    if (this.#rest.length > MAX_LINE) lines.push(this.#rest, (this.#rest = ''));
    for (const line of lines) this.#reader.add(line);
  }

  /** The command has ended: with `code`, or because of `trouble`. */
  end({ code, trouble }: Pick<Outcome, 'code' | 'trouble'> = {}): void {
    if (this.#rest) this.#reader.add(this.#rest);
    this.#rest = '';
    this.#reader.end(trouble);
    const { count, failures } = this;
    for (const writer of this.#writers) writer.end({ count, failures, code, trouble });
  }

  #tell(test: TestResult): void {
    this.count++;
    if (hasFailed(test)) this.failures++;
    for (const writer of this.#writers) writer.add(test, this.count);
  }
}
