import { copyOf } from '../../../device/bytes.ts';
import { errnoName } from '../../../device/fs/errno.ts';
import { joinSignals } from '../../../device/join-signals.ts';
import { VmError } from '../errors.ts';
import { unlessAborted } from '../unless-aborted.ts';
import { asUser } from './as-user.ts';
import type { AgentChannel } from './channel.ts';
import { commandError, encodeCommand } from './command.ts';
import { type ExecOptions, type ExecOutput, runToEnd } from './exec.ts';
import {
  encodeFrame,
  type Frame,
  FrameReader,
  idOf,
  LONGEST_TO_GUEST,
  MAX_TO_GUEST,
  type Output,
  TO_GUEST,
  TO_HOST,
} from './frames.ts';
import type { GuestProcess, SpawnOptions } from './guest-process.ts';
import { Process, words } from './process.ts';
import { type Beginning, encodeRenewal, type Renewal, renewalFailure } from './renewal.ts';
import { HOST, type Surroundings } from './surroundings.ts';
import { type Unheard, WaitingOutput } from './waiting-output.ts';

export { type AgentChannel, uartChannel } from './channel.ts';
export type { ExecOptions, ExecOutput, ExecResult } from './exec.ts';
export type { GuestProcess, RunningCommand, SpawnOptions } from './guest-process.ts';
export type { Renewal } from './renewal.ts';
export type { SignalName } from './signals.ts';

/** Bytes on their way to the guest at once: less than its terminal driver holds. */
const WINDOW = 2048;
/** Of an exit code. */
const MAX_CODE = 255;
const CREDIT_LENGTH = encodeFrame(TO_GUEST.CREDIT, 0, words(0)).length;
/** Milliseconds until HELLO is said again, and by how many longer each time. */
const FIRST_HELLO_PAUSE = 100;
const HELLO_PAUSE = 250;

const RESTARTED = 'the link to the guest was restarted: attach to the process again';

/** Runs commands in a guest, through the agent of `guest-images/` on a channel of its own. */
export class GuestAgent {
  readonly #channel: AgentChannel;
  readonly #surroundings: Surroundings;
  readonly #processes = new Map<number, Process>();
  readonly #reader: FrameReader;
  /** Frames; of a CREDIT the id, since how much it is of is known when it is sent. */
  readonly #outbox: (Uint8Array | number)[] = [];
  /** By process: bytes of output that it will be told it may send, and that it was told and has not sent. */
  readonly #owed = new Map<number, number>();
  readonly #credit = new Map<number, number>();
  /** Processes that were left, and how many bytes the guest will have taken when it knows: until then they may send what they were allowed to. */
  readonly #left: { id: number; at: number }[] = [];
  readonly #waiting = new WaitingOutput();
  readonly #lists: { resolve: (ids: number[]) => void; reject: (error: Error) => void; isAwaited: boolean }[] = [];
  /** Those who wait until the guest has taken so many bytes. */
  readonly #settling: { at: number; resolve: () => void }[] = [];
  #session = 0;
  /** The session that {@link ready} waits for. */
  #beginning: Beginning | undefined;
  /** Why there is no link. */
  #lost: Error | undefined;
  /** Bytes sent in this session, and how many of them the guest has taken. */
  #sent = 0;
  #taken = 0;
  /** Milliseconds since what is being received came. */
  #age = 0;

