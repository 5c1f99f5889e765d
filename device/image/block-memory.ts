/** Blocks of files that are kept in memory, up to so many bytes: what was used longest ago goes first. Each is borrowed for good. */
export class BlockMemory {
  readonly #limit: number;
  /** By file and number; used longest ago first. */
  readonly #blocks = new Map<string, Uint8Array>();
  #size = 0;

  /** `limit`: bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  has(name: string): boolean {
    return this.#blocks.has(name);
  }

  use(name: string): Uint8Array | undefined {
    const bytes = this.#blocks.get(name);
    if (bytes) {
      this.#blocks.delete(name);
      this.#blocks.set(name, bytes);
    }
    return bytes;
  }

  keep(name: string, bytes: Uint8Array): void {
    if (this.#blocks.has(name)) return;
    this.#blocks.set(name, bytes);
    this.#size += bytes.length;
    for (const oldest of this.#blocks.keys()) {
      if (this.#size <= this.#limit) return;
      this.forget(oldest);
    }
  }

  forget(name: string): void {
    this.#size -= this.#blocks.get(name)?.length ?? 0;
    this.#blocks.delete(name);
  }
}
