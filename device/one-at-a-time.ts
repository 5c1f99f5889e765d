/** Asynchronous actions, one after the other in the order in which they are asked for. */
export class OneAtATime {
  /** The last one, and undefined when it has ended. */
  #last: Promise<void> | undefined;

  /** Begins `action` at once when nothing is under way, else when everything before it has ended, in whatever way. */
  run<T>(action: () => Promise<T>): Promise<T> {
    const result = this.#last === undefined ? action() : this.#last.then(action);
    const ended = result
      .then(
        () => {},
        () => {},
      )
      .then(() => {
        if (this.#last === ended) this.#last = undefined;
      });
    this.#last = ended;
    return result;
  }
}
