import { copyOf } from '../../../device/bytes.ts';
import { VmError } from '../errors.ts';
import { type Output, type Stream, TO_GUEST } from './frames.ts';
import type { GuestProcess, OutputListener } from './guest-process.ts';
import { type SignalName, signalNumber } from './signals.ts';

/** Bytes of output on their way at once. */
export const OUTPUT_WINDOW = 1 << 20;
/** Bytes of stdin that the guest holds for a process that does not read. */
const INPUT_WINDOW = 65536;
/** What the agent answers for an id that it does not know. */
const ESRCH = 3;
/** With an errno: it is the working directory's. */
const DIRECTORY_FAILED = 0x10000;

/** What a process sends through its agent. */
interface Link {
  send(type: number, payload?: Uint8Array): void;
  sendInput(data: Uint8Array): void;
  /** Lets it write so many bytes more. */
  grant(bytes: number): unknown;
  forget(): void;
  /** Leaves it to others, with what nobody has heard of it, unless another session has it. */
  leave(unheard: Output[]): unknown;
  /** What tells why it could not be started. */
  describe(errno: number, isDirectory: boolean): Error;
}

interface PendingInput {
  data: Uint8Array;
  taken: () => void;
  lost: (error: Error) => void;
}

/** A process in the guest, as {@link GuestProcess} says, and what the agent tells of it. */
export class Process implements GuestProcess {
  readonly id: number;
  readonly exited: Promise<number>;
  pid: number | undefined;
  readonly #link: Link;
  #settle!: { resolve: (code: number) => void; reject: (error: Error) => void };
  readonly #callbacks: Record<Stream, OutputListener | undefined> = {
    stdout: undefined,
    stderr: undefined,
  };
  readonly #held: Record<Stream, Uint8Array[]> = { stdout: [], stderr: [] };
  readonly #input: PendingInput[] = [];
  /** Bytes of stdin that were sent and not taken yet. */
  #inputUnderWay = 0;
  readonly #inputUntaken: { length: number; taken: () => void; lost: (error: Error) => void }[] = [];
  #inputEnds = false;
  /** Nobody waits for it any more. */
  #isOver = false;
  /** The guest has nothing of it any more. */
  #isEnded = false;

  constructor(id: number, link: Link) {
    this.id = id;
    this.#link = link;
    this.exited = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.exited.catch(() => {});
  }

  get onStdout(): OutputListener | undefined {
    return this.#callbacks.stdout;
  }

  set onStdout(callback) {
    this.#listen('stdout', callback);
  }

  get onStderr(): OutputListener | undefined {
    return this.#callbacks.stderr;
  }

  set onStderr(callback) {
    this.#listen('stderr', callback);
  }

  #listen(stream: Stream, callback: OutputListener | undefined): void {
    this.#callbacks[stream] = callback;
    if (!callback) return;
    for (const data of this.#held[stream].splice(0)) this.#deliver(stream, data);
  }

  write(data: Uint8Array | string): Promise<void> {
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : copyOf(data);
    if (this.#isOver || this.#inputEnds) return Promise.reject(new Error('the process takes no more input'));
    return new Promise((taken, lost) => {
      this.#input.push({ data: bytes, taken, lost });
      this.#feed();
    });
  }

  closeStdin(): void {
    this.#inputEnds = true;
    this.#feed();
  }

  #feed(): void {
    while (this.#input.length && this.#inputUnderWay < INPUT_WINDOW) {
      const { data, taken, lost } = this.#input[0]!;
      const part = data.subarray(0, INPUT_WINDOW - this.#inputUnderWay);
      const isLast = part.length === data.length;
      this.#link.sendInput(part);
      this.#inputUnderWay += part.length;
      this.#inputUntaken.push({ length: part.length, taken: isLast ? taken : () => {}, lost });
      if (isLast) this.#input.shift();
      else this.#input[0]!.data = data.subarray(part.length);
    }
    this.#settleInput();
    if (this.#inputEnds && this.#input.length === 0 && !this.#isOver) {
      this.#link.send(TO_GUEST.END_INPUT);
    }
  }

  /** The guest may count in what somebody else has sent, before a snapshot. */
  inputTaken(count: number): void {
    const own = Math.min(count, this.#inputUnderWay);
    this.#inputUnderWay -= own;
    for (let left = own; left > 0 && this.#inputUntaken.length; ) {
      const first = this.#inputUntaken[0]!;
      const part = Math.min(left, first.length);
      first.length -= part;
      left -= part;
      this.#settleInput();
    }
    if (this.#input.length) this.#feed();
  }

  #settleInput(): void {
    while (this.#inputUntaken[0]?.length === 0) this.#inputUntaken.shift()!.taken();
  }

  kill(signal: SignalName | number = 'SIGTERM'): void {
    this.#link.send(TO_GUEST.KILL, words(signalNumber(signal)));
  }

  resize(columns: number, rows: number): void {
    this.#link.send(TO_GUEST.RESIZE, words(columns, rows));
  }

  detach(): void {
    this.#isEnded = true;
    this.lose(new Error('the process was detached'));
    this.#link.leave(this.held);
    this.#held.stdout = [];
    this.#held.stderr = [];
  }

  /** What it has written and nobody has heard yet. */
  get held(): Output[] {
    return (['stdout', 'stderr'] as const).flatMap((stream) => this.#held[stream].map((bytes) => ({ stream, bytes })));
  }

  /** Lets it write, besides `before`, which it has written already. */
  open(before: Output[] = []): void {
    const written = before.reduce((sum, { bytes }) => sum + bytes.length, 0);
    this.#link.grant(Math.max(0, OUTPUT_WINDOW - written));
    for (const { stream, bytes } of before) this.output(stream, bytes);
  }

  fail(reason: number): void {
    const errno = reason & 0xffff;
    this.lose(
      errno === ESRCH
        ? new VmError('guest', 'there is no such process in the guest: it has ended, or never existed')
        : this.#link.describe(errno, (reason & DIRECTORY_FAILED) !== 0),
    );
    this.#link.forget();
  }

  output(stream: Stream, data: Uint8Array): void {
    if (this.#callbacks[stream]) this.#deliver(stream, data);
    else this.#held[stream].push(data);
  }

  #deliver(stream: Stream, data: Uint8Array): void {
    const taken = () => {
      if (!this.#isEnded) this.#link.grant(data.length);
    };
    try {
      const taking = this.#callbacks[stream]!(data);
      if (!(taking instanceof Promise)) return taken();
      taking.then(taken, (error: Error) => {
        this.#give(error);
        taken();
      });
    } catch (error) {
      this.#give(error as Error);
      taken();
    }
  }

  /** Ends it, because who listens to it has failed. */
  #give(error: Error): void {
    this.kill('SIGKILL');
    this.lose(error);
    this.#callbacks.stdout = this.#callbacks.stderr = () => {};
  }

  end(code: number): void {
    this.#isEnded = true;
    this.#link.send(TO_GUEST.CLOSE);
    this.#link.forget();
    this.#settle.resolve(code);
    this.#over(new Error('the process has ended'));
  }

  lose(error: Error): void {
    this.#settle.reject(error);
    this.#over(error);
  }

  #over(error: Error): void {
    this.#isOver = true;
    for (const { lost } of [...this.#input.splice(0), ...this.#inputUntaken.splice(0)]) lost(error);
  }
}

export function words(...values: number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values).buffer);
}
