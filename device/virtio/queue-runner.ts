import type { DescriptorChain } from './descriptor-chain.ts';
import { DEFERRED } from './device.ts';
import type { Turns } from './turns.ts';
import type { Virtqueue } from './virtqueue.ts';

/** Milliseconds of one turn of the event loop that requests may take. */
export const TURN_BUDGET = 15;
/** From so many on it is worth knowing when the turn ends. */
const NOTABLE = 1;

interface Parts {
  queues: readonly Virtqueue[];
  serve(queueIndex: number, chain: DescriptorChain): number;
  /** Whether the device may touch its queues. */
  isLive(): boolean;
  turns: Turns;
  /** Milliseconds, see {@link TURN_BUDGET}; with 0 each request has a turn of its own. */
  budget: number;
}

/**
 * Serves the queues of one device in rounds: the last queue first and the hiprio queue at the end, so that what interrupts a
 * request finds it, and of each queue at most as many chains as it can hold, so that none keeps another waiting for ever.
 *
 * What kicks take of one turn of the event loop is limited, however many there are: a guest can kick thousands of times before
 * v86 gives way. The rest of the round follows in a later turn, while the machine runs. Until then chains stay available, and a
 * driver that looks for EVENT_IDX sends no kicks for more (2.7.10).
 */
export class QueueRunner {
  readonly #parts: Parts;
  readonly #serve: Parts['serve'];
  /** Chains that each queue may still have served in the round that is under way. */
  readonly #left: number[];
  #isRound = false;
  /** The queue that the turn begins with. */
  #first = 0;
  /** There is to be another round: somebody kicked since this one began, or a queue had more than this one serves of it. */
  #isMore = false;
  /** Of this turn, in milliseconds. */
  #spent = 0;
  #served = 0;
  #startedAt = 0;
  #now = 0;
  /** Chains were served since the clock was looked at. */
  #isStale = false;
  #isOver = false;
  /** Somebody will tell when the turn has ended. */
  #isMarked = false;
  /** There is more to serve, in the next turn. */
  #isOwed = false;
  readonly #holders = new Set<unknown>();
  /** Indices of queues that are left alone, once for each that stalls them. */
  readonly #stalled: number[] = [];
  /** Chains that are with the device and have to be served once more. */
  readonly #again: { queueIndex: number; chain: DescriptorChain; serve: () => number }[] = [];

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#left = parts.queues.map(() => 0);
    this.#serve = (queueIndex, chain) => {
      this.#served++;
      this.#isStale = true;
      return parts.serve(queueIndex, chain);
    };
  }

  /** Whether available chains wait for a later turn. */
  get isPending(): boolean {
    return this.#isOwed;
  }

  /** Serves what is available in any queue, kicked or not, as far as the turn allows; nothing while held. */
  run(): void {
    if (this.isHeld) return;
    if (this.#isRound) this.#isMore = true;
    if (this.#served > 0 && this.#spent >= this.#parts.budget) {
      this.#isOwed = true;
      this.#mark();
    } else {
      this.#goOn();
    }
  }

  #goOn(): void {
    const { turns, budget } = this.#parts;
    this.#startedAt = this.#now = turns.now();
    this.#isOver = false;
    this.#isOwed = (this.#again.length > 0 && !this.#serveAllAgain()) || this.#serveRound();
    if (this.#isStale) this.#readClock();
    this.#spent += this.#now - this.#startedAt;
    if (this.#isOwed || this.#spent >= Math.min(budget, NOTABLE)) this.#mark();
  }

  /** Goes on with the round, or begins one. Returns whether there may be more to serve. */
  #serveRound(): boolean {
    const { queues, isLive } = this.#parts;
    if (!this.#isRound) this.#begin();
    for (let index = this.#next(); index !== undefined && isLive(); index = this.#next()) {
      if (this.#stalled.includes(index)) {
        this.#left[index] = 0;
        continue;
      }
      const queue = queues[index]!;
      const limit = this.#left[index]!;
      const count = queue.run(this.#serve, limit, this.#mayGoOn);
      if (!queue.isDrained && count < limit) {
        this.#left[index] = limit - count;
        this.#first = index - 1;
        return true;
      }
      this.#left[index] = 0;
      this.#isMore ||= !queue.isDrained;
    }
    const isMore = this.#isMore && isLive();
    this.forget();
    return isMore;
  }

  #begin(): void {
    const { queues } = this.#parts;
    for (let index = 0; index < queues.length; index++) this.#left[index] = queues[index]!.size;
    this.#first = queues.length - 1;
    this.#isRound = true;
    this.#isMore = false;
  }

  /** The queue whose turn it is: from {@link #first} on downwards, and round; the hiprio queue when no other is left. */
  #next(): number | undefined {
    const left = this.#left;
    for (let n = 0; n < left.length - 1; n++) {
      const index = 1 + ((this.#first - 1 - n + 2 * (left.length - 1)) % (left.length - 1));
      if (left[index]! > 0) return index;
    }
    return left[0]! > 0 ? 0 : undefined;
  }

  readonly #mayGoOn = (): boolean => {
    if (this.#served === 0) return true;
    if (this.#isStale) this.#readClock();
    return !this.#isOver;
  };

  #readClock(): void {
    const { turns, budget } = this.#parts;
    this.#isStale = false;
    this.#now = turns.now();
    this.#isOver = this.#spent + this.#now - this.#startedAt >= budget;
  }

  #mark(): void {
    if (this.#isMarked) return;
    this.#isMarked = true;
    const { turns } = this.#parts;
    turns.later(() => {
      this.#isMarked = false;
      this.#spent = this.#served = 0;
      if (this.#isOwed && !this.isHeld && turns.isRunning()) this.#goOn();
    });
  }

  /** Ends the round. Nothing is owed any more: a driver that has reset the device kicks again. */
  forget(): void {
    this.#isRound = this.#isMore = this.#isOwed = false;
  }

  /** Looks at every queue in a later turn: what is in them was restored. */
  lookSoon(): void {
    this.forget();
    this.#isOwed = true;
    this.#mark();
  }

  /** Serves a chain once more that is in flight already, in a later turn: what has answered it is gone. */
  askAgain(queueIndex: number, chain: DescriptorChain): void {
    this.#again.push({ queueIndex, chain, serve: () => this.#parts.serve(queueIndex, chain) });
    this.lookSoon();
  }

  /** Has a chain that is in flight served by `serve`, as far as the turn allows; not while held. */
  serveAgain(queueIndex: number, chain: DescriptorChain, serve: () => number): void {
    this.#again.push({ queueIndex, chain, serve });
    this.run();
  }

  /** Returns whether none is left. */
  #serveAllAgain(): boolean {
    while (this.#mayGoOn()) if (!this.#serveOneAgain()) return true;
    return this.#again.length === 0;
  }

  /** Returns whether there was a chain to serve. */
  #serveOneAgain(): boolean {
    const { queues, isLive } = this.#parts;
    while (this.#again.length && isLive()) {
      const { queueIndex, chain, serve } = this.#again.shift()!;
      // A reset may have taken it away, or an interrupt.
      if (!queues[queueIndex]!.inFlight.has(chain)) continue;
      this.#served++;
      this.#isStale = true;
      const written = serve();
      if (written !== DEFERRED) chain.complete(written);
      return true;
    }
    return false;
  }

  get isHeld(): boolean {
    return this.#holders.size > 0;
  }

  /** Serves nothing, until each of those who hold it has released it. */
  hold(holder: unknown): void {
    this.#holders.add(holder);
  }

  /** Serves one chain, the one that would be first. Returns whether there was one. */
  step(): boolean {
    const { queues, isLive } = this.#parts;
    if (this.#serveOneAgain()) return true;
    for (let index = queues.length - 1; index >= 0 && isLive(); index--)
      if (!this.#stalled.includes(index) && queues[index]!.run(this.#serve, 1)) return true;
    return false;
  }

  release(holder: unknown): void {
    this.#holders.delete(holder);
    this.#runAgain();
  }

  /** Serves nothing more of one queue, until the function that this returns is called. */
  stall(queueIndex: number): () => void {
    this.#stalled.push(queueIndex);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#stalled.splice(this.#stalled.indexOf(queueIndex), 1);
      this.#runAgain();
    };
  }

  #runAgain(): void {
    if (this.isHeld) return;
    if (this.#parts.turns.isRunning()) this.run();
    else this.lookSoon();
  }
}
