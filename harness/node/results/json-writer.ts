import { printableJson } from '../../machine/printable.ts';
import type { Outcome, ResultWriter } from './result-stream.ts';
import type { TestResult } from './test-results.ts';

/** Test results as one JSON value, which is whole at the end: `tests`, and what came of the command. */
export class JsonWriter implements ResultWriter {
  readonly #write: (text: string) => void;

  constructor(write: (text: string) => void) {
    this.#write = write;
    write('{"tests": [');
  }

  add(test: TestResult, number: number): void {
    this.#write(`${number === 1 ? '' : ','}\n${json(test)}`);
  }

  end({ count, failures, code, trouble }: Outcome): void {
    const rest = { count, failures, code: code ?? null, ...(trouble !== undefined && { trouble }) };
    this.#write(`\n], ${json(rest).slice(1)}\n`);
  }
}

function json(value: unknown): string {
  return printableJson(JSON.stringify(value));
}
