import { MAX_MESSAGE, MAX_STRANGER_MESSAGE, type MigrationChannel, MigrationError } from './channel.ts';

/** What carries pieces of bytes whole and in order, and takes as many as it is given. */
export interface Carrier {
  /** Takes a buffer, the carrier's from now on. */
  post(bytes: Uint8Array<ArrayBuffer>): void;
  /** Called once, when the channel is closed here or by what the other side has sent. */
  close(): void;
}

/** First byte of a piece: a message follows, or one was taken, or there won't be any more. */
const MESSAGE = 1;
const TAKEN = 2;
const CLOSED = 3;
/** Messages that are on their way at once, or wait to be taken. */
const WINDOW = 16;

/** A piece that has come, as far as it can be judged by itself. @throws MigrationError */
function decodePiece(data: unknown, limit: number): { kind: number; message: Uint8Array } {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
  if (!(bytes instanceof Uint8Array) || !(bytes.buffer instanceof ArrayBuffer))
    throw new MigrationError('the other side sends something other than bytes: this is not a migration');
  const kind = bytes[0];
  if (kind !== MESSAGE && kind !== TAKEN && kind !== CLOSED)
    throw new MigrationError(
      'the other side does not speak this protocol, or belongs to another release: use the same release on both sides',
    );
  // A view brings along all of what it is a view of.
  if (bytes.buffer.byteLength > limit + 1 || (kind !== MESSAGE && bytes.length > 1))
    throw new MigrationError(`the other side sends ${bytes.buffer.byteLength - 1} bytes at once: ${limit} are allowed`);
  return { kind, message: bytes.subarray(1) };
}

/**
 * A channel over what holds nobody back by itself, as ports and WebSockets: each message is confirmed when it was taken, and only
 * {@link WINDOW} are sent without. A side that sends more, or confirms what was not sent, is hung up on.
 */
export class CreditChannel implements MigrationChannel {
  readonly isCaller: boolean | undefined;
  readonly #carrier: Carrier;
  readonly #received: Uint8Array[] = [];
  #limit = MAX_STRANGER_MESSAGE;
  #onWay = 0;
  #isClosed = false;
  #failure: MigrationError | undefined;
  #wake: () => void = () => {};
  #woken!: Promise<void>;

  constructor(carrier: Carrier, isCaller: boolean | undefined) {
    this.#carrier = carrier;
    this.isCaller = isCaller;
    this.#changed();
  }

  #changed(): void {
    this.#wake();
    this.#woken = new Promise((resolve) => (this.#wake = resolve));
  }

  /** What has come, whatever it is. Never throws. */
  readonly take = (data: unknown): void => {
    if (this.#isClosed) return;
    try {
      const { kind, message } = decodePiece(data, this.#limit);
      if (kind === CLOSED) this.end();
      else if (kind === MESSAGE) this.#push(message);
      else if (this.#onWay-- === 0) throw new MigrationError('the other side confirms a message that was not sent');
    } catch (error) {
      this.end(
        error instanceof MigrationError
          ? error
          : new MigrationError("the other side sends what can't be read", { cause: error }),
      );
    }
    this.#changed();
  };

  #push(message: Uint8Array): void {
    if (this.#received.length === WINDOW)
      throw new MigrationError('the other side keeps sending without waiting for confirmation');
    this.#received.push(message);
  }

  /** The carrier has ended, or is to: because of `failure`, if there is one. Never throws. */
  readonly end = (failure?: MigrationError): void => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failure = failure;
    if (failure) this.#received.length = 0;
    this.#carrier.close();
    this.#changed();
  };

  readonly send = async (message: Uint8Array): Promise<void> => {
    while (this.#onWay >= WINDOW && !this.#isClosed) await this.#woken;
    if (this.#isClosed) throw this.#failure ?? new MigrationError('the connection is closed');
    const piece = new Uint8Array(1 + message.length);
    piece[0] = MESSAGE;
    piece.set(message, 1);
    this.#onWay++;
    this.#post(piece);
  };

  readonly receive = async (): Promise<Uint8Array | undefined> => {
    while (!this.#received.length && !this.#isClosed) await this.#woken;
    const message = this.#received.shift();
    if (message && !this.#isClosed) this.#post(Uint8Array.of(TAKEN));
    if (!message && this.#failure) throw this.#failure;
    return message;
  };

  readonly admit = (): void => {
    this.#limit = MAX_MESSAGE;
  };

  readonly close = (): void => {
    if (!this.#isClosed) this.#post(Uint8Array.of(CLOSED));
    this.end();
  };

  /** A carrier that fails has ended. */
  #post(piece: Uint8Array<ArrayBuffer>): void {
    try {
      this.#carrier.post(piece);
    } catch (error) {
      this.end(new MigrationError(`the connection has failed: ${(error as Error).message}`, { cause: error }));
    }
  }
}
