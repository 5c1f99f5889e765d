import { setTimeout as pause } from 'node:timers/promises';
import { concat } from '../../../device/bytes.ts';
import { type FileStore, SnapshotError } from '../../../device/index.ts';
import { OneAtATime } from '../../../device/one-at-a-time.ts';
import { Bucket, BucketError, type BucketPlace } from './bucket.ts';
import {
  type BucketIndex,
  changed,
  decodeIndex,
  EMPTY,
  encodeIndex,
  type IndexedFile,
  isObjectName,
  MAX_INDEX,
  objectName,
  randomId,
} from './bucket-index.ts';
import { type CachedObject, type ObjectCache, PIECE } from './object-cache.ts';

/** How often a change is tried, when others change the store meanwhile; and how often the server is asked whether it was made. */
const MAX_TRIES = 40;
const MAX_QUESTIONS = 5;
/** Milliseconds: the first pause between two tries, and the longest. */
const MIN_PAUSE = 50;
const MAX_PAUSE = 2000;
/** Milliseconds after which nobody should be writing an object any more. Whoever still does has to do it again. */
const ABANDONED = 60 * 60 * 1000;

/** A change that is being made. */
interface Change {
  readonly begun: FoundIndex;
  readonly files: Map<string, IndexedFile>;
  /** Objects that it has made. */
  readonly made: Set<string>;
  removed: string;
}

/** The index as it was found. */
interface FoundIndex extends BucketIndex {
  /** Of the object; '' while the store has no index. */
  etag: string;
}

/** A store below a prefix of a bucket. */
export interface S3Place extends BucketPlace {
  /** Ends with a slash, or is ''. */
  prefix: string;
}

/**
 * Layers as objects of a bucket. Each is written once, under a name that none had before; what the store has is said by one object, `index.json`,
 * which is replaced only if it is the one that was read. So a change is made as a whole or not at all, whoever stops, fails or comes late, and by
 * whichever clock: no lock is needed, nor a lease that could run out. Who finds that another has changed the store meanwhile begins again.
 */
export class S3Store implements FileStore {
  /** As `--store` takes it. */
  readonly location: string;
  readonly #bucket: Bucket;
  readonly #prefix: string;
  readonly #cache: ObjectCache;
  readonly #turns = new OneAtATime();
  #index: FoundIndex | undefined;
  #change: Change | undefined;
  /** The server wants etags in quotation marks. */
  #isQuoted = false;
  /** Of objects that were copied in another way than they were stored, by their names. */
  readonly #etags = new Map<string, string>();

  /** `location`: for messages. */
  constructor(location: string, { prefix, ...place }: S3Place, cache: ObjectCache) {
    this.location = location;
    this.#bucket = new Bucket(place);
    this.#prefix = prefix;
    this.#cache = cache;
  }

  async list(): Promise<string[]> {
    const { files } = this.#change ?? (await this.#fetchIndex());
    return [...files.keys()];
  }

  /** What was read before comes from the cache. */
  async read(name: string, from: number, to?: number): Promise<Uint8Array> {
    const { files } = this.#change ?? this.#index ?? (await this.#fetchIndex());
    const file = files.get(name);
    if (!file) throw new Error(`there is no file ${name} in ${this.location}`);
    const end = Math.min(to ?? file.length, file.length);
    if (from >= end) return new Uint8Array(0);
    const first = Math.floor(from / PIECE);
    const last = Math.ceil(end / PIECE);
    const bytes = await this.#readPieces(file, first, last);
    return bytes.subarray(from - first * PIECE, end - first * PIECE);
  }

