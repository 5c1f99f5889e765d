import { EIO, FsError } from '../../fs/errno.ts';
import { NotYet } from '../../fs/not-yet.ts';
import type { AbsentBytes, Origin } from '../../fs/origin.ts';
import { ABSENT, type Chunk } from './chunk.ts';
import type { ChunkList } from './chunk-list.ts';
import { chunksIn } from './needed-chunks.ts';
import { ReadAhead } from './read-ahead.ts';

/** What is kept of a piece besides its bytes, amply. */
const PIECE_COST = 512;
/** Chunks that have bytes of pieces, before all of them give them back. */
const MAX_LENT = 1024;

/** Content of an origin that is here, or on its way. */
interface Piece {
  readonly absent: AbsentBytes;
  bytes: Uint8Array | undefined;
  /** Whose errand it belongs to, and who fetches it. */
  pins: number;
  /** Who has it for as long as he likes. */
  holds: number;
  /** Who waits for it. */
  readonly waiting: Set<Errand>;
}

/** Why content can't be had. */
interface Failure {
  readonly error: unknown;
}

/** What somebody waits for. */
interface Errand {
  readonly wanted: readonly AbsentBytes[];
  /** Undefined while it waits for room, and once it is over. */
  pieces: Piece[] | undefined;
  readonly done: (failure?: Failure) => void;
}

/** What a method of a filesystem in memory throws before it changes anything: the content that it takes is elsewhere. */
export class ContentNotHere extends NotYet {
  /** Fetches it, and keeps it here until the function is called that this resolves to. @throws FsError EIO, or what else the origin says. */
  readonly hold: () => Promise<() => void>;

  constructor(fetched: FetchedContent, wanted: readonly AbsentBytes[]) {
    super((again) => fetched.bring(wanted, again));
    this.hold = () => fetched.hold(wanted);
  }
}

/**
 * What an {@link Origin} has and is here for now: fetched when it is needed, each piece once for all who want it, and kept as long as there is room.
 * What is on its way, what is needed right now and what is kept have at most so many bytes together, or what one action takes. What the host holds is
 * not counted.
 */
export class FetchedContent {
  readonly origin: Origin;
  readonly #maxBytes: number;
  /** By hash; what was used last is at the end. */
  readonly #pieces = new Map<string, Piece>();
  /** Bytes of all of them. */
  #bytes = 0;
  /** Bytes of those that are on their way or pinned. */
  #busy = 0;
  /** Bytes of those that are held. */
  #held = 0;
  /** Those who wait until there is room, in the order in which they came. */
  readonly #queue = new Set<Errand>();
  /** Chunks that have bytes of pieces. */
  #lent: Chunk[] = [];
  /** Why what was waited for did not come, while somebody is told. */
  #failure: Failure | undefined;

  readonly #ahead = new ReadAhead((chunks) => this.#expect(chunks));

  constructor(origin: Origin, maxBytes: number) {
    this.origin = origin;
    this.#maxBytes = maxBytes;
  }

  /** Bytes that are here or on their way, what is kept about them included. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * Sees to it that these chunks have their bytes, for what is done at once.
   *
   * @throws ContentNotHere; or what the origin has said, to those who ask again after that.
   */
  need(chunks: Iterable<Chunk>): void {
    if (this.#lent.length > MAX_LENT) this.#takeBack();
    const wanted: AbsentBytes[] = [];
    let isHere = true;
    for (const chunk of chunks) {
      const { origin } = chunk;
      if (!origin) continue;
      wanted.push(origin);
      if (chunk.bytes !== ABSENT) continue;
      const piece = this.#pieces.get(origin.name);
      if (piece?.bytes) this.#lend(piece, chunk);
      else isHere = false;
    }
    if (isHere) return;
    if (this.#failure) throw this.#failure.error;
    // What is here already has to stay, or it would never be all at once.
    throw new ContentNotHere(this, wanted);
  }

  /** As {@link need}, of bytes `from` to `to` of a file with these chunks and this size, which are read. */
  needForRead(chunks: ChunkList, from: number, to: number, size: number): void {
    this.#ahead.reads(chunks, from, to, size);
    try {
      this.need(chunksIn(chunks, from, to));
    } catch (error) {
      if (error instanceof ContentNotHere) this.#ahead.misses(chunks, from, to, size);
      throw error;
    }
  }

  /** These chunks are no file's any more. */
  forget(chunks: ChunkList): void {
    this.#ahead.forget(chunks);
  }

  #expect(chunks: Iterable<Chunk>): void {
    if (!this.origin.expect) return;
    const wanted: AbsentBytes[] = [];
    for (const { origin } of chunks) if (origin && !this.#pieces.has(origin.name)) wanted.push(origin);
    if (wanted.length) this.origin.expect(wanted);
  }

  /** Fetches content, and calls `again` when it is here, or can't be had: then whoever needs it there is told why. Returns what takes that back. */
  bring(wanted: readonly AbsentBytes[], again: () => void): () => void {
    return this.#begin(wanted, (failure) => {
      this.#failure = failure;
      try {
        again();
      } finally {
        this.#failure = undefined;
      }
    });
  }

