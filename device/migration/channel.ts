import type { Departure } from '../v86/lease.ts';

/**
 * A connection to the other side: messages of up to a few MiB, whole and in order. Sockets, pipes, WebSockets and
 * message ports are made into one by whoever has them. It need not be secret or safe: see {@link Link}.
 */
export interface MigrationChannel {
  /** Settles when more may be sent, so that no more is on its way than the connection takes. `message` is borrowed until then. */
  send(message: Uint8Array): Promise<void>;
  /** The next message, the caller's; undefined when the connection has ended. Called again only when it has settled. */
  receive(): Promise<Uint8Array | undefined>;
  close(): void;
}

export class MigrationError extends Error {
  override readonly name: string = 'MigrationError';
}

/** The other side refuses, and says why. It has not started the machine, and never will. */
export class MigrationRefusedError extends MigrationError {
  override readonly name = 'MigrationRefusedError';
}

/**
 * The link broke after the order to go on was sent and before it was confirmed: the machine may run on the other side.
 * It stands still here, and can't be run. Ask the other side with `settleMigration`, or decide: it must run on one side only.
 */
export class MigrationUnknownError extends MigrationError {
  override readonly name = 'MigrationUnknownError';
  /** What the other side knows this migration by. */
  readonly id: string;
  readonly #departure: Departure;

  constructor(id: string, departure: Departure, cause: unknown) {
    super('the link broke when the machine was being switched over: it may run on the other side, and stands still here; ask the other side, or look there, before you let it go on here', { cause });
    this.id = id;
    this.#departure = departure;
  }

  /** Lets the machine go on here. Only when it does not run on the other side. @throws MachineStateError when that was decided otherwise, or it was stopped. */
  resume(): void {
    this.#departure.keep();
  }

  /** The machine runs on the other side, and never here again. @throws MachineError when it was resumed. */
  handOver(): void {
    this.#departure.handOver();
  }
}
