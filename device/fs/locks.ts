import { F_RDLCK, F_UNLCK, F_WRLCK } from './constants.ts';
import { EDEADLK, EINVAL, ENOLCK, FsError } from './errno.ts';

/** Last byte a lock can cover, `OFFSET_MAX` of the kernel: a lock to the end of file has it as its end. */
export const LOCK_END_MAX = 2n ** 63n - 1n;

/** flock(2) locks and fcntl(2) byte-range locks (POSIX and OFD alike) do not see each other. */
export type LockSpace = 'posix' | 'flock';

/** A lock that is held, or wanted. */
export interface Lock {
  space: LockSpace;
  ino: number;
  /** The FUSE session it belongs to: owners of different guests may have equal numbers. */
  session: string;
  /** `fuse_lk_in.owner`: a process's file table for POSIX locks, an open file for OFD and flock. */
  owner: bigint;
  /** The open file it was taken through: {@link LockTable.releaseHandle} drops it with that. */
  fh: bigint;
  pid: number;
  /** F_RDLCK or F_WRLCK; F_UNLCK in a request gives a range up. */
  type: number;
  /** First and last byte, 0 to {@link LOCK_END_MAX}. A flock lock always covers the whole file. */
  start: bigint;
  end: bigint;
}

export interface LockLimits {
  /** Locks one session may hold. Default: 4,096. */
  maxLocks?: number;
  /** Requests of one session that may wait. Default: 256. What a request costs at most grows with the product of both. */
  maxWaiters?: number;
}

interface Waiter {
  readonly id: number;
  readonly lock: Lock;
  granted: (() => void) | undefined;
}

/** The locks of one inode in one space. */
interface Area {
  held: Lock[];
  /** In the order of arrival. */
  queue: Waiter[];
}

export interface LockTableState {
  locks: Lock[];
  /** In the order of arrival. */
  waiters: { id: number; lock: Lock }[];
  nextWaiter: number;
}

declare const checked: unique symbol;
/** A state that {@link LockTable.checkState} has found sound. */
export type CheckedLockTableState = LockTableState & { [checked]: true };

/**
 * Who has which lock, and who waits for one. One table serves every session of a filesystem.
 *
 * Waiters are granted first come, first served: nobody who waits overtakes an earlier waiter that
 * wants a conflicting lock, except where the earlier one waits, in the end, for him. A request that
 * doesn't wait ({@link setlk}) takes what is free, as in Linux.
 *
 * OFD locks can't be told from POSIX locks in FUSE, so {@link setlkw} detects deadlocks of both.
 */
export class LockTable {
  readonly #maxLocks: number;
  readonly #maxWaiters: number;
  readonly #areas: Record<LockSpace, Map<number, Area>> = { posix: new Map(), flock: new Map() };
  readonly #waiters = new Map<number, Waiter>();
  /** Locks held, by session. */
  readonly #counts = new Map<string, number>();
  #nextWaiter = 1;
  /** Who has each session now: a restored one may have moved. */
  readonly #owners = new Map<string, object>();

  constructor({ maxLocks = 4096, maxWaiters = 256 }: LockLimits = {}) {
    this.#maxLocks = maxLocks;
    this.#maxWaiters = maxWaiters;
  }

