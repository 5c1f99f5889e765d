import type { Emulator } from './types.ts';

type Listening = Parameters<Emulator['add_listener']>;

/** What listens to an emulator for whoever uses it now, so that it can be taken away again. To be made when all that belongs to the emulator listens. */
export class TenantListeners {
  /** Listens for the emulator itself: see {@link remove}. */
  readonly own: Pick<Emulator, 'add_listener'>;
  readonly #emulator: Pick<Emulator, 'remove_listener'>;
  #all: Listening[] = [];

  constructor(emulator: Emulator) {
    const { add_listener, remove_listener } = emulator;
    this.own = { add_listener: add_listener.bind(emulator) };
    this.#emulator = { remove_listener: remove_listener.bind(emulator) };
    emulator.add_listener = (...listening) => {
      this.#all.push(listening);
      add_listener.apply(emulator, listening);
    };
    emulator.remove_listener = (...listening) => {
      this.#all = this.#all.filter(([event, listener]) => event !== listening[0] || listener !== listening[1]);
      remove_listener.apply(emulator, listening);
    };
  }

  /** Removes all but those of {@link own}. */
  remove(): void {
    for (const listening of this.#all.splice(0)) this.#emulator.remove_listener(...listening);
  }
}
