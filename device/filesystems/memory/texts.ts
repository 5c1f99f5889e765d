import { decodeName } from '../../fs/names.ts';
import { hashBytes } from './name-hash.ts';

/** Texts as a guest has them, one after the other with a NUL after each; the bytes are borrowed. They are strings only when somebody asks. */
export class Texts {
  readonly length: number;
  readonly #bytes: Uint8Array;
  /** Where each begins, and where one more would. */
  readonly #starts: Uint32Array;

  /** Of so many; `bytes` that have another number make it of length -1. */
  constructor(bytes: Uint8Array, count: number) {
    this.#bytes = bytes;
    this.#starts = new Uint32Array(count + 1);
    let found = 0;
    for (let at = 0; at < bytes.length && found <= count; at++) if (bytes[at] === 0) this.#starts[++found] = at + 1;
    this.length = found === count && this.#starts[count] === bytes.length ? count : -1;
  }

  at(n: number): string {
    return decodeName(this.#bytes.subarray(this.#starts[n]!, this.#starts[n + 1]! - 1));
  }

  hashAt(n: number): number {
    return hashBytes(this.#bytes, this.#starts[n]!, this.#starts[n + 1]! - 1);
  }

  /** Bytes of one. */
  lengthAt(n: number): number {
    return this.#starts[n + 1]! - this.#starts[n]! - 1;
  }

  /** Whether one has only bytes of ASCII, and no slash. */
  isPlain(n: number): boolean {
    const end = this.#starts[n + 1]! - 1;
    for (let at = this.#starts[n]!; at < end; at++) {
      const byte = this.#bytes[at]!;
      if (byte >= 0x80 || byte === 0x2f) return false;
    }
    return true;
  }

  isSame(n: number, other: Texts, m: number): boolean {
    const length = this.lengthAt(n);
    if (length !== other.lengthAt(m)) return false;
    const [from, at] = [this.#starts[n]!, other.#starts[m]!];
    for (let byte = 0; byte < length; byte++) if (this.#bytes[from + byte] !== other.#bytes[at + byte]) return false;
    return true;
  }
}
