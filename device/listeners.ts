/** Who wants to hear of something: each until he ends it. */
export class Listeners<Event> {
  readonly #all = new Set<(event: Event) => void>();
  #tell: ((event: Event) => void) | undefined;

  /** Calls `listener` with every event, until the function that this returns is called. */
  add(listener: (event: Event) => void): () => void {
    const own = (event: Event) => listener(event);
    this.#all.add(own);
    this.#tell = this.#tellAll;
    return () => {
      this.#all.delete(own);
      if (this.#all.size === 0) this.#tell = undefined;
    };
  }

  /** Tells all of them; undefined while there are none, so that no event is made in vain. */
  get tell(): ((event: Event) => void) | undefined {
    return this.#tell;
  }

  readonly #tellAll = (event: Event): void => {
    for (const listener of this.#all) listener(event);
  };
}
