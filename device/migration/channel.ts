import type { Departure } from '../v86/lease.ts';

/**
 * A connection to the other side: messages of up to {@link MAX_MESSAGE} bytes, whole and in order. Sockets, pipes, WebSockets and
 * message ports are made into one by whoever has them. It need not be secret or safe: what goes over it is authenticated.
 *
 * Nothing that the other side sends makes a channel throw where nobody waits, or keep more than a few messages: what it may not send
 * ends the channel.
 */
export interface MigrationChannel {
  /** Whether this side has called the other, and so has to prove first that it knows the token. Default: the source has. */
  readonly isCaller?: boolean;
  /** Settles when more may be sent, so that no more is on its way than the connection takes. `message` is borrowed until then. */
  send(message: Uint8Array): Promise<void>;
  /**
   * The next message, the caller's; undefined when the connection has ended. Called again only when it has settled.
   *
   * @throws MigrationError when the other side has sent what is no message, or more than it may: the channel is closed.
   */
  receive(): Promise<Uint8Array | undefined>;
  /** The other side has proven who it is, and may send more than {@link MAX_STRANGER_MESSAGE} bytes at once from now on. */
  admit(): void;
  /** Ends the connection; what waits to be sent may be lost. */
  close(): void;
}

/** Bytes of a message. */
export const MAX_MESSAGE = 512 << 10;
/** Bytes of a message from a side that has not proven that it knows the token. */
export const MAX_STRANGER_MESSAGE = 128;

/** A migration, or its connection, has failed: the message says why. */
export class MigrationError extends Error {
  override readonly name: string = 'MigrationError';
}

/** The other side refuses, and says why. It has not started the machine, and never will. */
export class MigrationRefusedError extends MigrationError {
  override readonly name = 'MigrationRefusedError';
}

/**
 * The link broke after the order to go on was sent and before it was confirmed: the machine may run on the other side.
 * It is paused here, and can't be run. Ask the other side with `settleMigration`, or decide: it must run on one side only.
 */
export class MigrationUnknownError extends MigrationError {
  override readonly name = 'MigrationUnknownError';
  /** What the other side knows this migration by. */
  readonly id: string;
  readonly #departure: Departure;

  constructor(id: string, departure: Departure, cause: unknown) {
    super(
      'the link broke while the machine was being switched over: it may run on the other side, and is paused here; ask the other side, or look there, before you resume it here',
      { cause },
    );
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