  constructor(channel: AgentChannel, surroundings = HOST) {
    this.#channel = channel;
    this.#surroundings = surroundings;
    this.#reader = new FrameReader({
      onFrame: (frame) => this.#receive(frame),
      onEarlyOutput: (id, output) => {
        if (!this.#waiting.addEarly(id, output)) this.#lie('its processes sent more than they were allowed to');
      },
      onNoise: () => this.#lie("something other than the agent's frames arrived on its serial port"),
    });
    channel.onData((bytes, age = 0) => {
      this.#age = age;
      this.#reader.push(bytes);
    });
  }

  /**
   * What nobody has heard of all that the guest has sent: to be kept with it when it is copied, moved or frozen, and given to {@link follow}
   * where it goes on. A copy; undefined when it is not known.
   */
  unheard(): Unheard | undefined {
    this.#channel.flush();
    const { begun } = this.#reader;
    const held = [...this.#processes].map(([id, process]) => [id, process.held] as const);
    return begun && { begun, output: this.#waiting.all(held) };
  }

  /**
   * The guest is another one now, and has not run since `unheard` (borrowed) was what nobody had heard. That, and what its processes write before
   * the next session, is for those who attach to them then; where it is undefined it is lost.
   */
  follow(unheard: Unheard | undefined): void {
    this.#channel.flush();
    this.lose(new Error(RESTARTED));
    this.#waiting.adopt(unheard?.output ?? []);
    this.#reader.follow(unheard?.begun);
  }

  /**
   * Resolves when the guest's agent answers, and has renewed what `renewal` says: before it hears anything else. Call it again after a
   * restore: it starts a new session.
   */
  async ready(timeoutMs = 60_000, renewal?: Renewal): Promise<void> {
    this.#drop(new Error(RESTARTED));
    this.#lost = undefined;
    this.#waiting.expect();
    this.#session = this.#surroundings.random() >>> 1;
    this.#reader.seek(this.#session);
    const hello = encodeFrame(TO_GUEST.HELLO, this.#session);
    const started = performance.now();
    const begun = new Promise<void>((resolve, reject) => {
      this.#beginning = { renewal, isWelcome: false, resolve, reject };
    });
    this.#channel.write(hello);
    let stopRepeating = () => {};
    // Seldom, in the end: a guest that finds 128 KiB when it opens the port leaves some there, and then v86 interrupts it no more.
    const sayAgainIn = (pause: number) => {
      stopRepeating = this.#surroundings.later(pause, () => {
        // A guest that was in the middle of a frame has taken HELLO for the rest of it: end that.
        this.#channel.write(new Uint8Array(LONGEST_TO_GUEST));
        this.#channel.write(hello);
        sayAgainIn(pause + HELLO_PAUSE);
      });
    };
    sayAgainIn(FIRST_HELLO_PAUSE);
    const late = joinSignals([], timeoutMs);
    try {
      await unlessAborted(late.signal, begun);
    } catch (error) {
      if (!late.signal.aborted) throw error;
      throw new Error(`no answer from its agent within ${Math.round((performance.now() - started) / 1000)} s`);
    } finally {
      stopRepeating();
      late.release();
    }
  }

  /** Whether the guest has answered, and nothing has ended the link since. */
  get isReady(): boolean {
    return this.#session !== 0 && !this.#beginning && !this.#lost;
  }

  /** Whether somebody waits for the guest: for a session to begin, a process to end, or it to take what it was sent. */
  get isAwaited(): boolean {
    const { size } = this.#processes;
    return !!this.#beginning || size > 0 || this.#settling.length > 0 || this.#lists.some(({ isAwaited }) => isAwaited);
  }

  /** Settles when the guest has taken what it was sent until now, or has lost the link: what is in a snapshot then. */
  settled(): Promise<void> {
    const at = this.#sent + this.#outbox.reduce<number>((sum, frame) => sum + lengthOf(frame), 0);
    if (!this.isReady || at === this.#taken) return Promise.resolve();
    return new Promise((resolve) => this.#settling.push({ at, resolve }));
  }

  #settle(): void {
    // A CREDIT that nobody wants any more is not sent.
    const isAll = !this.isReady || (this.#outbox.length === 0 && this.#sent === this.#taken);
    while (this.#settling[0] && (isAll || this.#settling[0].at <= this.#taken)) this.#settling.shift()!.resolve();
  }

  /** Ends the link: whatever waits for the guest fails with `error`, and so does what is asked of it until {@link ready} is called again. */
  lose(error: Error): void {
    this.#drop(error);
    this.#waiting.clear();
    this.#reader.end();
  }

  #drop(error: Error): void {
    this.#lost = error;
    this.#beginning?.reject(error);
    this.#beginning = undefined;
    for (const process of this.#processes.values()) process.lose(error);
    this.#processes.clear();
    for (const { reject } of this.#lists.splice(0)) reject(error);
    this.#outbox.length = 0;
    this.#owed.clear();
    this.#credit.clear();
    this.#left.length = 0;
    this.#settle();
  }

  /** The agent is not what it should be, or something else in the guest writes to its port: what it says is not believed any more. */
  #lie(what: string): void {
    this.lose(
      new VmError(
        'guest',
        `the link to the guest's agent has ended: ${what}; the guest runs on, and can be asked again when a new session was begun`,
      ),
    );
  }

  /** Runs a command to its end. A string goes to `/bin/sh -c`, an array is run as it is. */
  exec(command: string | string[], options?: ExecOptions): Promise<ExecOutput> {
    return runToEnd(this, command, options);
  }

  spawn(command: string | string[], { env = {}, cwd = '/root', user, pty, isKept }: SpawnOptions = {}): GuestProcess {
    const argv = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
    const args = user === undefined ? argv : asUser(argv, user, env);
    const bytes = encodeCommand(cwd, args, env, { pty, isKept });
    const process = this.#add(this.#surroundings.random() >>> 1, (errno, isDirectory) =>
      commandError(args[0]!, cwd, errno, isDirectory),
    );
    this.#sendParts(TO_GUEST.PART, TO_GUEST.SPAWN, process.id, bytes);
    process.open();
    return process;
  }

  /** Ids of the processes that run, or have ended and nobody was told. `isAwaited`: see {@link isAwaited}. */
  list(isAwaited = true): Promise<number[]> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      this.#lists.push({ resolve, reject, isAwaited });
      this.#send(TO_GUEST.LIST, 0);
    });
  }

  /** Goes on with a process that was detached, or that another host process had started before a snapshot. */
  attach(id: number): GuestProcess {
    const process = this.#add(id);
    if (this.#lost) return process;
    process.open(this.#waiting.take(id));
    return process;
  }

  #add(
    id: number,
    describe: (errno: number, isDirectory: boolean) => Error = (errno) =>
      new VmError('guest', `the guest can't run the command: ${errnoName(errno)}`),
  ): Process {
    const session = this.#session;
    const process = new Process(id, {
      send: (type, payload) => this.#send(type, id, payload),
      sendInput: (data) => this.#sendParts(TO_GUEST.INPUT, TO_GUEST.INPUT, id, data),
      // What was taken in an earlier session must not let it write in this one, where nobody may listen.
      grant: (bytes) => this.#session === session && this.#grant(id, bytes),
      forget: () => void this.#processes.delete(id),
      leave: (unheard) => this.#processes.get(id) === process && this.#leave(id, unheard),
      describe,
    });
    if (this.#lost) process.lose(this.#lost);
    else this.#processes.set(id, process);
    return process;
  }

  #sendParts(part: number, last: number, id: number, bytes: Uint8Array): void {
    for (let at = 0; ; at += MAX_TO_GUEST) {
      const isLast = at + MAX_TO_GUEST >= bytes.length;
      this.#send(isLast ? last : part, id, bytes.subarray(at, at + MAX_TO_GUEST));
      if (isLast) return;
    }
  }

  #send(type: number, id: number, payload?: Uint8Array): void {
    if (this.#lost) return;
    this.#outbox.push(encodeFrame(type, id, payload));
    this.#pump();
  }

  #pump(): void {
    if (this.#beginning && !this.#beginning.isWelcome) return;
    while (this.#outbox.length && this.#sent + lengthOf(this.#outbox[0]!) - this.#taken <= WINDOW) {
      const next = this.#outbox.shift()!;
      const frame = typeof next === 'number' ? this.#encodeCredit(next) : next;
      if (!frame) continue;
      this.#sent += frame.length;
      if (frame[2] === TO_GUEST.CLOSE) this.#left.push({ id: idOf(frame), at: this.#sent });
      this.#channel.write(frame);
    }
  }

  /** However much it sends, and however little of what it is told it takes: one CREDIT of each process waits. */
  #grant(id: number, bytes: number): void {
    if (this.#lost) return;
    const owed = this.#owed.get(id);
    this.#owed.set(id, (owed ?? 0) + bytes);
    if (owed !== undefined) return;
    this.#outbox.push(id);
    this.#pump();
  }

  /** Undefined for a process that has ended meanwhile. */
  #encodeCredit(id: number): Uint8Array | undefined {
    const bytes = this.#owed.get(id);
    if (bytes === undefined) return undefined;
    this.#owed.delete(id);
    this.#credit.set(id, (this.#credit.get(id) ?? 0) + bytes);
    return encodeFrame(TO_GUEST.CREDIT, id, words(bytes));
  }

  /** What it was going to be allowed must not come before its CLOSE, which ends that, when it is attached to again. */
  #leave(id: number, unheard: Output[]): void {
    this.#processes.delete(id);
    for (const output of unheard) this.#waiting.add(id, output);
    const credit = this.#outbox.indexOf(id);
    if (credit >= 0) this.#outbox.splice(credit, 1);
    this.#owed.delete(id);
    this.#send(TO_GUEST.CLOSE, id);
  }

  #forgetCredit(id: number): void {
    this.#owed.delete(id);
    this.#credit.delete(id);
  }

  #output(id: number, { stream, bytes }: Output): void {
    const credit = this.#credit.get(id);
    // Nobody's, such as of a process that was attached to before the session.
    if (credit === undefined) return;
    if (bytes.length > credit) return this.#lie('a process sent more than it was allowed to');
    this.#credit.set(id, credit - bytes.length);
    const process = this.#processes.get(id);
    if (process) process.output(stream, copyOf(bytes));
    else this.#waiting.add(id, { stream, bytes });
  }

  /** Takes the guest's answer: the renewal goes before all that waits. */
  #welcome(payload: Uint8Array): void {
    const beginning = this.#beginning;
    if (!beginning || beginning.isWelcome) return;
    beginning.isWelcome = true;
    // What is still on its way is a repeated HELLO: the guest counts from the last one it takes.
    this.#sent = this.#taken = 0;
    const { clock, seed } = beginning.renewal ?? {};
    if (!clock && !seed) return this.#begin();
    try {
      this.#outbox.unshift(
        encodeFrame(TO_GUEST.RENEW, this.#session, encodeRenewal({ clock, seed }, payload, this.#age)),
      );
    } catch (error) {
      return this.#begin((error as Error).message);
    }
    this.#pump();
  }

  #begin(failure?: string): void {
    const { resolve, reject } = this.#beginning!;
    this.#beginning = undefined;
    void this.#waiting.keepKnown(() => this.list(false));
    if (failure === undefined) resolve();
    else reject(new Error(failure));
    this.#pump();
  }

  #receive({ type, id, payload }: Frame): void {
    const number = () => new DataView(payload.buffer, payload.byteOffset, payload.byteLength).getUint32(0, true);
    const process = this.#processes.get(id);
    switch (type) {
      case TO_HOST.WELCOME:
        if (id === this.#session) this.#welcome(payload);
        break;
      case TO_HOST.RENEWED:
        if (id === this.#session && this.#beginning?.isWelcome) this.#begin(renewalFailure(payload));
        break;
      case TO_HOST.TAKEN:
        this.#taken = Math.min(number(), this.#sent);
        while (this.#left[0] && this.#left[0].at <= this.#taken) {
          const { id: left } = this.#left.shift()!;
          if (!this.#processes.has(left)) this.#forgetCredit(left);
        }
        this.#pump();
        this.#settle();
        break;
      case TO_HOST.STARTED:
        if (process) process.pid = number();
        break;
      case TO_HOST.FAILED:
        this.#forgetCredit(id);
        process?.fail(number());
        break;
      case TO_HOST.OUTPUT:
        this.#output(id, { stream: 'stdout', bytes: payload });
        break;
      case TO_HOST.ERRORS:
        this.#output(id, { stream: 'stderr', bytes: payload });
        break;
      case TO_HOST.INPUT_TAKEN:
        process?.inputTaken(number());
        break;
      case TO_HOST.EXITED:
        if (number() > MAX_CODE) return this.#lie(`a process has ended with the code ${number()}`);
        this.#forgetCredit(id);
        process?.end(number());
        break;
      case TO_HOST.LISTED: {
        const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
        this.#lists.shift()?.resolve(Array.from({ length: payload.length / 4 }, (_, n) => view.getUint32(4 * n, true)));
        break;
      }
    }
  }
}

function lengthOf(frame: Uint8Array | number): number {
  return typeof frame === 'number' ? CREDIT_LENGTH : frame.length;
}
