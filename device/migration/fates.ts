import { MigrationError } from './channel.ts';

/** What becomes of a machine that was accepted: it was started there, or never will be. */
export type Fate = 'started' | 'never';

/** More are not accepted, since none is ever forgotten. */
export const MAX_FATES = 100_000;
/** As `crypto.randomUUID` makes them. */
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Whether this can be the id of a migration. What can't is known nowhere. */
export function isMigrationId(id: unknown): id is string {
  return typeof id === 'string' && ID.test(id);
}

/**
 * What became of each machine that was accepted, by its migration's id. Nothing is ever forgotten: the other side may ask at any time, and
 * goes on with its machine when it is told `never`. Where it outlives its process, several may have the same one.
 */
export interface FateStore {
  /**
   * Takes down that a machine was accepted. It is kept for good when this settles.
   *
   * @throws MigrationError when that can't be, or the id was here before.
   */
  accept(id: string): Promise<void>;
  /**
   * Decides what becomes of one that was accepted. Whoever is first decides for good, in one step, whatever asks at the same time.
   *
   * @returns what was decided, by this or before, kept for good; undefined for an id that was never accepted here.
   */
  decide(id: string, fate: Fate): Promise<Fate | undefined>;
}

/** Lasts as long as its process. */
export class MemoryFates implements FateStore {
  readonly #fates = new Map<string, Fate | 'accepted'>();
  readonly #capacity: number;

  /** `capacity`: how many are kept; more are not accepted. */
  constructor(capacity = MAX_FATES) {
    this.#capacity = capacity;
  }

  async accept(id: string): Promise<void> {
    checkRoom(this.#fates.size, this.#capacity);
    if (this.#fates.has(id)) throw new MigrationError('this migration is on record already: begin another one');
    this.#fates.set(id, 'accepted');
  }

  async decide(id: string, fate: Fate): Promise<Fate | undefined> {
    const known = this.#fates.get(id);
    if (known !== 'accepted') return known;
    this.#fates.set(id, fate);
    return fate;
  }
}

/** @throws MigrationError when `count` are as many as are kept. */
export function checkRoom(count: number, capacity: number): void {
  if (count >= capacity)
    throw new MigrationError(
      `${capacity} migrations are on record, and none of them can be forgotten yet: keep the records in a new place`,
    );
}
