import type { FileStore } from '../../device/index.ts';
import { readSummary, type Summary } from './summary.ts';

/** What ran when guests were last rewound, forked or closed. */
export interface Position extends Pick<Summary, 'together' | 'parted'> {
  /** Milliseconds since 1970. */
  moment: number;
}

const POSITION = 'position.json';
const ARRIVALS = 'arrivals.json';

/** Small files beside the layers. Without them, or where they are damaged, the snapshots tell enough to go on. */
export class Notes {
  readonly #files: FileStore;
  /** By snapshot. */
  #arrivals: Record<string, unknown> = {};

  private constructor(files: FileStore) {
    this.#files = files;
  }

  static async open(files: FileStore): Promise<Notes> {
    const notes = new Notes(files);
    notes.#arrivals = (await notes.#read(ARRIVALS)) ?? {};
    return notes;
  }

  /** When the snapshot that the page comes with got here, in milliseconds since 1970; undefined where that is not known. */
  arrivalOf(snapshot: string): number | undefined {
    const time = this.#arrivals[snapshot];
    return typeof time === 'number' && Number.isFinite(time) ? time : undefined;
  }

  async arrived(snapshot: string): Promise<void> {
    this.#arrivals[snapshot] ??= Date.now();
    await this.#write(ARRIVALS, this.#arrivals).catch(() => {});
  }

  async position(): Promise<Position | undefined> {
    const position = await this.#read(POSITION);
    const moment = position?.['moment'];
    const { together, parted } = readSummary(position);
    return typeof moment === 'number' && together.length ? { moment, together, parted } : undefined;
  }

  setPosition(position: Position): Promise<void> {
    return this.#write(POSITION, position);
  }

  async #read(name: string): Promise<Record<string, unknown> | undefined> {
    try {
      if (!(await this.#files.list()).includes(name)) return undefined;
      const value: unknown = JSON.parse(new TextDecoder().decode(await this.#files.read(name, 0)));
      return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
    } catch {
      return undefined;
    }
  }

  #write(name: string, value: object): Promise<void> {
    return this.#files.write(name, [new TextEncoder().encode(JSON.stringify(value))]);
  }
}
