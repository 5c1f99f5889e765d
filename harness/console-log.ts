import { StringDecoder } from 'node:string_decoder';

/** The last lines a guest printed on its console, for error messages and for looking back. */
export class ConsoleLog {
  readonly #capacity: number;
  readonly #decoder = new StringDecoder('utf8');
  #lines: string[] = [];
  #current = '';

  /** `capacity`: lines kept. */
  constructor(capacity = 1000) {
    this.#capacity = capacity;
  }

  write(byte: number): void {
    const text = this.#decoder.write(Buffer.of(byte));
    if (text === '\n') {
      this.#lines.push(this.#current);
      this.#current = '';
      if (this.#lines.length > 2 * this.#capacity) this.#lines = this.lines;
    } else if (text !== '\r') {
      this.#current += text;
    }
  }

  /** Oldest first; the last one may still be going on. */
  get lines(): string[] {
    return [...this.#lines, ...(this.#current ? [this.#current] : [])].slice(-this.#capacity);
  }

  /** The last `count` lines, indented, or a word that there are none. */
  tail(count = 12): string {
    const lines = this.lines.slice(-count);
    return lines.length ? lines.map((line) => `  | ${line}`).join('\n') : '  (the console is empty)';
  }
}
