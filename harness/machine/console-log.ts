export interface ConsoleLogOptions {
  /** Lines kept. Default: 1000. */
  capacity?: number;
  /** Lines from before, oldest first. */
  lines?: string[];
  /** Called with each line when it ends. */
  onLine?: (line: string) => void;
}

/** Characters of a line: a longer one is taken for several, since a guest need never end it. */
const MAX_LINE = 16_384;

/** The last lines a guest printed on its console, for error messages and for looking back. */
export class ConsoleLog {
  readonly #capacity: number;
  readonly #onLine: ((line: string) => void) | undefined;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #lines: string[];
  #current = '';

  constructor({ capacity = 1000, lines = [], onLine }: ConsoleLogOptions = {}) {
    this.#capacity = capacity;
    this.#lines = [...lines];
    this.#onLine = onLine;
  }

  /** Puts lines from before in front of its own. */
  precede(lines: string[]): void {
    this.#lines = [...lines, ...this.#lines];
  }

  write(byte: number): void {
    for (const character of this.#decoder.decode(Uint8Array.of(byte), { stream: true })) {
      if (character === '\n' || this.#current.length >= MAX_LINE) this.#endLine();
      if (character !== '\n' && character !== '\r') this.#current += character;
    }
  }

  #endLine(): void {
    this.#lines.push(this.#current);
    this.#onLine?.(this.#current);
    this.#current = '';
    if (this.#lines.length > 2 * this.#capacity) this.#lines = this.lines;
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
