import { F_UNLCK } from './constants.ts';
import { EDEADLK, ENOLCK, FsError } from './errno.ts';
import { copyOf, type Lock, type LockSpace, normalize, ownerKey } from './lock.ts';
import { type HeldLock, type Holder, LockSet } from './lock-set.ts';
import {
  type CheckedLockTableState,
  checkLockState,
  excessOf,
  type LockLimits,
  type LockTableState,
} from './lock-state.ts';

import { type Area, areasOf, type Granted, isDeadlock, mayHave, type Owner, type Waiter } from './lock-waiters.ts';

export { LOCK_END_MAX, type Lock, type LockSpace } from './lock.ts';
export type { CheckedLockTableState, LockLimits, LockTableState } from './lock-state.ts';

/** In place of the number of a waiter that came with a state: it has its lock, or can't wait for it. */
export const GRANTED = 0;
export const REFUSED = -1;

/** Sessions' worth of locks and waiters that one file may have: what a request costs grows with them. */
const SESSIONS_PER_FILE = 4;
/**
 * Who has which lock, and who waits for one. One table serves every session of a filesystem.
 *
 * Waiters are granted first come, first served: nobody who waits overtakes an earlier waiter that wants a conflicting lock, unless he
 * has a lock already, as others may be waiting for that. A request that doesn't wait ({@link setlk}) takes what is free, as in Linux.
 *
 * OFD locks can't be told from POSIX locks in FUSE, so {@link setlkw} detects deadlocks of both.
 */
export class LockTable {
  readonly #maxLocks: number;
  readonly #maxWaiters: number;
  readonly #areas: Record<LockSpace, Map<number, Area>> = { posix: new Map(), flock: new Map() };
  readonly #owners = new Map<string, Owner>();
  readonly #waiters = new Map<number, Waiter>();
  /** Locks held and requests that wait, by session. */
  readonly #counts = new Map<string, { locks: number; waiters: number }>();
  #nextWaiter = 1;
  /** Who has each session now: a restored one may have moved. */
  readonly #sessions = new Map<string, object>();

  constructor({ maxLocks = 4096, maxWaiters = 256 }: LockLimits = {}) {
    this.#maxLocks = maxLocks;
    this.#maxWaiters = maxWaiters;
  }

