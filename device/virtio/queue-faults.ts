/** Which interrupts get lost. */
interface LostInterrupts {
  /** Of this queue, by its index. Default: of any. */
  queue?: number;
  /** How many are raised first. Default: 0. */
  after?: number;
  /** How many of the others are not. Default: all. */
  count?: number;
}

/**
 * Lets a device's queues go wrong on purpose, for those who test drivers. No part of the device's state: resets and restores change nothing of it, snapshots have
 * nothing of it.
 */
export class QueueFaults {
  readonly #stall: (queue: number) => () => void;
  /** What is still to come of each. */
  readonly #losses: { queue: number | undefined; after: number; count: number }[] = [];

  /** `stall`: see {@link QueueFaults.stall}. */
  constructor(stall: (queue: number) => () => void) {
    this.#stall = stall;
  }

  /** Takes nothing more out of queue `queue`, kicked or not, until the function that this returns is called. What was taken before is answered. */
  stall(queue: number): () => void {
    return this.#stall(queue);
  }

  /**
   * Puts chains into the used ring and does not tell the driver, which asked for it. With VIRTIO_F_EVENT_IDX that asks for no other until it has looked
   * by itself. Returns what ends that. @throws RangeError for what means nothing.
   */
  loseInterrupts({ queue, after = 0, count = Infinity }: LostInterrupts = {}): () => void {
    if (!(after >= 0 && count >= 0)) throw new RangeError('`after` and `count` of lost interrupts are 0 or more');
    const added = { queue, after, count };
    this.#losses.push(added);
    return () => {
      const at = this.#losses.indexOf(added);
      if (at >= 0) this.#losses.splice(at, 1);
    };
  }

  /** To be called before queue `queue` interrupts. Returns whether that one is lost. */
  loses(queue: number): boolean {
    for (const loss of this.#losses) {
      if (loss.count <= 0 || (loss.queue !== undefined && loss.queue !== queue) || loss.after-- > 0) continue;
      loss.count--;
      return true;
    }
    return false;
  }
}
