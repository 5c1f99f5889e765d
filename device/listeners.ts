/** Who wants to hear of something: each until he ends it. */
export class Listeners<Event> {
  #all: readonly ((event: Event) => void)[] = [];

  get isEmpty(): boolean {
    return this.#all.length === 0;
  }

  /** Calls `listener` with every event, until the function that this returns is called. */
  add(listener: (event: Event) => void): () => void {
    const own = (event: Event) => listener(event);
    this.#all = [...this.#all, own];
    return () => {
      this.#all = this.#all.filter((other) => other !== own);
    };
  }

  tell(event: Event): void {
    for (const listener of this.#all) listener(event);
  }
}
