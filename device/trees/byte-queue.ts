import { concat } from '../bytes.ts';

/** What can be taken from a stream in parts of any length. */
export class ByteQueue {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  /** How many bytes were taken. */
  taken = 0;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** The next `length` bytes, borrowed until the next call; fewer at the end of the stream. */
  async take(length: number): Promise<Uint8Array> {
    if (this.#chunk.length < length) {
      const parts = [this.#chunk];
      for (let missing = length - this.#chunk.length; missing > 0; ) {
        const { done, value } = await this.#reader.read();
        if (done) break;
        parts.push(value);
        missing -= value.length;
      }
      this.#chunk = parts.length === 1 ? this.#chunk : concat(parts);
    }
    const bytes = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(bytes.length);
    this.taken += bytes.length;
    return bytes;
  }

  /** What is there, and up to `length` bytes of it; waits for some. None at the end of the stream. */
  async some(length: number): Promise<Uint8Array> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) break;
      this.#chunk = value;
    }
    const bytes = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(bytes.length);
    this.taken += bytes.length;
    return bytes;
  }

  /** Reads the stream to its end, for what goes wrong there. */
  async drain(): Promise<void> {
    while ((await this.some(Infinity)).length);
  }

  /** Whoever fills the stream can stop. */
  cancel(reason: unknown): void {
    this.#reader.cancel(reason).catch(() => {});
  }
}
