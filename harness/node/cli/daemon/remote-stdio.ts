import { Readable, Writable } from 'node:stream';
import { PIECE } from './wire.ts';

/** stdout or stderr of a client: what is written is when the client has written it, and its errors are the client's. */
export class RemoteOutput extends Writable {
  readonly isTTY: boolean;
  columns: number | undefined;
  rows: number | undefined;
  readonly #send: (piece: Buffer) => void;
  /** Pieces that the client has not written. */
  #pending = 0;
  #written: ((error?: Error | null) => void) | undefined;
  #lost: Error | undefined;
  #isGone = false;

  constructor(send: (piece: Buffer) => void, isTTY: boolean, columns?: number, rows?: number) {
    super({ decodeStrings: true });
    this.#send = send;
    this.isTTY = isTTY;
    this.columns = columns;
    this.rows = rows;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.#lost || this.#isGone) return callback(this.#lost);
    this.#written = callback;
    this.#pending = Math.ceil(chunk.length / PIECE);
    if (!this.#pending) return this.#done();
    for (let at = 0; at < chunk.length; at += PIECE) this.#send(chunk.subarray(at, at + PIECE));
  }

  override _writev(chunks: { chunk: Buffer }[], callback: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), '', callback);
  }

  /** The client has written a piece. Returns false when there was none. */
  wrote(): boolean {
    if (!this.#pending) return false;
    if (--this.#pending === 0) this.#done();
    return true;
  }

  /** Nothing can be written any more, nor could what is being written: who writes is told. */
  lose(error: Error): void {
    this.#lost = error;
    this.#pending = 0;
    if (this.#written) this.#done(error);
  }

  /** The client has gone: what is written is nobody's. Its command is told by a signal, and not by an error before it can take that. */
  hangUp(): void {
    this.#isGone = true;
    this.#pending = 0;
    if (this.#written) this.#done();
  }

  #done(error?: Error): void {
    const written = this.#written!;
    this.#written = undefined;
    written(error);
  }
}

/** stdin of a client. */
export class RemoteInput extends Readable {
  readonly isTTY: boolean;
  readonly #want: () => void;
  readonly #setRaw: (isRaw: boolean) => void;
  #isWanted = false;
  #isFinished = false;

  constructor(want: () => void, setRaw: (isRaw: boolean) => void, isTTY: boolean) {
    super();
    this.#want = want;
    this.#setRaw = setRaw;
    this.isTTY = isTTY;
  }

  override _read(): void {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#want();
  }

  setRawMode(isRaw: boolean): this {
    this.#setRaw(isRaw);
    return this;
  }

  /** More of it, which is its own. Returns false when nobody has asked. */
  give(data: Buffer): boolean {
    if (!this.#isWanted) return false;
    this.#isWanted = false;
    this.push(data);
    return true;
  }

  /** That was all. */
  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.push(null);
  }
}
