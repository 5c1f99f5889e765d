import { F_RDLCK, F_UNLCK, F_WRLCK } from '../../device/fs/constants.ts';
import type { Lock } from '../../device/fs/locks.ts';

/** Bytes of a file; the last one stands for all that follow, so only a lock to the end of the file has it. */
export const BYTES = 16;

interface Waiter {
  id: number;
  lock: Lock;
}

const ownerOf = ({ space, session, owner }: Lock) => `${space} ${session} ${owner}`;
const fileOf = ({ space, ino }: Lock) => `${space} ${ino}`;

/**
 * Locks as their definition says: for each owner, file and byte what is held. Everything is looked through again and again. It knows
 * no limits.
 */
export class ModelLocks {
  /** By file and owner, what each byte is locked for. */
  readonly held = new Map<string, Map<string, number[]>>();
  queue: Waiter[] = [];
  granted: number[] = [];
  #next = 1;

  #bytes(lock: Lock): number[] {
    const owners = this.held.get(fileOf(lock)) ?? new Map<string, number[]>();
    this.held.set(fileOf(lock), owners);
    const bytes = owners.get(ownerOf(lock)) ?? Array<number>(BYTES).fill(F_UNLCK);
    owners.set(ownerOf(lock), bytes);
    return bytes;
  }

  #range({ space, start, end }: Lock): [number, number] {
    return space === 'flock' ? [0, BYTES] : [Number(start), Math.min(BYTES, Number(end) + 1)];
  }

  #set(lock: Lock): void {
    this.#bytes(lock).fill(lock.type, ...this.#range(lock));
  }

  /** Owners whose held locks exclude `lock`. */
  #blockers(lock: Lock): string[] {
    const [from, to] = this.#range(lock);
    return [...(this.held.get(fileOf(lock)) ?? [])]
      .filter(
        ([owner, bytes]) =>
          owner !== ownerOf(lock) &&
          bytes.slice(from, to).some((type) => type === F_WRLCK || (type === F_RDLCK && lock.type === F_WRLCK)),
      )
      .map(([owner]) => owner);
  }

  #holdsAny(owner: string): boolean {
    return [...this.held.values()].some((owners) => owners.get(owner)?.some((type) => type !== F_UNLCK));
  }

  #excludes(a: Lock, b: Lock): boolean {
    const [[from, to], [start, end]] = [this.#range(a), this.#range(b)];
    return (
      fileOf(a) === fileOf(b) &&
      ownerOf(a) !== ownerOf(b) &&
      (a.type === F_WRLCK || b.type === F_WRLCK) &&
      from < end &&
      start < to
    );
  }

  #mayHave(waiter: Waiter): boolean {
    if (this.#blockers(waiter.lock).length) return false;
    const earlier = this.queue.slice(0, this.queue.includes(waiter) ? this.queue.indexOf(waiter) : undefined);
    return this.#holdsAny(ownerOf(waiter.lock)) || !earlier.some(({ lock }) => this.#excludes(lock, waiter.lock));
  }

  #grant(): void {
    for (
      let next = this.queue.find((waiter) => this.#mayHave(waiter));
      next;
      next = this.queue.find((waiter) => this.#mayHave(waiter))
    ) {
      this.queue.splice(this.queue.indexOf(next), 1);
      this.#set(next.lock);
      this.granted.push(next.id);
    }
  }

  #isDeadlock(lock: Lock): boolean {
    const seen = new Set<string>();
    const visit = (wanted: Lock): boolean =>
      this.#blockers(wanted).some((blocker) => {
        if (blocker === ownerOf(lock)) return true;
        if (seen.has(blocker)) return false;
        seen.add(blocker);
        return this.queue.some((waiter) => ownerOf(waiter.lock) === blocker && visit(waiter.lock));
      });
    return visit(lock);
  }

  getlk(lock: Lock): boolean {
    return this.#blockers(lock).length > 0;
  }

  setlk(lock: Lock): boolean {
    if (lock.space === 'flock') this.#set({ ...lock, type: F_UNLCK });
    const isFree = lock.type === F_UNLCK || !this.#blockers(lock).length;
    if (isFree) this.#set(lock);
    this.#grant();
    return isFree;
  }

  setlkw(lock: Lock): number | undefined | 'EDEADLK' {
    if (lock.type === F_UNLCK) return void this.setlk(lock);
    if (lock.space === 'flock') this.#set({ ...lock, type: F_UNLCK });
    const waiter = { id: this.#next, lock };
    if (this.#mayHave(waiter)) {
      this.#set(lock);
      this.#grant();
      return undefined;
    }
    if (lock.space === 'posix' && this.#isDeadlock(lock)) {
      this.#grant();
      return 'EDEADLK';
    }
    this.#next++;
    this.queue.push(waiter);
    this.#grant();
    return waiter.id;
  }

  /** Those who wait have other numbers now. */
  renumber(numbers: ReadonlyMap<number, number>): void {
    for (const waiter of this.queue) waiter.id = numbers.get(waiter.id)!;
    this.#next = this.queue.length + 1;
  }

  cancel(id: number): boolean {
    const found = this.queue.findIndex((waiter) => waiter.id === id);
    if (found >= 0) this.queue.splice(found, 1);
    this.#grant();
    return found >= 0;
  }

  releaseOwner(lock: Lock): void {
    this.held.get(fileOf(lock))?.delete(ownerOf(lock));
    this.#grant();
  }

  releaseSession(session: string): void {
    this.queue = this.queue.filter(({ lock }) => lock.session !== session);
    for (const owners of this.held.values())
      for (const owner of owners.keys()) if (owner.split(' ')[1] === session) owners.delete(owner);
    this.#grant();
  }

  /** "file owner byte type" of everything that is held. */
  list(): string[] {
    return [...this.held]
      .flatMap(([file, owners]) =>
        [...owners].flatMap(([owner, bytes]) =>
          bytes.flatMap((type, byte) => (type === F_UNLCK ? [] : [`${file}|${owner}|${byte}|${type}`])),
        ),
      )
      .sort();
  }
}

/** The same of a table's locks. */
export function listLocks(locks: Iterable<Readonly<Lock>>): string[] {
  return [...locks]
    .flatMap((lock) => {
      const end = lock.end >= BigInt(BYTES) ? BYTES - 1 : Number(lock.end);
      return Array.from(
        { length: end - Number(lock.start) + 1 },
        (_, n) => `${fileOf(lock)}|${ownerOf(lock)}|${Number(lock.start) + n}|${lock.type}`,
      );
    })
    .sort();
}
