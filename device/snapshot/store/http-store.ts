import { SnapshotError } from '../errors.ts';
import type { FileStore } from './file-store.ts';

/**
 * Layers on any static web server, to read only: `names` of them below `base`. A server that knows
 * ranges is asked for them; from any other one whole file is fetched once.
 */
export class HttpStore implements FileStore {
  readonly #base: string;
  readonly #names: readonly string[];
  readonly #onProgress: ((bytes: number, total: number) => void) | undefined;
  readonly #whole = new Map<string, Promise<Uint8Array>>();

  /** `onProgress`: bytes of a file that have come, of those that are awaited (0 where the server doesn't say). */
  constructor(base: string | URL, names: readonly string[], onProgress?: (bytes: number, total: number) => void) {
    this.#base = String(base);
    this.#names = names;
    this.#onProgress = onProgress;
  }

  async list(): Promise<string[]> {
    return [...this.#names];
  }

  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const whole = this.#whole.get(name);
    if (whole !== undefined) return (await whole).slice(from, to);
    const response = await this.#fetch(name, { headers: { range: `bytes=${from}-${to === undefined ? '' : to - 1}` } });
    if (response.status === 416) return new Uint8Array(0);
    if (response.status === 206) return this.#body(name, response, to === undefined ? Infinity : to - from);
    const file = this.#body(name, response);
    this.#whole.set(name, file);
    file.catch(() => this.#whole.delete(name));
    return (await file).slice(from, to);
  }

  async #fetch(name: string, init: RequestInit): Promise<Response> {
    const url = new URL(name, this.#base);
    const response = await fetch(url, init).catch((error: Error) => {
      throw new SnapshotError(`can't fetch ${url.href}: ${error.message}; look at the network, and try again`, {
        cause: error,
      });
    });
    if (!response.ok && response.status !== 416)
      throw new SnapshotError(`can't fetch ${url.href}: the server answers ${response.status} ${response.statusText}`);
    return response;
  }

  /** At most `limit` bytes. */
  async #body(name: string, response: Response, limit = Infinity): Promise<Uint8Array> {
    const total = Number(response.headers.get('content-length') ?? 0);
    const parts: Uint8Array[] = [];
    let length = 0;
    try {
      for (const reader = response.body!.getReader(); ; ) {
        const { done, value } = await reader.read();
        if (done) break;
        parts.push(value);
        length += value.length;
        if (length > limit) {
          await reader.cancel();
          throw new SnapshotError(`the server sends more of ${name} than the ${limit} bytes that it was asked for`);
        }
        this.#onProgress?.(length, total);
      }
    } catch (error) {
      if (error instanceof SnapshotError) throw error;
      throw new SnapshotError(`the network broke while ${name} was fetched, after ${length} bytes: try again`, {
        cause: error,
      });
    }
    const bytes = new Uint8Array(length);
    parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
    return bytes;
  }

  write(): Promise<void> {
    return Promise.reject(
      new SnapshotError(
        'a web server’s snapshots can only be read: export them, and import them into a store of your own',
      ),
    );
  }

  remove(): Promise<void> {
    return this.write();
  }
}