  /** Every lock held. */
  *locks(): Generator<Readonly<Lock>> {
    for (const { locks } of this.#allAreas()) yield* locks.held;
  }

  /** Every request that waits, in the order of arrival. */
  *waiters(): Generator<{ readonly id: number; readonly lock: Readonly<Lock> }> {
    yield* this.#waiters.values();
  }

  /** A lock that keeps `request` from being granted now: F_GETLK. Undefined when nothing does. @throws FsError EINVAL. */
  getlk(request: Lock): Readonly<Lock> | undefined {
    const wanted = normalize(request);
    const holder = this.#owners.get(ownerKey(wanted)) ?? NOBODY;
    return this.#areas[wanted.space].get(wanted.ino)?.locks.inTheWay(wanted, holder);
  }

  /**
   * Takes, converts or gives up a lock without waiting; false when another owner is in the way.
   * A flock conversion that fails has lost the old lock, as flock(2) says.
   *
   * @throws FsError ENOLCK at a limit, EINVAL for an invalid range.
   */
  setlk(request: Lock): boolean {
    const wanted = normalize(request);
    return this.#work(wanted, (area, owner) => {
      if (wanted.space === 'flock') this.#drop(area, (lock) => lock.holder === owner);
      if (wanted.type !== F_UNLCK && area.locks.inTheWay(wanted, owner)) return false;
      this.#apply(area, wanted, owner);
      return true;
    });
  }

  /**
   * Takes a lock now and returns undefined, or queues for it and returns the waiter's number, for {@link cancel}. `granted` is called
   * once, later: with 0 when the lock has been given, or with ENOLCK.
   *
   * @throws FsError EDEADLK when the wait could never end, ENOLCK at a limit, EINVAL for an invalid range.
   */
  setlkw(request: Lock, granted: Granted): number | undefined {
    const lock = normalize(request);
    if (lock.type === F_UNLCK) {
      this.setlk(lock);
      return undefined;
    }
    return this.#work(lock, (area, owner) => {
      if (lock.space === 'flock') this.#drop(area, (held) => held.holder === owner);
      const waiter: Waiter = { id: this.#nextWaiter, lock, owner, area, granted, behind: undefined, isWaiting: true };
      if (mayHave(waiter)) {
        this.#apply(area, lock, owner);
        return undefined;
      }
      if (this.#isCrowded(lock.session, area)) throw FsError.of(ENOLCK);
      if (lock.space === 'posix' && isDeadlock(waiter)) throw FsError.of(EDEADLK);
      this.#enqueue(waiter);
      this.#nextWaiter++;
      return waiter.id;
    });
  }

  /** Takes a waiter out of the queue: INTERRUPT. False when it has been granted, or never was. */
  cancel(id: number): boolean {
    const waiter = this.#waiters.get(id);
    if (!waiter) return false;
    this.#dequeue(waiter);
    this.#settle([waiter.area]);
    return true;
  }

  /** Names what to call when a waiter that came with a state is granted. False when there is no such waiter. */
  resume(id: number, granted: Granted): boolean {
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
    for (const space of ['posix', 'flock'] as const)
      this.#release(space, ino, (lock) => lock.session === session && lock.fh === fh);
  }

  /** Who has `session`: undefined when nobody does. */
  ownerOf(session: string): object | undefined {
    return this.#sessions.get(session);
  }

  /** `owner` has `session` from now on; nobody with undefined. */
  setOwner(session: string, owner: object | undefined): void {
    if (owner) this.#sessions.set(session, owner);
    else this.#sessions.delete(session);
  }

  /** Gives up everything of a session, waiters included; those are never called. */
  releaseSession(session: string): void {
    if (this.#counts.has(session)) this.replace(new Set([session]));
  }

  /**
   * Gives up everything of `sessions`, waiters included, which are never called, and the locks `lost` of others; puts `locks`, which
   * conflict with nothing that is left, in their place, and lets `waiters` wait behind those who wait already. Only then are those who wait granted
   * what they may have.
   *
   * Returns the new numbers of `waiters` by their old ones. Whoever has one calls {@link resume} before the next operation.
   */
  replace(
    sessions: ReadonlySet<string>,
    lost: readonly Lock[] = [],
    locks: readonly Lock[] = [],
    waiters: LockTableState['waiters'] = [],
  ): ReadonlyMap<number, number> {
    for (const waiter of [...this.#waiters.values()]) if (sessions.has(waiter.lock.session)) this.#dequeue(waiter);
    for (const area of this.#allAreas()) this.#drop(area, (lock) => sessions.has(lock.session));
    for (const lock of lost) this.#apply(this.#area(lock), { ...lock, type: F_UNLCK }, this.#owner(lock), Infinity);
    this.#put(locks);
    const numbers = new Map<number, number>();
    for (const { id, lock } of waiters) {
      const granted = (errno: number) => void numbers.set(id, errno ? REFUSED : GRANTED);
      numbers.set(id, this.#waitAgain(lock, granted));
    }
    this.#settle(this.#allAreas());
    return numbers;
  }

  #waitAgain(wanted: Lock, granted: Granted): number {
    const lock = copyOf(wanted);
    const area = this.#area(lock);
    if (this.#isCrowded(lock.session, area)) return REFUSED;
    const id = this.#nextWaiter++;
    this.#enqueue({ id, lock, owner: this.#owner(lock), area, granted, behind: undefined, isWaiting: true });
    return id;
  }

  /** Plain data, a copy. */
  state(): LockTableState {
    return {
      locks: [...this.locks()].map(copyOf),
      waiters: [...this.#waiters.values()].map(({ id, lock }) => ({ id, lock: copyOf(lock) })),
      nextWaiter: this.#nextWaiter,
    };
  }

  /** @throws TypeError saying what is wrong with `state`. */
  static checkState(state: unknown): CheckedLockTableState {
    return checkLockState(state);
  }

  /** What a checked state has more of than this table allows: "a session with more than 4096 locks"; undefined when nothing is. */
  excessOf(state: CheckedLockTableState): string | undefined {
    return excessOf(state, { locks: this.#maxLocks, waiters: this.#maxWaiters, perFile: SESSIONS_PER_FILE });
  }

  #allAreas(): Area[] {
    return [...this.#areas.posix.values(), ...this.#areas.flock.values()];
  }

  #area({ space, ino }: Lock): Area {
    const areas = this.#areas[space];
    let area = areas.get(ino);
    if (!area) areas.set(ino, (area = { space, ino, locks: new LockSet(), queue: [] }));
    return area;
  }

  #owner(lock: Lock): Owner {
    const key = ownerKey(lock);
    let owner = this.#owners.get(key);
    if (!owner) this.#owners.set(key, (owner = { key, held: 0, waiters: new Set() }));
    return owner;
  }

  /** Does what a request asks for, and gives those who wait what they may have then. Who has nothing in the end is forgotten. */
  #work<T>(lock: Lock, action: (area: Area, owner: Owner) => T): T {
    const area = this.#area(lock);
    const owner = this.#owner(lock);
    const { held } = owner;
    try {
      return action(area, owner);
    } finally {
      this.#settle(held === 0 && owner.held > 0 ? [area, ...areasOf(owner)] : [area]);
      this.#remember(owner);
    }
  }

  /** While it holds or wants something. */
  #remember(owner: Owner): void {
    if (owner.held > 0 || owner.waiters.size > 0) this.#owners.set(owner.key, owner);
    else this.#owners.delete(owner.key);
  }

  #release(space: LockSpace, ino: number, which: (lock: HeldLock) => boolean): void {
    const area = this.#areas[space].get(ino);
    if (!area) return;
    this.#drop(area, which);
    this.#settle([area]);
  }

  #drop(area: Area, which: (lock: HeldLock) => boolean): void {
    const kept = area.locks.held.filter((lock) => {
      const goes = which(lock);
      if (goes) {
        this.#count(lock.session, 'locks', -1);
        lock.holder.held--;
        this.#remember(lock.holder as Owner);
      }
      return !goes;
    });
    if (kept.length < area.locks.size) area.locks.replace(kept);
  }

  /** Takes copies of `locks` that are nobody's yet, and in nobody's way. */
  #put(locks: readonly Lock[]): void {
    const added = new Map<Area, HeldLock[]>();
    for (const lock of locks) {
      const area = this.#area(lock);
      const holder = this.#owner(lock);
      holder.held++;
      this.#count(lock.session, 'locks', 1);
      const held = added.get(area);
      if (held) held.push({ ...copyOf(lock), holder });
      else added.set(area, [{ ...copyOf(lock), holder }]);
    }
    for (const [area, held] of added)
      area.locks.replace(
        [...area.locks.held, ...held].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0)),
      );
  }

  #isCrowded(session: string, { queue }: Area): boolean {
    const waiting = this.#counts.get(session)?.waiters ?? 0;
    return waiting >= this.#maxWaiters || queue.length >= SESSIONS_PER_FILE * this.#maxWaiters;
  }

  #count(session: string, what: 'locks' | 'waiters', change: number): void {
    const count = this.#counts.get(session) ?? { locks: 0, waiters: 0 };
    count[what] += change;
    if (count.locks + count.waiters > 0) this.#counts.set(session, count);
    else this.#counts.delete(session);
  }

  /** Puts `wanted` in. Returns whether others may have more than before. @throws FsError ENOLCK, with nothing changed. */
  #apply(area: Area, wanted: Lock, owner: Owner, limit = this.#maxLocks): boolean {
    const { held, growth, frees } = area.locks.change(wanted, owner);
    const own = this.#counts.get(wanted.session)?.locks ?? 0;
    if (growth > 0 && (own + growth > limit || held.length > SESSIONS_PER_FILE * limit)) throw FsError.of(ENOLCK);
    area.locks.replace(held);
    owner.held += growth;
    this.#count(wanted.session, 'locks', growth);
    this.#remember(owner);
    return frees;
  }

  #enqueue(waiter: Waiter): void {
    waiter.area.queue.push(waiter);
    waiter.owner.waiters.add(waiter);
    this.#remember(waiter.owner);
    this.#waiters.set(waiter.id, waiter);
    this.#count(waiter.lock.session, 'waiters', 1);
  }

  #dequeue(waiter: Waiter): void {
    waiter.isWaiting = false;
    waiter.area.queue.splice(waiter.area.queue.indexOf(waiter), 1);
    waiter.owner.waiters.delete(waiter);
    this.#waiters.delete(waiter.id);
    this.#count(waiter.lock.session, 'waiters', -1);
    this.#remember(waiter.owner);
  }

  /**
   * Gives every waiter of `areas` its lock that may have it, the earliest first, and others who may overtake then; tells them when the
   * table is at rest.
   */
  #settle(areas: Iterable<Area>): void {
    const concerned = new Set(areas);
    const given: { waiter: Waiter; errno: number }[] = [];
    let waiters: Waiter[] = [];
    let next = 0;
    const startOver = () => {
      waiters = [...concerned].flatMap(({ queue }) => queue);
      if (concerned.size > 1) waiters.sort((a, b) => a.id - b.id);
      next = 0;
    };
    startOver();
    while (next < waiters.length) {
      const waiter = waiters[next++]!;
      if (!mayHave(waiter)) continue;
      const { owner, area, lock } = waiter;
      const isFirst = owner.held === 0;
      let errno = 0;
      let frees = false;
      this.#dequeue(waiter);
      try {
        frees = this.#apply(area, lock, owner);
      } catch (error) {
        errno = (error as FsError).code;
      }
      given.push({ waiter, errno });
      if (isFirst) for (const other of owner.waiters) concerned.add(other.area);
      if (frees || errno || (isFirst && owner.waiters.size)) startOver();
    }
    for (const area of concerned)
      if (area.locks.size + area.queue.length === 0) this.#areas[area.space].delete(area.ino);
    for (const { waiter, errno } of given) waiter.granted?.(errno);
  }
}

/** Holds nothing. */
const NOBODY: Holder = { held: 0 };