  /** Every lock held. */
  *locks(): Generator<Readonly<Lock>> {
    for (const areas of Object.values(this.#areas)) for (const { held } of areas.values()) yield* held;
  }

  /** Every request that waits, in the order of arrival. */
  *waiters(): Generator<{ readonly id: number; readonly lock: Readonly<Lock> }> {
    yield* this.#waiters.values();
  }

  /** A lock that keeps `request` from being granted now: F_GETLK. Undefined when nothing does. */
  getlk(request: Lock): Readonly<Lock> | undefined {
    const wanted = normalize(request);
    return this.#areas[wanted.space].get(wanted.ino)?.held.find((lock) => conflicts(lock, wanted));
  }

  /**
   * Takes, converts or gives up a lock without waiting; false when another owner is in the way.
   * A flock conversion that fails has lost the old lock, as flock(2) says.
   *
   * @throws FsError ENOLCK at the session's limit, EINVAL for a range that is none.
   */
  setlk(request: Lock): boolean {
    const wanted = normalize(request);
    const area = this.#area(wanted);
    if (wanted.space === 'flock') this.#drop(area, (lock) => sameOwner(lock, wanted));
    if (wanted.type !== F_UNLCK && area.held.some((lock) => conflicts(lock, wanted))) {
      this.#grant(area);
      return false;
    }
    this.#apply(area, wanted);
    this.#grant(area);
    return true;
  }

  /**
   * Takes a lock now and returns undefined, or queues for it and returns the waiter's number, for
   * {@link cancel}. `granted` is called once, later, when the lock has been given.
   *
   * @throws FsError EDEADLK when the wait could never end, ENOLCK at one of the session's limits.
   */
  setlkw(request: Lock, granted: () => void): number | undefined {
    const lock = normalize(request);
    if (lock.type === F_UNLCK) {
      this.setlk(lock);
      return undefined;
    }
    const area = this.#area(lock);
    if (lock.space === 'flock') this.#drop(area, (held) => sameOwner(held, lock));
    const waiter: Waiter = { id: this.#nextWaiter, lock, granted };
    area.queue.push(waiter);
    if (this.#mayHave(area, waiter)) {
      area.queue.pop();
      this.#apply(area, lock);
      this.#grant(area);
      return undefined;
    }
    try {
      if (this.#countWaiters(lock.session) >= this.#maxWaiters) throw FsError.of(ENOLCK);
      if (lock.space === 'posix' && this.#waitsFor(waiter, lock, false)) throw FsError.of(EDEADLK);
    } catch (error) {
      area.queue.pop();
      this.#grant(area);
      throw error;
    }
    this.#waiters.set(waiter.id, waiter);
    this.#nextWaiter++;
    this.#grantEverywhere();
    return waiter.id;
  }

  /** Takes a waiter out of the queue: INTERRUPT. False when it has been granted, or never was. */
  cancel(id: number): boolean {
    const waiter = this.#waiters.get(id);
    if (!waiter) return false;
    this.#waiters.delete(id);
    const area = this.#area(waiter.lock);
    area.queue.splice(area.queue.indexOf(waiter), 1);
    this.#grant(area);
    return true;
  }

  /** Names what to call when a waiter that came with a restored state is granted. False when there is no such waiter. */
  resume(id: number, granted: () => void): boolean {
    const waiter = this.#waiters.get(id);
    if (waiter) waiter.granted = granted;
    return waiter !== undefined;
  }

  /** Gives up all that `owner` holds on an inode: FLUSH of its file table, RELEASE with FUSE_RELEASE_FLOCK_UNLOCK. */
  releaseOwner(space: LockSpace, ino: number, session: string, owner: bigint): void {
    this.#release(space, ino, (lock) => lock.session === session && lock.owner === owner);
  }

  /** Gives up all that was locked through `fh`: OFD locks have no other end, the kernel sends nothing for them. */
  releaseHandle(ino: number, session: string, fh: bigint): void {
    for (const space of ['posix', 'flock'] as const) this.#release(space, ino, (lock) => lock.session === session && lock.fh === fh);
  }

  /** Who has `session`: undefined when nobody does. */
  ownerOf(session: string): object | undefined {
    return this.#owners.get(session);
  }

  /** `owner` has `session` from now on; nobody with undefined. */
  setOwner(session: string, owner: object | undefined): void {
    if (owner) this.#owners.set(session, owner);
    else this.#owners.delete(session);
  }

  /** Gives up everything of a session, waiters included; those are never called. */
  releaseSession(session: string): void {
    this.replace(new Set([session]), [], []);
  }

  /**
   * Gives up everything of `sessions`, waiters included, which are never called, and the locks `lost` of others; puts `locks`, which
   * conflict with nothing that is left, in their place. Only then are those who wait granted what they may have.
   */
  replace(sessions: ReadonlySet<string>, lost: readonly Lock[], locks: readonly Lock[]): void {
    for (const waiter of [...this.#waiters.values()]) {
      if (!sessions.has(waiter.lock.session)) continue;
      this.#waiters.delete(waiter.id);
      const { queue } = this.#area(waiter.lock);
      queue.splice(queue.indexOf(waiter), 1);
    }
    for (const areas of Object.values(this.#areas)) for (const area of areas.values()) this.#drop(area, (lock) => sessions.has(lock.session));
    for (const lock of lost) this.#apply(this.#area(lock), { ...lock, type: F_UNLCK });
    for (const lock of locks) this.#put(lock);
    this.#grantEverywhere();
  }

  /** Plain data, a copy. */
  state(): LockTableState {
    return {
      locks: [...this.locks()].map((lock) => ({ ...lock })),
      waiters: [...this.#waiters.values()].map(({ id, lock }) => ({ id, lock: { ...lock } })),
      nextWaiter: this.#nextWaiter,
    };
  }

  /** @throws TypeError saying what is wrong with `state`. */
  static checkState(state: unknown): CheckedLockTableState {
    const { locks, waiters, nextWaiter } = (state ?? {}) as Partial<LockTableState>;
    if (!Array.isArray(locks) || !Array.isArray(waiters)) throw new TypeError('lock table: no lists of locks and waiters');
    if (!Number.isSafeInteger(nextWaiter) || nextWaiter! < 1) throw new TypeError(`lock table: nextWaiter is ${nextWaiter}`);
    locks.forEach((lock, index) => checkLock(lock, `lock ${index}`));
    const ids = new Set<number>();
    waiters.forEach((waiter, index) => {
      const id = (waiter as { id?: unknown } | null)?.id;
      if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 1 || id >= nextWaiter! || ids.has(id)) throw new TypeError(`lock table: waiter ${index} has id ${String(id)}`);
      ids.add(id);
      checkLock(waiter.lock, `waiter ${index}`);
    });
    const table = new LockTable({ maxLocks: Infinity });
    for (const [index, lock] of locks.entries()) {
      if (!table.setlk(lock)) throw new TypeError(`lock table: lock ${index} conflicts with another that is held`);
    }
    return state as CheckedLockTableState;
  }

  /** Replaces everything. Who has waiters in `state` calls {@link resume} for each before the next operation. */
  restore(state: CheckedLockTableState): void {
    for (const areas of Object.values(this.#areas)) areas.clear();
    this.#waiters.clear();
    this.#counts.clear();
    for (const lock of state.locks) this.#put(lock);
    for (const { id, lock } of state.waiters) {
      const waiter: Waiter = { id, lock: { ...lock }, granted: undefined };
      this.#waiters.set(id, waiter);
      this.#area(lock).queue.push(waiter);
    }
    this.#nextWaiter = state.nextWaiter;
  }

  #area({ space, ino }: Lock): Area {
    const areas = this.#areas[space];
    let area = areas.get(ino);
    if (!area) areas.set(ino, (area = { held: [], queue: [] }));
    return area;
  }

  #release(space: LockSpace, ino: number, which: (lock: Lock) => boolean): void {
    const area = this.#areas[space].get(ino);
    if (area && this.#drop(area, which)) this.#grant(area);
    if (area && area.held.length + area.queue.length === 0) this.#areas[space].delete(ino);
  }

  #drop(area: Area, which: (lock: Lock) => boolean): boolean {
    const before = area.held.length;
    area.held = area.held.filter((lock) => {
      const goes = which(lock);
      if (goes) this.#count(lock.session, -1);
      return !goes;
    });
    return area.held.length < before;
  }

  /** Takes a copy of `lock` that is nobody's yet, and in nobody's way. */
  #put(lock: Lock): void {
    this.#area(lock).held.push({ ...lock });
    this.#count(lock.session, 1);
  }

  #count(session: string, change: number): void {
    const count = (this.#counts.get(session) ?? 0) + change;
    if (count) this.#counts.set(session, count);
    else this.#counts.delete(session);
  }

  /** Puts `wanted` in, splitting and merging the owner's own locks as POSIX says. */
  #apply(area: Area, wanted: Lock): void {
    const merged = { ...wanted };
    const held: Lock[] = [];
    for (const lock of area.held) {
      if (!sameOwner(lock, wanted)) {
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
        if (lock.start < wanted.start) held.push({ ...lock, end: wanted.start - 1n });
        if (lock.end > wanted.end) held.push({ ...lock, start: wanted.end + 1n });
      }
    }
    if (merged.type !== F_UNLCK) held.push(merged);
    const growth = held.length - area.held.length;
    if (growth > 0 && (this.#counts.get(wanted.session) ?? 0) + growth > this.#maxLocks) throw FsError.of(ENOLCK);
    area.held = held;
    this.#count(wanted.session, growth);
  }

  #countWaiters(session: string): number {
    let count = 0;
    for (const { lock } of this.#waiters.values()) if (lock.session === session) count++;
    return count;
  }

  #grantEverywhere(): void {
    for (const areas of Object.values(this.#areas)) for (const area of areas.values()) this.#grant(area);
  }

  /** Gives every waiter its lock that may have it; tells them when the table is at rest. */
  #grant(area: Area): void {
    const given: Waiter[] = [];
    for (let at = 0; at < area.queue.length; ) {
      const waiter = area.queue[at]!;
      if (this.#mayHave(area, waiter)) {
        area.queue.splice(at, 1);
        this.#waiters.delete(waiter.id);
        this.#apply(area, waiter.lock);
        given.push(waiter);
        at = 0;
      } else {
        at++;
      }
    }
    for (const waiter of given) waiter.granted?.();
  }

  #mayHave(area: Area, waiter: Waiter): boolean {
    if (area.held.some((lock) => conflicts(lock, waiter.lock))) return false;
    for (const earlier of area.queue) {
      if (earlier === waiter) break;
      if (conflicts(earlier.lock, waiter.lock) && !this.#waitsFor(earlier, waiter.lock, true)) return false;
    }
    return true;
  }

  /** Whether `waiter` can't go on before `owner` gives something up. `queued`: counting turns in the queue, not only held locks. */
  #waitsFor(waiter: Waiter, owner: Lock, queued: boolean): boolean {
    const seen = new Set([waiter]);
    const followed = new Set<string>();
    for (const current of seen) {
      const area = this.#area(current.lock);
      const blockers = area.held.filter((lock) => conflicts(lock, current.lock));
      if (queued) {
        for (const earlier of area.queue) {
          if (earlier === current) break;
          if (conflicts(earlier.lock, current.lock)) blockers.push(earlier.lock);
        }
      }
      for (const blocker of blockers) {
        if (sameOwner(blocker, owner)) return true;
        const key = `${blocker.session} ${blocker.owner}`;
        if (followed.has(key)) continue;
        followed.add(key);
        for (const next of this.#waiters.values()) if (sameOwner(next.lock, blocker)) seen.add(next);
      }
    }
    return false;
  }
}

function normalize(request: Lock): Lock {
  if (request.start < 0n || request.end < request.start || request.end > LOCK_END_MAX) throw FsError.of(EINVAL);
  if (request.type !== F_RDLCK && request.type !== F_WRLCK && request.type !== F_UNLCK) throw FsError.of(EINVAL);
  return request.space === 'flock' ? { ...request, start: 0n, end: LOCK_END_MAX } : request;
}

function sameOwner(a: Lock, b: Lock): boolean {
  return a.owner === b.owner && a.session === b.session && a.space === b.space;
}

function overlap(a: Lock, b: Lock): boolean {
  return a.start <= b.end && b.start <= a.end;
}

function conflicts(a: Lock, b: Lock): boolean {
  return (a.type === F_WRLCK || b.type === F_WRLCK) && overlap(a, b) && !sameOwner(a, b);
}

function checkLock(lock: unknown, where: string): void {
  const { space, ino, session, owner, fh, pid, type, start, end } = (lock ?? {}) as Partial<Lock>;
  const sound =
    (space === 'posix' || space === 'flock') &&
    Number.isSafeInteger(ino) &&
    typeof session === 'string' &&
    typeof owner === 'bigint' &&
    typeof fh === 'bigint' &&
    Number.isInteger(pid) &&
    (type === F_RDLCK || type === F_WRLCK) &&
    typeof start === 'bigint' &&
    typeof end === 'bigint' &&
    start >= 0n &&
    start <= end &&
    end <= LOCK_END_MAX;
  if (!sound) throw new TypeError(`lock table: ${where} is malformed`);
}
