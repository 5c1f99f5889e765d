import { connect, type Socket } from 'node:net';
import { makeCall } from './call.ts';
import { encodeFrame, FROM_CLIENT, FROM_DAEMON, type Frame, FrameReader, LONGEST, PIECE } from './wire.ts';

/** Milliseconds until a daemon that does not answer is left alone: one that makes a machine ready says so after less. */
const PATIENCE = 3000;
/** As `OWN_FAILURE`, which is among much that is not loaded here. */
const FAILED = 125;
const SIGNALS: Partial<Record<NodeJS.Signals, number>> = { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 };
/** The first is the command's, the second kills it, with the third nobody waits for it: see `passingSignals`. */
const MAX_SIGNALS = 4;
const OUTPUTS = [undefined, 'stdout', 'stderr'] as const;

/**
 * Has a command run by the daemon at `path`, on this process's stdio. Returns its exit code; undefined when nothing was done, because the daemon
 * does not run this one: `--verbose` tells why.
 */
export function runByDaemon(path: string, args: string[]): Promise<number | undefined> {
  const own = args.includes('--') ? args.slice(0, args.indexOf('--')) : args;
  const isVerbose = own.some((word) => word === '-v' || word === '--verbose');
  return new Promise((resolve) => new Client(path, args, isVerbose, resolve));
}

class Client {
  readonly #socket: Socket;
  readonly #reader = new FrameReader(LONGEST);
  readonly #isVerbose: boolean;
  readonly #resolve: (code: number | undefined) => void;
  readonly #timer: NodeJS.Timeout;
  #isRunning = false;
  #isOver = false;
  #signals = 0;
  #reads = false;
  /** Outputs whose errors their callbacks tell. */
  readonly #watched = new Set<NodeJS.WriteStream>();

  constructor(path: string, args: string[], isVerbose: boolean, resolve: (code: number | undefined) => void) {
    this.#isVerbose = isVerbose;
    this.#resolve = resolve;
    this.#timer = setTimeout(() => this.#lost('it does not answer'), PATIENCE);
    this.#socket = connect(path)
      .on('data', (chunk) => this.#receive(chunk))
      .on('error', (error) => this.#lost(error.message))
      .on('close', () => this.#lost('it has gone'));
    this.#send(FROM_CLIENT.CALL, JSON.stringify(makeCall(args)));
  }

  #send(type: number, payload?: Uint8Array | string): void {
    if (!this.#isOver) this.#socket.write(encodeFrame(type, payload));
  }

  #end(code: number | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    this.#resolve(code);
  }

  /** The command is run here, unless it may have begun there. */
  #lost(reason: string): void {
    if (this.#isOver) return;
    if (this.#isRunning)
      process.stderr.write(
        `v86-virtiofs: the daemon has ended in the middle of the command (${reason}), and the guest with it. What was not written back to the host is lost: run the command again\n`,
      );
    else if (this.#isVerbose) process.stderr.write(`the daemon does not run this: ${reason}\n`);
    this.#end(this.#isRunning ? FAILED : undefined);
  }

  #receive(chunk: Buffer): void {
    try {
      for (const frame of this.#reader.push(chunk)) this.#take(frame);
    } catch (error) {
      this.#lost((error as Error).message);
    }
  }

  #take({ type, payload }: Frame): void {
    if (this.#isOver) return;
    if (!this.#isRunning) {
      if (type === FROM_DAEMON.ACCEPTED) this.#begin();
      else this.#lost(type === FROM_DAEMON.DECLINED ? payload.toString() : 'it says what it should not');
      return;
    }
    if (type === FROM_DAEMON.STDOUT) this.#write(1, payload);
    else if (type === FROM_DAEMON.STDERR) this.#write(2, payload);
    else if (type === FROM_DAEMON.WANT) this.#read();
    else if (type === FROM_DAEMON.RAW) process.stdin.setRawMode?.(payload[0] === 1);
    else if (type === FROM_DAEMON.EXIT && payload.length === 1) this.#end(payload[0]);
    else this.#lost('it says what it should not');
  }

  #begin(): void {
    this.#isRunning = true;
    clearTimeout(this.#timer);
    for (const [name, number] of Object.entries(SIGNALS))
      process.on(name, () => {
        if (++this.#signals < MAX_SIGNALS) this.#send(FROM_CLIENT.SIGNAL, name);
        else this.#end(128 + number);
      });
    // Without a terminal it never comes.
    process.on('SIGWINCH', () => this.#resize());
    this.#send(FROM_CLIENT.GO);
  }

  #resize(): void {
    const { columns, rows } = process.stdout;
    if (!columns || !rows) return;
    const payload = Buffer.alloc(4);
    payload.writeUInt16LE(columns, 0);
    payload.writeUInt16LE(rows, 2);
    this.#send(FROM_CLIENT.RESIZE, payload);
  }

  #write(stream: 1 | 2, data: Buffer): void {
    const output = process[OUTPUTS[stream]!];
    if (!this.#watched.has(output)) output.on('error', () => {});
    this.#watched.add(output);
    output.write(data, (error?: NodeJS.ErrnoException | null) => {
      if (error) this.#send(FROM_CLIENT.LOST, `${String.fromCharCode(stream)}${error.code ?? 'EIO'} ${error.message}`);
      else this.#send(FROM_CLIENT.WRITTEN, Uint8Array.of(stream));
    });
  }

  /** One piece of stdin for each time that it is wanted. */
  #read(): void {
    const { stdin } = process;
    if (!this.#reads) {
      this.#reads = true;
      stdin.on('data', (data: Buffer) => {
        stdin.pause();
        if (data.length > PIECE) stdin.unshift(data.subarray(PIECE));
        this.#send(FROM_CLIENT.INPUT, data.subarray(0, PIECE));
      });
      stdin.on('end', () => this.#send(FROM_CLIENT.INPUT_END));
      stdin.on('error', (error) => this.#send(FROM_CLIENT.INPUT_FAILED, error.message));
    }
    stdin.resume();
  }
}
