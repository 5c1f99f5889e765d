import { SnapshotError } from '../snapshot/errors.ts';

/** An image that can't be had, or is not what it should be. The message says why, and what to do. */
export class ImageError extends SnapshotError {
  override readonly name = 'ImageError';
  /** Whether asking again, a little later, may help. */
  readonly mayPass: boolean;

  constructor(message: string, { mayPass = false, cause }: { mayPass?: boolean; cause?: unknown } = {}) {
    super(message, { cause });
    this.mayPass = mayPass;
  }
}

/** A part of a file that is wanted. */
export interface ReadRequest {
  /** The first byte that is wanted. */
  from: number;
  /** The byte after the last one. Default: the end of the file. */
  to?: number;
  signal: AbortSignal;
  /** Past all caches on the way. */
  isFresh?: boolean;
}

/** What comes. */
export interface ReadAnswer {
  /** Only whole files can be had: it begins at 0, and all of it comes. Otherwise what was asked for. */
  isWhole: boolean;
  /** Parts in order, each borrowed until the next one. Whoever stops before the end ends it. Throws {@link ImageError}. */
  parts: AsyncIterable<Uint8Array>;
}

/** Where the files of an image are. */
export interface ImageFiles {
  /** Of the image itself, for messages. */
  readonly place: string;
  /** `name`: of a pack, beside the image; '' for the image itself. @throws ImageError. */
  read(name: string, request: ReadRequest): Promise<ReadAnswer>;
}

/** Bytes that are read at once, as several may be read at the same time. */
const MOST = 256 << 10;

/** Files of an image in a store, to be read there. */
export class StoredImage implements ImageFiles {
  readonly place: string;
  readonly #store: { read(name: string, from: number, to?: number): Promise<Uint8Array> };
  readonly #file: string;

  /** `file`: the image in the store. */
  constructor(
    store: { read(name: string, from: number, to?: number): Promise<Uint8Array> },
    file: string,
    place: string = file,
  ) {
    this.#store = store;
    this.#file = file;
    this.place = place;
  }

  read(name: string, { from, to }: ReadRequest): Promise<ReadAnswer> {
    return Promise.resolve({ isWhole: false, parts: this.#parts(name, from, to) });
  }

  async *#parts(name: string, from: number, to: number | undefined): AsyncGenerator<Uint8Array> {
    for (let at = from; to === undefined || at < to; ) {
      const end = to && Math.min(at + MOST, to);
      let bytes: Uint8Array;
      try {
        bytes = await this.#store.read(name || this.#file, at, end);
      } catch (error) {
        throw new ImageError(`can't read ${name || this.place}: ${(error as Error).message}`, { cause: error });
      }
      yield bytes;
      at += bytes.length;
      if (end === undefined) return;
      if (at < end) throw new ImageError(`${name || this.place} is shorter than the image says: copy it again`);
    }
  }
}
