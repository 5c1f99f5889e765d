import type { Socket } from 'node:net';
import type { Call } from './call.ts';
import { RemoteInput, RemoteOutput } from './remote-stdio.ts';
import { encodeFrame, FROM_CLIENT, FROM_DAEMON, type Frame, FrameReader, LONGEST } from './wire.ts';

/** Milliseconds that an accepted client has to say that it waits. */
const PATIENCE = 5000;
/** What a client passes on. */
const PASSED_ON = new Set(['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']);

/** One client whose command is run here: its streams, and its signals. */
export class Session {
  readonly stdin: RemoteInput;
  readonly stdout: RemoteOutput;
  readonly stderr: RemoteOutput;
  /** Called with the name of a signal that the client got. */
  onSignal: (name: NodeJS.Signals) => void = () => {};
  /** Called when the client has gone, or has said what none would. */
  onGone: () => void = () => {};
  readonly #socket: Socket;
  readonly #reader = new FrameReader(LONGEST);
  #hasGone = false;
  #isOver = false;
  #went: ((isThere: boolean) => void) | undefined;

  constructor(socket: Socket, { terminals, columns, rows }: Call) {
    this.#socket = socket;
    const [isIn, isOut, isErr] = terminals as [boolean, boolean, boolean];
    const size = isOut ? ([columns, rows] as const) : [];
    this.stdin = new RemoteInput(
      () => this.#send(FROM_DAEMON.WANT),
      (isRaw) => this.#send(FROM_DAEMON.RAW, Uint8Array.of(isRaw ? 1 : 0)),
      isIn,
    );
    this.stdout = new RemoteOutput((piece) => this.#send(FROM_DAEMON.STDOUT, piece), isOut, ...size);
    this.stderr = new RemoteOutput((piece) => this.#send(FROM_DAEMON.STDERR, piece), isErr, ...size);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', () => this.#gone()).on('close', () => this.#gone());
  }

  /** Whether the client has gone. */
  get hasGone(): boolean {
    return this.#hasGone;
  }

  /** Accepts the client. Returns whether it waits for its command now: otherwise it runs that itself. */
  accept(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#went?.(false), PATIENCE);
      this.#went = (isThere) => {
        this.#went = undefined;
        clearTimeout(timer);
        if (!isThere) this.#socket.destroy();
        resolve(isThere);
      };
      this.#send(FROM_DAEMON.ACCEPTED);
      if (this.#hasGone) this.#went(false);
    });
  }

  decline(reason: string): void {
    this.#isOver = true;
    this.#socket.end(encodeFrame(FROM_DAEMON.DECLINED, reason));
  }

  /** The last that the client is told. Settles when it has been sent, or cannot be. */
  async end(code: number): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.#hasGone) return;
    await new Promise<void>((resolve) => {
      this.#socket.once('close', resolve);
      this.#socket.end(encodeFrame(FROM_DAEMON.EXIT, Uint8Array.of(code)), resolve);
    });
  }

  #send(type: number, payload?: Uint8Array): void {
    if (!this.#isOver && !this.#hasGone) this.#socket.write(encodeFrame(type, payload));
  }

  #gone(): void {
    if (this.#hasGone) return;
    this.#hasGone = true;
    this.#socket.destroy();
    this.#went?.(false);
    for (const stream of [this.stdout, this.stderr]) stream.hangUp();
    this.stdin.finish();
    if (!this.#isOver) this.onGone();
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) if (!this.#take(frame)) return this.#gone();
    } catch {
      this.#gone();
    }
  }

  /** Returns false for what no client says now. */
  #take({ type, payload }: Frame): boolean {
    if (this.#went) {
      if (type !== FROM_CLIENT.GO) return false;
      this.#went(true);
      return true;
    }
    switch (type) {
      case FROM_CLIENT.WRITTEN:
        return this.#output(payload)?.wrote() ?? false;
      case FROM_CLIENT.LOST: {
        const [, code = '', message = ''] = /^.(\w{1,20}) ([\s\S]*)$/s.exec(payload.toString()) ?? [];
        this.#output(payload)?.lose(Object.assign(new Error(message), { code }));
        return code !== '';
      }
      case FROM_CLIENT.INPUT:
        return this.stdin.give(payload);
      case FROM_CLIENT.INPUT_END:
        this.stdin.finish();
        return true;
      case FROM_CLIENT.INPUT_FAILED:
        this.stdin.destroy(new Error(payload.toString()));
        return true;
      case FROM_CLIENT.SIGNAL: {
        const name = payload.toString();
        if (!PASSED_ON.has(name)) return false;
        this.onSignal(name as NodeJS.Signals);
        return true;
      }
      case FROM_CLIENT.RESIZE:
        return this.#resize(payload);
      default:
        return false;
    }
  }

  #output(payload: Buffer): RemoteOutput | undefined {
    return [undefined, this.stdout, this.stderr][payload[0]!];
  }

  #resize(payload: Buffer): boolean {
    if (payload.length !== 4) return false;
    const [columns, rows] = [payload.readUInt16LE(0), payload.readUInt16LE(2)];
    if (!columns || !rows) return false;
    for (const stream of [this.stdout, this.stderr]) {
      stream.columns = columns;
      stream.rows = rows;
      stream.emit('resize');
    }
    return true;
  }
}
