import type { Turns } from '../../device/virtio/turns.ts';

/** An event loop and a clock that go on when they are told. */
export class FakeTurns implements Turns {
  time = 0;
  running = true;
  #later: (() => void)[] = [];

  now(): number {
    return this.time;
  }

  later(action: () => void): void {
    this.#later.push(action);
  }

  isRunning(): boolean {
    return this.running;
  }

  /** One turn; false when there was nothing to do. */
  turn(): boolean {
    const actions = this.#later;
    this.#later = [];
    for (const action of actions) action();
    return actions.length > 0;
  }

  /** As many turns as there is something to do for; returns how many. */
  finish(): number {
    let count = 0;
    while (this.turn()) if (++count > 100_000) throw new Error('the event loop never comes to rest');
    return count;
  }
}