  /** Pieces from `first` to before `last`, or fewer bytes where the object is shorter than it should be. */
  async #readPieces(file: IndexedFile, first: number, last: number): Promise<Uint8Array> {
    const key = this.#keyOf(file.object);
    const pieces = Array.from({ length: last - first }, (_, n) => first + n);
    const cached = this.#cachedAs(file.object, this.#etags.get(file.object) ?? file.etag);
    const kept = await this.#cache.read(cached, pieces);
    const missing = pieces.filter((piece) => !kept.has(piece));
    if (!missing.length) return concat(pieces.map((piece) => kept.get(piece)!));
    const [begin, end] = [missing[0]!, missing.at(-1)! + 1];
    const { bytes, etag } = await this.#bucket.get(key, begin * PIECE, Math.min(end * PIECE, file.length));
    if (etag !== cached.etag) this.#etags.set(file.object, etag);
    else if (bytes.length === Math.min(end * PIECE, file.length) - begin * PIECE)
      this.#cache.keep(cached, begin, bytes);
    const before = pieces.filter((piece) => piece < begin).map((piece) => kept.get(piece)!);
    const after = pieces.filter((piece) => piece >= end).map((piece) => kept.get(piece)!);
    return before.length || after.length ? concat([...before, bytes, ...after]) : bytes;
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    const change = this.#change;
    if (!change) return this.exclusively(() => this.write(name, parts));
    const object = objectName(name);
    const bytes = concat(parts);
    change.made.add(object);
    const etag = await this.#bucket.put(this.#keyOf(object), bytes);
    change.files.set(name, { object, length: bytes.length, etag });
    this.#cache.keep(this.#cachedAs(object, etag), 0, bytes);
  }

  async remove(name: string): Promise<void> {
    if (!this.#change) return this.exclusively(() => this.remove(name));
    this.#change.files.delete(name);
  }

  /** `action` may run more than once: what it has written is there when the last run of it has been accepted. */
  exclusively<T>(action: () => Promise<T>): Promise<T> {
    return this.#turns.run(async () => {
      for (let tries = 1, longest = MIN_PAUSE; ; tries++, longest = Math.min(2 * longest, MAX_PAUSE)) {
        const outcome = await this.#try(action);
        if (outcome) return outcome.result;
        if (tries === MAX_TRIES)
          throw new BucketError(`others change ${this.location} all the time: try again when fewer do`);
        await pause(longest * Math.random());
      }
    });
  }

  /** Returns undefined when another has changed the store meanwhile, so that nothing is done. */
  async #try<T>(action: () => Promise<T>): Promise<{ result: T } | undefined> {
    const begun = await this.#begin();
    const change: Change = { begun, files: new Map(begun.files), made: new Set(), removed: begun.removed };
    let result: T;
    this.#change = change;
    try {
      result = await action();
    } catch (error) {
      await this.#removeObjects(change.made);
      throw error;
    } finally {
      this.#change = undefined;
    }
    const used = objectsOf(change);
    const replaced = [...objectsOf(begun)].filter((object) => !used.has(object));
    if (!change.made.size && !replaced.length && change.removed === begun.removed) return { result };
    if (!(await this.#commit(change, replaced.length > 0))) {
      await this.#removeObjects(change.made);
      return undefined;
    }
    await this.#removeObjects([...replaced, ...[...change.made].filter((object) => !used.has(object))]);
    return { result };
  }

  /** Puts the index in the place of the one that was read. Returns false when another has, and that matters. */
  async #commit(change: Change, isRemoval: boolean): Promise<boolean> {
    const id = randomId();
    let before = change.begun;
    let files: ReadonlyMap<string, IndexedFile> = change.files;
    let failure: BucketError | undefined;
    for (let unchanged = 0; unchanged < MAX_QUESTIONS; ) {
      const index = changed({ files, removed: isRemoval ? id : change.removed }, before.changes, id);
      try {
        const etag = await this.#putIndex(index, before.etag);
        this.#index = { ...index, etag };
        return true;
      } catch (error) {
        if (!(error instanceof BucketError) || !(error.isConflict || error.isOpen)) throw error;
        failure = error;
      }
      const now = await this.#fetchIndex().catch((error: Error) => {
        throw new BucketError(
          `${error.message}; whether the change of ${this.location} was made is not known: look at what is there`,
          { cause: failure },
        );
      });
      // An answer may have been lost, and the request not.
      if (now.changes.includes(id)) return true;
      if (now.etag === before.etag) {
        unchanged++;
        if (failure.isConflict) this.#isQuoted = !this.#isQuoted;
        continue;
      }
      // What others have added since is no reason to begin again, if nothing was removed in between, nor is here.
      const isAdded = [...change.begun.files].every(([name, { object }]) => now.files.get(name)?.object === object);
      if (isRemoval || !isAdded || now.removed !== change.begun.removed || change.removed !== change.begun.removed)
        return false;
      const own = [...change.files].filter(([, { object }]) => change.made.has(object));
      if (own.some(([name]) => now.files.has(name))) return false;
      files = new Map([...now.files, ...own]);
      before = now;
    }
    throw failure!;
  }

  /** The index as it is, made if the store has none yet. */
  async #begin(): Promise<FoundIndex> {
    const found = await this.#fetchIndex();
    if (found.etag) return found;
    await this.#checkServer();
    const index = changed(EMPTY, [], randomId());
    await this.#putIndex(index, '').catch((error: unknown) => {
      if (!(error instanceof BucketError && (error.isConflict || error.isOpen))) throw error;
    });
    const made = await this.#fetchIndex();
    if (!made.etag) throw new BucketError(`the index of ${this.location} was stored, and is not there: try again`);
    return made;
  }

  /** @throws SnapshotError for a server on which two could overwrite each other's changes. */
  async #checkServer(): Promise<void> {
    const key = this.#keyOf(`probe.${randomId()}`, '');
    const isRefused = (etag: string) =>
      this.#bucket.put(key, new Uint8Array(1), { etag }).then(
        () => false,
        (error: unknown) => {
          if (error instanceof BucketError && error.isConflict) return true;
          throw error;
        },
      );
    await this.#bucket.put(key, new Uint8Array(1));
    try {
      if (!(await isRefused('')) || !(await isRefused('0'.repeat(32))))
        throw new SnapshotError(
          `${this.location} is on a server that does not know conditional writes (If-Match and If-None-Match of a PUT), so that several could overwrite each other's snapshots: use another server, or a newer release of it`,
        );
    } finally {
      await this.#bucket.remove([key]).catch(() => {});
    }
  }

  #putIndex(index: BucketIndex, etag: string): Promise<string> {
    return this.#bucket.put(this.#indexKey, encodeIndex(index, this.location), { etag, isQuoted: this.#isQuoted });
  }

  async #fetchIndex(): Promise<FoundIndex> {
    const known = this.#index;
    try {
      const found = await this.#bucket.get(this.#indexKey, 0, MAX_INDEX, known?.etag);
      if (found) this.#index = { ...decodeIndex(found.bytes, this.location), etag: found.etag };
      return this.#index!;
    } catch (error) {
      if (!(error instanceof BucketError && error.isMissing)) throw error;
    }
    if ((await this.#bucket.list(this.#keyOf(''), 1)).length)
      throw new SnapshotError(
        `the index of ${this.location} is gone, and its objects are still there: bring back an earlier version of index.json, or remove all objects below ${this.#keyOf('')}`,
      );
    return (this.#index = { ...EMPTY, etag: '' });
  }

  /**
   * Removes what processes that were killed have left, and what others may have begun an hour ago and not finished, who begin again then. Returns the
   * bytes that gave back.
   */
  async removeLeftovers(now = Date.now()): Promise<number> {
    const { files } = await this.#fetchIndex();
    const used = objectsOf({ files });
    const listed = await this.#bucket.list(this.#keyOf(''));
    const old = listed
      .map(({ key, ...rest }) => ({ object: key.slice(this.#keyOf('').length), ...rest }))
      .filter(({ object, time }) => isObjectName(object) && !used.has(object) && now - time > ABANDONED);
    if (!old.length) return 0;
    // From here on whoever has begun before can't finish: what nobody uses now stays unused.
    const left = await this.exclusively(async () => {
      const change = this.#change!;
      change.removed = randomId();
      const still = objectsOf(change);
      return old.filter(({ object }) => !still.has(object));
    });
    await this.#bucket.remove(left.map(({ object }) => this.#keyOf(object)));
    return left.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Waits until all that was read is in the cache. */
  settle(): Promise<void> {
    return this.#cache.settle();
  }

  #cachedAs(object: string, etag: string): CachedObject {
    return { place: `${this.#bucket.name}/${this.#keyOf(object)}`, etag };
  }

  get #indexKey(): string {
    return this.#keyOf('index.json', '');
  }

  #keyOf(name: string, folder = 'files/'): string {
    return `${this.#prefix}${folder}${name}`;
  }

  /** What can't be removed now is so by {@link removeLeftovers}. */
  async #removeObjects(objects: Iterable<string>): Promise<void> {
    await this.#bucket.remove([...objects].map((object) => this.#keyOf(object))).catch(() => {});
  }
}

function objectsOf({ files }: { files: ReadonlyMap<string, IndexedFile> }): Set<string> {
  return new Set([...files.values()].map(({ object }) => object));
}
