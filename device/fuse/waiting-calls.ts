import { EINTR } from '../fs/errno.ts';
import type { Call } from './call.ts';
import { ReplyWriter } from './codec.ts';
import type { FuseRequest } from './request.ts';

/** Calls when it is time to answer: at once, or when a machine that is paused runs again. */
export type Deliver = (action: () => void) => void;

/** What is done when an answer comes. */
interface Ending<A> {
  /** Returns the reply's length in bytes. */
  reply(answer: A): number;
  /** Returns the reply's length in bytes. */
  refuse(error: unknown): number;
  /** The request has ended before: nobody gets the answer. */
  drop(answer: A): void;
}

/** The requests of a session whose filesystem answers later. There are no more of them than the queues have room for. */
export class WaitingCalls {
  readonly #calls = new Set<Call>();
  readonly #deliver: Deliver;
  readonly #reply = new ReplyWriter(0);
  #settled: (() => void)[] = [];

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  /** What has begun to change something, as the guest asked for it: WRITE, RENAME. */
  get changing(): string[] {
    return [...this.#calls].flatMap(({ operation }) => (operation?.changes ? [operation.name] : []));
  }

  /** Settles when nothing is being changed. */
  settled(): Promise<void> {
    return this.changing.length === 0 ? Promise.resolve() : new Promise((resolve) => this.#settled.push(resolve));
  }

  /** Keeps a call until its answer has come. */
  add<A>(call: Call, answer: PromiseLike<A>, { reply, refuse, drop }: Ending<A>): void {
    call.keep();
    this.#calls.add(call);
    const settle = (finish: () => number, ignore: () => void) =>
      this.#deliver(() => {
        if (!this.#calls.has(call)) {
          ignore();
        } else {
          const length = finish();
          this.#remove(call);
          call.request.complete(length);
        }
        call.finish();
      });
    answer.then(
      (value) =>
        settle(
          () => reply(value),
          () => drop(value),
        ),
      (error: unknown) =>
        settle(
          () => refuse(error),
          () => {},
        ),
    );
  }

  /** Who has not begun to change anything is answered EINTR; what comes of the others is not known yet. */
  interrupt(unique: bigint): void {
    for (const call of this.#calls) {
      if (call.header.unique !== unique || call.operation?.changes) continue;
      this.#remove(call);
      call.isOver = true;
      const { request } = call;
      request.complete(this.#reply.error(request.sink, unique, EINTR));
    }
  }

  /** Forgets a request, without a reply. */
  abandon(request: FuseRequest): void {
    for (const call of this.#calls) if (call.request === request) this.#forget(call);
  }

  /** Forgets all. */
  end(): void {
    for (const call of this.#calls) this.#forget(call);
  }

  #forget(call: Call): void {
    call.isOver = true;
    this.#remove(call);
  }

  #remove(call: Call): void {
    this.#calls.delete(call);
    if (this.#settled.length === 0 || this.changing.length) return;
    const settled = this.#settled;
    this.#settled = [];
    for (const resolve of settled) resolve();
  }
}