  /** Fetches content, which is here until the function is called that this resolves to. */
  hold(wanted: readonly AbsentBytes[]): Promise<() => void> {
    return new Promise((resolve, reject) => {
      this.#begin(wanted, (failure) => {
        if (failure) reject(failure.error as Error);
        else resolve(this.#hold(wanted));
      });
    });
  }

  #hold(wanted: readonly AbsentBytes[]): () => void {
    let pieces = wanted.map(({ name }) => this.#pieces.get(name)!);
    for (const piece of pieces) if (piece.holds++ === 0) this.#held += costOf(piece.absent);
    return () => {
      for (const piece of pieces) if (--piece.holds === 0) this.#held -= costOf(piece.absent);
      pieces = [];
      this.#makeRoom();
    };
  }

  #begin(wanted: readonly AbsentBytes[], done: Errand['done']): () => void {
    const errand: Errand = { wanted, pieces: undefined, done };
    this.#queue.add(errand);
    this.#serve();
    return () => {
      if (!this.#queue.delete(errand)) this.#end(errand);
      this.#makeRoom();
      this.#serve();
    };
  }

  /** Begins as many errands as there is room for. */
  #serve(): void {
    for (const errand of this.#queue) {
      const cost = this.#cost(errand);
      if (this.#busy > 0 && this.#busy + cost > this.#maxBytes) return;
      this.#queue.delete(errand);
      this.#fetchFor(errand);
    }
  }

  /** What it adds to what is busy. */
  #cost({ wanted }: Errand): number {
    let cost = 0;
    for (const absent of wanted) {
      const { pins = 0, holds = 0 } = this.#pieces.get(absent.name) ?? {};
      if (pins + holds === 0) cost += costOf(absent);
    }
    return cost;
  }

  #fetchFor(errand: Errand): void {
    const fresh: Piece[] = [];
    const pieces = new Set<Piece>();
    for (const absent of errand.wanted) {
      let piece = this.#pieces.get(absent.name);
      if (!piece) {
        fresh.push((piece = { absent, bytes: undefined, pins: 0, holds: 0, waiting: new Set() }));
        this.#pieces.set(absent.name, piece);
        this.#bytes += costOf(absent);
      }
      if (pieces.has(piece)) continue;
      pieces.add(piece);
      this.#pin(piece);
      if (!piece.bytes) piece.waiting.add(errand);
    }
    errand.pieces = [...pieces];
    this.#makeRoom();
    if (fresh.length) void this.#fetch(fresh, errand);
    // All may have come while it waited for room: it is told of that in a turn of its own.
    else
      queueMicrotask(() => {
        this.#finishIfHere(errand);
        this.#makeRoom();
        this.#serve();
      });
  }

  /** Fetches for `errand` what others may wait for too. */
  async #fetch(fresh: readonly Piece[], errand: Errand): Promise<void> {
    // They take room until they have come, whoever still waits for them.
    for (const piece of fresh) this.#pin(piece);
    const failure = await this.#fill(fresh);
    if (failure) for (const piece of fresh) this.#forget(piece);
    const waiting = new Set(fresh.flatMap((piece) => [...piece.waiting]));
    for (const piece of fresh) {
      piece.waiting.clear();
      this.#unpin(piece);
    }
    for (const other of waiting) {
      if (!failure) this.#finishIfHere(other);
      else if (other === errand) this.#finish(errand, failure);
      // What it waits for need not be what could not be had.
      else if (other.pieces) this.#beginAgain(other);
    }
    this.#makeRoom();
    this.#serve();
  }

  async #fill(fresh: readonly Piece[]): Promise<Failure | undefined> {
    try {
      const all = await this.origin.fetch(fresh.map(({ absent }) => absent));
      fresh.forEach(({ absent }, n) => {
        if (all[n]?.length !== absent.length)
          throw new FsError(EIO, `the origin has sent ${all[n]?.length} bytes of a chunk of ${absent.length}`);
      });
      fresh.forEach((piece, n) => {
        const bytes = all[n]!;
        // What is cut from a larger buffer would keep all of that. And a Buffer has another `slice`.
        piece.bytes = new Uint8Array(bytes.length < bytes.buffer.byteLength ? bytes : (bytes.buffer as ArrayBuffer));
      });
      return undefined;
    } catch (error) {
      return { error };
    }
  }

  #beginAgain(errand: Errand): void {
    this.#end(errand);
    this.#queue.add(errand);
  }

  #finishIfHere(errand: Errand): void {
    if (errand.pieces?.every(({ bytes }) => bytes)) this.#finish(errand);
  }

  #finish(errand: Errand, failure?: Failure): void {
    try {
      errand.done(failure);
    } finally {
      this.#end(errand);
    }
  }

  /** Nobody waits for it, or needs what it has brought. */
  #end(errand: Errand): void {
    for (const piece of errand.pieces ?? []) {
      piece.waiting.delete(errand);
      this.#unpin(piece);
    }
    errand.pieces = undefined;
  }

  #pin(piece: Piece): void {
    if (piece.pins++ === 0) this.#busy += costOf(piece.absent);
  }

  #unpin(piece: Piece): void {
    if (--piece.pins === 0) this.#busy -= costOf(piece.absent);
  }

  #lend(piece: Piece, chunk: Chunk): void {
    chunk.bytes = piece.bytes!;
    this.#lent.push(chunk);
    this.#pieces.delete(piece.absent.name);
    this.#pieces.set(piece.absent.name, piece);
  }

  /** No chunk has any bytes of a piece. */
  #takeBack(): void {
    for (const chunk of this.#lent) chunk.bytes = ABSENT;
    this.#lent = [];
  }

  /** Drops what was not used for the longest time, until the rest is no more than there may be. */
  #makeRoom(): void {
    if (this.#bytes - this.#held <= this.#maxBytes) return;
    this.#takeBack();
    for (const piece of this.#pieces.values()) {
      if (this.#bytes - this.#held <= this.#maxBytes) return;
      if (piece.bytes && piece.pins + piece.holds === 0) this.#forget(piece);
    }
  }

  #forget(piece: Piece): void {
    if (this.#pieces.get(piece.absent.name) !== piece) return;
    this.#pieces.delete(piece.absent.name);
    this.#bytes -= costOf(piece.absent);
  }
}

function costOf({ length }: AbsentBytes): number {
  return length + PIECE_COST;
}
