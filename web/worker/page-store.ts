import { type FileStore, MemoryStore, OpfsStore } from '../../device/index.ts';

/** Milliseconds. */
const GRACE = 500;

/**
 * Where the page keeps its layers: in the browser's own file system, if this tab is the one that may write there; in
 * memory otherwise. What was fetched can be read at once, and is written behind.
 */
export class PageStore implements FileStore {
  readonly #memory = new MemoryStore();
  /** The browser's file system, where there is one; {@link #kept} is the same, or undefined when it is left alone. */
  readonly #opfs: FileStore | undefined;
  #kept: FileStore | undefined;
  /** Why nothing is kept; '' where it is. */
  reason: string;
  /** Told when files are kept no longer. */
  onGiveUp: (reason: string) => void = () => {};
  #writing: Promise<void> = Promise.resolve();
  /** Lets another tab write. */
  readonly #release: () => void;

  private constructor(kept: FileStore | undefined, reason: string, release = () => {}) {
    this.#release = release;
    this.#opfs = kept;
    this.#kept = kept;
    this.reason = reason;
  }

  /** `directory`: in the browser's file system; undefined to keep nothing. `patience`: milliseconds that another tab has to let go. */
  static async open(directory: string | undefined, patience = GRACE): Promise<PageStore> {
    if (directory === undefined)
      return new PageStore(undefined, 'Snapshots are lost when this page is left: export those that matter.');
    if (!isSecureContext)
      return new PageStore(
        undefined,
        'Browsers keep files for pages from https or localhost only, so the snapshots of this page won’t be saved: export those that matter.',
      );
    const release = await becomeWriter(directory, patience);
    if (!release) {
      return new PageStore(
        undefined,
        'Another tab has this page’s snapshots open, so the snapshots of this tab won’t be saved: export what matters, or close the other tab and reload.',
      );
    }
    try {
      return new PageStore(await OpfsStore.open(directory), '', release);
    } catch (error) {
      return new PageStore(undefined, (error as Error).message);
    }
  }

  /** Whether another tab writes there now. */
  static async isOpen(directory: string | undefined): Promise<boolean> {
    const { held = [] } = await navigator.locks.query();
    return held.some(({ name }) => name === directory);
  }

  /** Whether this tab is the one that may write where snapshots are kept. */
  get isWriter(): boolean {
    return this.#opfs !== undefined;
  }

  get isKept(): boolean {
    return this.#kept !== undefined;
  }

  /** Goes on in memory alone: what is kept is left as it is. */
  giveUp(reason: string): void {
    this.#kept = undefined;
    this.reason = reason;
    this.onGiveUp(reason);
  }

  /** Lets another tab write, when what is here is written. */
  async release(): Promise<void> {
    await this.#writing;
    this.#kept = undefined;
    this.reason = 'The machine runs elsewhere, and its snapshots are kept there.';
    this.#release();
  }

  /** As {@link write}, but settled when the file can be read; a failure is in {@link reason}. */
  async adopt(name: string, file: Uint8Array): Promise<void> {
    await this.#memory.write(name, [file]);
    const kept = this.#kept;
    if (!kept) return;
    this.#writing = kept.write(name, [file]).then(
      () => this.#memory.remove(name),
      (error: Error) => this.giveUp(`Snapshots of this visit won’t be saved: ${error.message}`),
    );
  }

  async list(): Promise<string[]> {
    return [...new Set([...(await this.#memory.list()), ...((await this.#kept?.list()) ?? [])])];
  }

  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const isInMemory = (await this.#memory.list()).includes(name);
    return (isInMemory || !this.#kept ? this.#memory : this.#kept).read(name, from, to);
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    await this.#writing;
    await (this.#kept ?? this.#memory).write(name, parts);
  }

  async remove(name: string): Promise<void> {
    await this.#writing;
    await this.#memory.remove(name);
    if ((await this.#kept?.list())?.includes(name)) await this.#kept!.remove(name);
  }

  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return (this.#kept?.exclusively ? (this.#kept as Required<FileStore>) : this.#memory).exclusively(action);
  }

  /** Removes all files, whatever they are, and begins to keep them again where that is possible. */
  async clear(): Promise<void> {
    this.#kept = this.#opfs;
    if (this.#kept) this.reason = '';
    for (const name of await this.list()) await this.remove(name);
  }
}

/** One tab writes, until it calls what this returns, or is closed. That of before a reload may take a moment to go. */
async function becomeWriter(directory: string, patience: number): Promise<(() => void) | undefined> {
  return new Promise((resolve) => {
    const hold = () => new Promise<void>((release) => resolve(release));
    navigator.locks.request(directory, { signal: AbortSignal.timeout(patience) }, hold).catch(() => resolve(undefined));
  });
}
