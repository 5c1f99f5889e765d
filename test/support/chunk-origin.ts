import type { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import type { MemoryOrigin } from '../../device/filesystems/memory/inode-table.ts';
import type { MemoryState, RangeState } from '../../device/filesystems/memory/state.ts';
import { EIO, FsError } from '../../device/fs/errno.ts';
import { AbsentBytes, type ContentChunk } from '../../device/fs/origin.ts';
import { loadCodec } from '../../device/index.ts';

export interface ChunkOriginOptions {
  id?: string;
  /** Called with what answers a fetch. Default: it is answered in the next turn. */
  schedule?: (answer: () => void) => void;
  /** Whether a fetch fails, EIO. Default: none does. */
  fails?: () => boolean;
}

/** An origin that has the chunks which it has taken out of states. */
export class ChunkOrigin implements MemoryOrigin {
  readonly id: string;
  /** Default: snapshots have all but content. */
  tree: MemoryState | undefined;
  /** Chunks of each fetch that was asked for. */
  readonly fetches: number[] = [];
  /** Hints, each as lengths. */
  readonly hints: number[][] = [];
  schedule: (answer: () => void) => void;
  fails: () => boolean;
  /** On their way now, in bytes, and the most that there were. */
  onTheWay = 0;
  most = 0;
  readonly #chunks = new Map<string, Uint8Array>();

  constructor({ id = 'c0'.repeat(32), schedule = setImmediate, fails = () => false }: ChunkOriginOptions = {}) {
    this.id = id;
    this.schedule = schedule;
    this.fails = fails;
  }

  /** What stands for these bytes from now on. */
  take(bytes: Uint8Array): AbsentBytes {
    const hash = loadCodec().hash(bytes);
    const absent = new AbsentBytes(hash, bytes.length);
    if (!this.#chunks.has(absent.name)) this.#chunks.set(absent.name, bytes.slice());
    return absent;
  }

  /** The state with content elsewhere, as far as `isAbsent` says. */
  without(state: MemoryState, isAbsent: () => boolean = () => true): MemoryState {
    return { ...state, origin: this.id, ranges: state.ranges.map((range) => this.#emptied(range, isAbsent)) };
  }

  #emptied({ chunks, ...range }: RangeState, isAbsent: () => boolean): RangeState {
    if (!chunks) return range;
    const bytes = chunks.bytes.map((own) =>
      own instanceof Uint8Array && own.length && isAbsent() ? this.take(own) : own,
    );
    return { ...range, chunks: { ...chunks, bytes } };
  }

  fetch(wanted: readonly ContentChunk[]): Promise<Uint8Array[]> {
    this.fetches.push(wanted.length);
    const length = wanted.reduce((sum, chunk) => sum + chunk.length, 0);
    this.onTheWay += length;
    this.most = Math.max(this.most, this.onTheWay);
    return new Promise((resolve, reject) =>
      this.schedule(() => {
        this.onTheWay -= length;
        if (this.fails()) reject(FsError.of(EIO));
        else resolve(wanted.map((chunk) => this.#chunks.get((chunk as AbsentBytes).name)!));
      }),
    );
  }

  expect(wanted: readonly ContentChunk[]): void {
    this.hints.push(wanted.map(({ length }) => length));
  }
}

/** Makes a filesystem have all its content, or what `isAbsent` says, elsewhere. It has this origin. */
export function empty(filesystem: MemoryFileSystem, origin: ChunkOrigin, isAbsent?: () => boolean): void {
  filesystem.restore(filesystem.checkState(origin.without(filesystem.state(), isAbsent)));
}
