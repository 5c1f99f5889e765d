import type { Volume } from 'memfs';
import { ContentNotHere } from '../memory/fetched-content.ts';
import type { Core, CoreFile } from './core.ts';
import type { Views } from './views.ts';

/** What of a volume's API uses the content of files and calls back: all else that does, promises and streams, is made of these. */
const METHODS = [
  'readFile',
  'read',
  'readv',
  'writeFile',
  'write',
  'writev',
  'copyFile',
  'truncate',
  'ftruncate',
] as const;

type Callback = (error: (Error & { code?: string }) | null, ...results: unknown[]) => void;

/** What of a volume's API need not answer at once fetches what it lacks, and does it again. */
export function fetchFirst(volume: Volume, core: Core, views: Views): void {
  for (const name of METHODS) {
    const method = volume[name] as (...args: unknown[]) => void;
    const late = (...args: unknown[]) => {
      const callback = args.pop();
      if (typeof callback !== 'function') return method.call(volume, ...args, callback);
      const file = name.endsWith('v') ? core.fds[args[0] as number] : undefined;
      new Attempts((done) => method.call(volume, ...args, done), callback as Callback, views, file).begin();
    };
    Object.assign(volume, { [name]: late });
  }
}

/** One call of the host's, done again until all that it takes is here. */
class Attempts {
  readonly #action: (done: Callback) => void;
  readonly #callback: Callback;
  readonly #views: Views;
  readonly #file: CoreFile | undefined;
  readonly #position: number | undefined;
  readonly #held: (() => void)[] = [];

  /** `file`: what is read or written in several parts, which may have begun when it fails. */
  constructor(action: (done: Callback) => void, callback: Callback, views: Views, file: CoreFile | undefined) {
    this.#views = views;
    this.#action = action;
    this.#callback = callback;
    this.#file = file;
    this.#position = file?.position;
  }

  begin(): void {
    this.#action((error, ...results) => {
      // It calls back at once when it fails.
      const { lacking } = this.#views;
      if (error?.code === 'EAGAIN' && lacking instanceof ContentNotHere) void this.#fetch(lacking);
      else this.#end(error, ...results);
    });
  }

  async #fetch({ hold }: ContentNotHere): Promise<void> {
    try {
      this.#held.push(await hold());
    } catch (error) {
      this.#end(error as Error);
      return;
    }
    if (this.#file) this.#file.position = this.#position!;
    this.begin();
  }

  #end(error: Error | null, ...results: unknown[]): void {
    for (const release of this.#held) release();
    this.#callback(error, ...results);
  }
}
