/** Characters of a line: a longer one is taken for several, since it need never end. */
const MAX_LINE = 1 << 20;

/** Makes lines of output that comes in pieces. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #rest = '';

  /** `onLine` gets each line, without its end. */
  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(data: Uint8Array): void {
    this.#tell(this.#decoder.decode(data, { stream: true }));
  }

  /** A last line need not have an end. */
  end(): void {
    this.#tell(this.#decoder.decode());
    if (this.#rest) this.#onLine(this.#rest);
    this.#rest = '';
  }

  #tell(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop()!;
    // Terminals end lines with both.
    for (const line of lines) this.#onLine(line.endsWith('\r') ? line.slice(0, -1) : line);
    for (; this.#rest.length > MAX_LINE; this.#rest = this.#rest.slice(MAX_LINE))
      this.#onLine(this.#rest.slice(0, MAX_LINE));
  }
}
