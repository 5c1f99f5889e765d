import type { LitElement, ReactiveController } from 'lit';
import type { Connection, GuestView } from '../../embed/connection.ts';

/** Milliseconds. */
export const POLL_INTERVAL = 300;

/** A view of one guest. */
export interface GuestElement extends LitElement {
  connection: Connection;
  guest: GuestView;
}

/** Looks at a guest again and again while its view can be seen, at another guest at once; one look at a time. */
export class Poll implements ReactiveController {
  readonly #view: GuestElement;
  readonly #look: (guest: GuestView) => Promise<void>;
  #guest: GuestView | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #isBusy = false;

  /** What `look` throws is shown to the visitor, and ends the polling; but a guest that was closed meanwhile can't answer. */
  constructor(view: GuestElement, look: (guest: GuestView) => Promise<void>) {
    this.#view = view;
    this.#look = look;
    view.addController(this);
  }

  hostConnected(): void {
    this.#timer = setInterval(() => void this.now(), POLL_INTERVAL);
  }

  hostUpdated(): void {
    if (this.#guest === this.#view.guest) return;
    this.#guest = this.#view.guest;
    void this.now();
  }

  hostDisconnected(): void {
    clearInterval(this.#timer);
  }

  /** Looks at once, unless it does already. */
  async now(): Promise<void> {
    if (this.#isBusy || document.hidden || !this.#view.checkVisibility()) return;
    const { guest, connection } = this.#view;
    this.#isBusy = true;
    try {
      await this.#look(guest);
    } catch (error) {
      if (!connection.has(guest)) return;
      clearInterval(this.#timer);
      connection.report(`The inspector has stopped: ${(error as Error).message}`);
    } finally {
      this.#isBusy = false;
    }
  }
}
