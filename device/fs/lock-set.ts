import { F_UNLCK, F_WRLCK } from './constants.ts';
import { excludes, type Lock, overlap } from './lock.ts';

/** Whoever has locks; compared by identity. */
export interface Holder {
  /** Locks that are held, on any file. */
  held: number;
}

export interface HeldLock extends Lock {
  readonly holder: Holder;
}

/** What {@link LockSet.change} would make of a set, and how many locks more that is. */
export interface Change {
  held: HeldLock[];
  growth: number;
  /** Others may have more than before. */
  frees: boolean;
}

/**
 * The locks that are held on one file in one space. Whether a lock is in the way of another is found in logarithmic time, however
 * many there are and however they lie; changes take linear time.
 */
export class LockSet {
  /** By their first bytes. */
  #held: HeldLock[] = [];
  #reads: Index | undefined;
  #writes: Index | undefined;
  /** Nothing was looked for since the last change. */
  #isFresh = true;

  /** Borrowed. */
  get held(): readonly HeldLock[] {
    return this.#held;
  }

  get size(): number {
    return this.#held.length;
  }

  /** A lock of somebody else that excludes `wanted`. */
  inTheWay(wanted: Lock, holder: Holder): HeldLock | undefined {
    // One question alone is not worth an index.
    if (this.#isFresh) {
      this.#isFresh = false;
      return this.#held.find((lock) => lock.holder !== holder && excludes(lock, wanted));
    }
    this.#writes ??= new Index(this.#held.filter(({ type }) => type === F_WRLCK));
    const write = this.#writes.find(wanted, holder);
    if (write || wanted.type !== F_WRLCK) return write;
    this.#reads ??= new Index(this.#held.filter(({ type }) => type !== F_WRLCK));
    return this.#reads.find(wanted, holder);
  }

  /** Everybody who is in the way of `wanted`: linear. */
  *allInTheWay(wanted: Lock, holder: Holder): Generator<HeldLock> {
    for (const lock of this.#held) if (lock.holder !== holder && excludes(lock, wanted)) yield lock;
  }

  /** How `wanted` splits and merges its holder's own locks, as POSIX says. Nothing is changed yet. */
  change(wanted: Lock, holder: Holder): Change {
    const merged: HeldLock = { ...wanted, holder };
    const held: HeldLock[] = [];
    const pieces: HeldLock[] = [];
    let frees = false;
    for (const lock of this.#held) {
      if (lock.holder !== holder) {
        held.push(lock);
      } else if (lock.type === wanted.type) {
        if (lock.end + 1n < wanted.start || wanted.end + 1n < lock.start) {
          held.push(lock);
        } else {
          if (lock.start < merged.start) merged.start = lock.start;
          if (lock.end > merged.end) merged.end = lock.end;
        }
      } else if (!overlap(lock, wanted)) {
        held.push(lock);
      } else {
        frees ||= wanted.type !== F_WRLCK;
        if (lock.start < wanted.start) held.push({ ...lock, end: wanted.start - 1n });
        if (lock.end > wanted.end) pieces.push({ ...lock, start: wanted.end + 1n });
      }
    }
    if (merged.type !== F_UNLCK) pieces.push(merged);
    for (const piece of pieces) held.splice(firstFrom(held, piece.start), 0, piece);
    return { held, growth: held.length - this.#held.length, frees };
  }

  /** Takes over what {@link change} gave, or any locks in the order of their first bytes. */
  replace(held: HeldLock[]): void {
    this.#held = held;
    this.#reads = this.#writes = undefined;
    this.#isFresh = true;
  }
}

/** Locks in the order of their first bytes, with what it takes to find one of another holder among them. */
class Index {
  readonly #locks: readonly HeldLock[];
  /** For each the next one of another holder. */
  readonly #nextOther: number[];
  /** Of each and those before it: the one that ends last, and of the other holders' the one that does. */
  readonly #last: HeldLock[] = [];
  readonly #lastOther: (HeldLock | undefined)[] = [];

  constructor(locks: readonly HeldLock[]) {
    this.#locks = locks;
    this.#nextOther = new Array<number>(locks.length);
    for (let n = locks.length - 1, other = locks.length; n >= 0; n--) {
      if (n + 1 < locks.length && locks[n + 1]!.holder !== locks[n]!.holder) other = n + 1;
      this.#nextOther[n] = other;
    }
    let last = locks[0];
    let lastOther: HeldLock | undefined;
    for (const lock of locks) {
      if (lock.holder === last!.holder) {
        if (lock.end > last!.end) last = lock;
      } else if (lock.end > last!.end) {
        lastOther = last;
        last = lock;
      } else if (!lastOther || lock.end > lastOther.end) {
        lastOther = lock;
      }
      this.#last.push(last!);
      this.#lastOther.push(lastOther);
    }
  }

  /** One that overlaps `range` and is not `holder`'s. */
  find({ start, end }: Lock, holder: Holder): HeldLock | undefined {
    const locks = this.#locks;
    const first = firstFrom(locks, start);
    if (first > 0) {
      const last = this.#last[first - 1]!;
      const reaching = last.holder === holder ? this.#lastOther[first - 1] : last;
      if (reaching && reaching.end >= start) return reaching;
    }
    const candidate = first < locks.length && locks[first]!.holder === holder ? this.#nextOther[first]! : first;
    const found = locks[candidate];
    return found && found.start <= end ? found : undefined;
  }
}

/** The first position in `locks` that begins at byte `start` or later. */
function firstFrom(locks: readonly HeldLock[], start: bigint): number {
  let low = 0;
  let high = locks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (locks[middle]!.start < start) low = middle + 1;
    else high = middle;
  }
  return low;
}
