import { excludes, type Lock, type LockSpace } from './lock.ts';
import type { Holder, LockSet } from './lock-set.ts';

/** Locks that a search for a deadlock looks at before it gives up: Linux does after 10 (MAX_DEADLK_ITERATIONS). */
const MAX_DEADLOCK_STEPS = 20_000;

/** One owner of one session in one space: while it has or wants locks. */
export interface Owner extends Holder {
  readonly key: string;
  readonly waiters: Set<Waiter>;
}

export interface Waiter {
  readonly id: number;
  readonly lock: Lock;
  readonly owner: Owner;
  readonly area: Area;
  granted: Granted | undefined;
  /** An earlier one that was in its way, perhaps no more. */
  behind: Waiter | undefined;
  isWaiting: boolean;
}

/** Told of a lock, or of the errno in its place. */
export type Granted = (errno: number) => void;

/** The locks of one inode in one space. */
export interface Area {
  readonly space: LockSpace;
  readonly ino: number;
  readonly locks: LockSet;
  /** In the order of arrival. */
  readonly queue: Waiter[];
}

/** Whether a waiter may have its lock now; also of one that is not in the queue yet. */
export function mayHave(waiter: Waiter): boolean {
  const { lock, owner, area } = waiter;
  if (area.locks.inTheWay(lock, owner)) return false;
  if (owner.held > 0) return true;
  if (waiter.behind?.isWaiting) return false;
  for (const earlier of area.queue) {
    if (earlier === waiter) break;
    if (earlier.owner === owner || !excludes(earlier.lock, lock)) continue;
    waiter.behind = earlier;
    return false;
  }
  return true;
}

/** Whether somebody whom `waiter` would wait for can't go on before its owner gives something up. */
export function isDeadlock({ area, lock, owner }: Waiter): boolean {
  if (owner.held === 0) return false;
  const followed = new Set<Holder>();
  const waits: Pick<Waiter, 'area' | 'lock' | 'owner'>[] = [{ area, lock, owner }];
  let steps = 0;
  for (const wait of waits) {
    steps += wait.area.locks.size;
    if (steps > MAX_DEADLOCK_STEPS) return false;
    for (const { holder } of wait.area.locks.allInTheWay(wait.lock, wait.owner)) {
      if (holder === owner) return true;
      if (followed.has(holder)) continue;
      followed.add(holder);
      waits.push(...(holder as Owner).waiters);
    }
  }
  return false;
}

/** Where an owner waits. */
export function areasOf({ waiters }: Owner): Area[] {
  return [...waiters].map(({ area }) => area);
}
