import { EINTR } from '../fs/errno.ts';
import { NotYet, type Wait } from '../fs/not-yet.ts';
import type { Call } from './call.ts';
import { ReplyWriter } from './codec.ts';
import { DEFERRED, type FuseRequest } from './request.ts';

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
  /** Serves the request once more, from its beginning. Returns the reply's length in bytes, or DEFERRED. */
  serve(): number;
}

/** A request that nothing has been done for. */
interface Parked {
  readonly unique: bigint;
  /** It is not served again. */
  cancel(): void;
}

const soon: Wait = (again) => {
  queueMicrotask(again);
  return () => {};
};

/** The requests of a session whose filesystem answers later. There are no more of them than the queues have room for. */
export class WaitingCalls {
  readonly #calls = new Set<Call>();
  readonly #parked = new Map<FuseRequest, Parked>();
  readonly #deliver: Deliver;
  readonly #reply = new ReplyWriter(0);
  #settled: (() => void)[] = [];

  constructor(deliver: Deliver) {
    this.#deliver = deliver;
  }

  /** Whether the machine runs, so that its memory may be written. */
  get isRunning(): boolean {
    let isRunning = false;
    this.#deliver(() => void (isRunning = true));
    return isRunning;
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
  add<A>(call: Call, answer: PromiseLike<A>, { reply, refuse, drop, serve }: Ending<A>): void {
    call.keep();
    this.#calls.add(call);
    const settle = (finish: () => number, ignore: () => void) =>
      this.#deliver(() => {
        if (!this.#calls.has(call)) {
          ignore();
        } else if (call.isLost) {
          ignore();
          this.#parkLater(call, soon, serve);
          return;
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
      (error: unknown) => {
        if (error instanceof NotYet && this.#calls.has(call) && !call.operation?.noReply)
          this.#parkLater(call, error.wait, serve);
        else
          settle(
            () => refuse(error),
            () => {},
          );
      },
    );
  }

  /** What was being done turned out not to have begun, or has to be done again. */
  #parkLater(call: Call, wait: Wait, serve: () => number): void {
    this.#remove(call);
    call.finish();
    this.park(call.request, call.header.unique, wait, serve);
  }

  /** Serves a request once more, from its beginning, when `wait` says that it is time. Nothing has been done for it: it need not be in a snapshot. */
  park(request: FuseRequest, unique: bigint, wait: Wait, serve: () => number): void {
    const serveNow = () => {
      if (this.#parked.get(request) !== parked) return DEFERRED;
      this.#parked.delete(request);
      request.source.rewind();
      return serve();
    };
    const again = () => {
      if (this.#parked.get(request) !== parked) return;
      if (request.serveAgain) {
        request.serveAgain(serveNow);
        return;
      }
      const length = serveNow();
      if (length !== DEFERRED) request.complete(length);
    };
    const parked: Parked = { unique, cancel: wait(() => this.#deliver(again)) };
    this.#parked.set(request, parked);
  }

  /** Who has not begun to change anything is answered EINTR; what comes of the others is not known yet. */
  interrupt(unique: bigint): void {
    for (const [request, parked] of this.#parked) {
      if (parked.unique !== unique) continue;
      this.#leave(request, parked);
      request.complete(this.#reply.error(request.sink, unique, EINTR));
    }
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
    const parked = this.#parked.get(request);
    if (parked) this.#leave(request, parked);
    for (const call of this.#calls) if (call.request === request) this.#forget(call);
  }

  /** Forgets all. */
  end(): void {
    for (const [request, parked] of this.#parked) this.#leave(request, parked);
    for (const call of this.#calls) this.#forget(call);
  }

  #leave(request: FuseRequest, parked: Parked): void {
    this.#parked.delete(request);
    parked.cancel();
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
