import { F_RDLCK, F_WRLCK } from './constants.ts';
import { LOCK_END_MAX, type Lock, ownerKey } from './lock.ts';
import { type HeldLock, type Holder, LockSet } from './lock-set.ts';

/** How many locks there may be. */
export interface LockLimits {
  /** Locks one session may hold; on one file all sessions may hold four times as many. Default: 4,096. */
  maxLocks?: number;
  /** Requests of one session that may wait; for one file four times as many. Default: 256. */
  maxWaiters?: number;
}

export interface LockTableState {
  locks: Lock[];
  /** In the order of arrival. */
  waiters: { id: number; lock: Lock }[];
  nextWaiter: number;
}

declare const checked: unique symbol;
/** A state that {@link checkLockState} has found sound. */
export type CheckedLockTableState = LockTableState & { [checked]: true };

/** Decides whether a table can have been in `state`. @throws TypeError saying what is wrong with it. */
export function checkLockState(state: unknown): CheckedLockTableState {
  const { locks, waiters, nextWaiter } = (state ?? {}) as Partial<LockTableState>;
  if (!Array.isArray(locks) || !Array.isArray(waiters))
    throw new TypeError('the lock table has no lists of locks and waiters');
  if (!Number.isSafeInteger(nextWaiter) || nextWaiter! < 1)
    throw new TypeError(`the lock table has the invalid nextWaiter ${nextWaiter}`);
  locks.forEach((lock, index) => checkLock(lock, `lock ${index}`));
  const ids = new Set<number>();
  waiters.forEach((waiter, index) => {
    const id = (waiter as { id?: unknown } | null)?.id;
    if (typeof id !== 'number' || !Number.isSafeInteger(id) || id < 1 || id >= nextWaiter! || ids.has(id))
      throw new TypeError(`waiter ${index} of the lock table has the invalid id ${String(id)}`);
    ids.add(id);
    checkLock(waiter.lock, `waiter ${index}`);
  });
  checkConflicts(locks);
  return state as CheckedLockTableState;
}

/** Says what of a checked state is more than the limits allow; undefined when nothing is. */
export function excessOf(
  { locks, waiters }: CheckedLockTableState,
  limits: { locks: number; waiters: number; perFile: number },
): string | undefined {
  for (const [what, list] of [
    ['locks', locks],
    ['waiters', waiters.map(({ lock }) => lock)],
  ] as const) {
    const counts = new Map<string, number>();
    for (const { session, space, ino } of list) {
      for (const [key, most, where] of [
        [session, limits[what], 'a session'],
        [`${space} ${ino}`, limits.perFile * limits[what], 'a file'],
      ] as const) {
        const count = (counts.get(key) ?? 0) + 1;
        if (count > most) return `${where} with more than ${most} ${what}`;
        counts.set(key, count);
      }
    }
  }
  return undefined;
}

function checkConflicts(locks: readonly Lock[]): void {
  const files = new Map<string, { lock: HeldLock; index: number }[]>();
  const holders = new Map<string, Holder>();
  locks.forEach((lock, index) => {
    const owner = ownerKey(lock);
    const holder = holders.get(owner) ?? { held: 0 };
    holders.set(owner, holder);
    const file = `${lock.space} ${lock.ino}`;
    const entry = { lock: { ...lock, holder }, index };
    const entries = files.get(file);
    if (entries) entries.push(entry);
    else files.set(file, [entry]);
  });
  for (const entries of files.values()) {
    const set = new LockSet();
    set.replace(entries.map(({ lock }) => lock).sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0)));
    for (const { lock, index } of entries) {
      if (set.inTheWay(lock, lock.holder))
        throw new TypeError(`lock ${index} of the lock table conflicts with another one`);
    }
  }
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
