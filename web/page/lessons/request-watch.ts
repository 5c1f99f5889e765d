import type { GuestView } from '../../embed/connection.ts';
import type { RequestRow } from '../../protocol.ts';

/** Which requests a guest's driver has made since a step began. */
export class RequestWatch {
  /** Numbers of the last request that was seen, and of the last one before the step; undefined until they are known. */
  #last: number | undefined;
  #after: number | undefined;
  /** The guest that these numbers are of. */
  #guest: GuestView | undefined;

  /** What happens from now on will be seen: what is there before it has been counted. */
  get isReady(): boolean {
    return this.#after !== undefined;
  }

  /** A step begins, which is about this guest. */
  begin(guest: GuestView | undefined): void {
    this.#after = guest === this.#guest ? this.#last : undefined;
  }

  end(): void {
    this.#last = this.#after = this.#guest = undefined;
  }

  /** Those since the step began, oldest first. Undefined if `isOver` when the answer comes. */
  async look(guest: GuestView, isOver: () => boolean): Promise<RequestRow[] | undefined> {
    await guest.api.inspector.record(true, 'lesson');
    if (guest !== this.#guest) this.#last = this.#after = undefined;
    this.#guest = guest;
    const { last, rows } = await guest.api.inspector.requestsAfter(this.#after ?? Infinity);
    if (isOver()) return undefined;
    this.#last = last || (this.#last ?? 0);
    this.#after ??= this.#last;
    return rows;
  }
}
