import type { ReactiveController, ReactiveControllerHost } from 'lit';

/** Milliseconds. */
const INTERVAL = 300;

/** Looks again and again while its element can be seen; the next time after the last has ended. */
export class Poll implements ReactiveController {
  readonly #host: ReactiveControllerHost & HTMLElement;
  readonly #look: () => Promise<void>;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isBusy = false;

  /** What `look` throws ends the polling: it says so itself where that matters. */
  constructor(host: ReactiveControllerHost & HTMLElement, look: () => Promise<void>) {
    this.#host = host;
    this.#look = look;
    host.addController(this);
  }

  hostConnected(): void {
    this.#timer = setInterval(() => void this.now(), INTERVAL);
    queueMicrotask(() => void this.now());
  }

  hostDisconnected(): void {
    clearInterval(this.#timer);
  }

  /** Looks at once, unless it does already. */
  async now(): Promise<void> {
    if (this.#isBusy || document.hidden || !this.#host.checkVisibility()) return;
    this.#isBusy = true;
    try {
      await this.#look();
    } catch {
      clearInterval(this.#timer);
    } finally {
      this.#isBusy = false;
    }
  }
}
