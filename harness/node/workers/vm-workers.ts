import { availableParallelism } from 'node:os';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import type { Tinypool } from 'tinypool';
import type { ExecOptions, ExecResult } from '../../machine/agent/exec.ts';
import { asText, runToEnd } from '../../machine/agent/exec.ts';
import type { RunningCommand, SpawnOptions } from '../../machine/agent/guest-process.ts';
import { VmError } from '../../machine/errors.ts';
import { compileV86 } from '../v86.ts';
import {
  errorOf,
  type FromThread,
  type Outcome,
  type PlacedShare,
  type Task,
  type ThreadData,
  type ThreadVmOptions,
  type ToThread,
} from './messages.ts';
import { RemoteCommand } from './remote-command.ts';

/** Beside this file, as source, compiled, or in the files of the command line. */
const KIND = extname(import.meta.url);
const THREAD = new URL(KIND === '.ts' ? './from-source.mjs' : `./vm-thread${KIND}`, import.meta.url);

export interface VmWorkersOptions extends ThreadVmOptions {
  /** Threads. Default: as many as there are processors. */
  workers?: number;
  /** Machines of one thread at a time. Default: 1. */
  perWorker?: number;
  /** Whether emulators are rewound for the machines to come, for which each thread keeps the snapshot in memory, unpacked. Default: true. */
  rewinds?: boolean;
  /** As `VmOptions.onImageTrouble`, of any of them. */
  onImageTrouble?: (message: string) => void;
}

/**
 * Machines that go on from one snapshot, in threads, so that they have all processors. The threads have one compiled v86; each reads the
 * snapshot for itself, and rewinds the emulators of machines that were given back, as `VmPool` does. Call {@link close} in the end.
 */
export class VmWorkers implements AsyncDisposable {
  readonly #pool: Tinypool;
  readonly #onImageTrouble: (message: string) => void;
  /** A thread has ended without a word, and its place is taken. */
  #isBroken = false;
  #isClosed = false;

  private constructor(pool: Tinypool, onImageTrouble: (message: string) => void) {
    this.#pool = pool;
    this.#onImageTrouble = onImageTrouble;
  }

  /** `store`: the name of one, as `openFiles` takes it. `id`: of a snapshot there. */
  static async start(
    store: string,
    id: string,
    {
      workers = availableParallelism(),
      perWorker = 1,
      rewinds = true,
      onImageTrouble = () => {},
      ...options
    }: VmWorkersOptions = {},
  ): Promise<VmWorkers> {
    const [{ Tinypool }, wasm] = await Promise.all([import('tinypool'), compileV86()]);
    const workerData: ThreadData = { store, id, options, wasm, rewinds };
    const pool = new Tinypool({
      filename: fileURLToPath(THREAD),
      minThreads: workers,
      maxThreads: workers,
      concurrentTasksPerWorker: perWorker,
      useAtomics: false,
      workerData,
    });
    // A thread that ends while it has nothing to do is replaced.
    pool.on('error', () => {});
    return new VmWorkers(pool, onImageTrouble);
  }

  /**
   * A machine that goes on where the snapshot was taken, as soon as a thread has time for it. It is the caller's until it is given back.
   *
   * @throws what `Vm.thaw` throws; ThreadError when its thread has ended.
   */
  async take(): Promise<WorkerVm> {
    if (this.#isClosed) throw new VmError('stopped', 'these workers are closed: start others');
    if (this.#isBroken) throw new ThreadError('it did not say why; close these workers, and start others');
    const { port1, port2 } = new MessageChannel();
    const ready = new Promise<PlacedShare[]>((resolve) =>
      port1.on('message', (message: FromThread) => {
        if (message.say === 'ready') resolve(message.shares);
        else if (message.say === 'trouble') this.#onImageTrouble(message.message);
      }),
    );
    const task: Task = { port: port2 };
    const run: Promise<Outcome> = this.#pool.run(task, { transferList: [port2] });
    const ended = orGone(run, port1, () => (this.#isBroken = true))
      .catch((error: Error) => {
        throw new ThreadError(error.message);
      })
      .finally(() => port1.close())
      .then(({ failure }) => {
        if (failure) throw errorOf(failure);
        throw new VmError('stopped', 'this machine was given back: take another one');
      });
    ended.catch(() => {});
    const shares = await Promise.race([ready, ended]);
    return new WorkerVm(shares, port1, ended);
  }

  /** Ends the threads, and whatever still runs in them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const { threads } = this.#pool;
    // It waits for ever for a thread that has ended before.
    void this.#pool.destroy();
    await Promise.all(threads.map((thread) => thread.terminate()));
  }

  /** For `await using`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Milliseconds in which a thread that has ended is told why. */
const WHY_PATIENCE = 1000;

/** As `run`; rejects too when the other side of a port is gone, as of a thread that ends without a word. */
function orGone<T>(run: Promise<T>, port: MessagePort, onGone: () => void): Promise<T> {
  return new Promise((resolve, reject) => {
    let isSettled = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const settle = (action: () => void) => {
      isSettled = true;
      clearTimeout(timer);
      action();
    };
    run.then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
    port.once('close', () => {
      if (isSettled) return;
      timer = setTimeout(() => {
        onGone();
        reject(new Error('it did not say why'));
      }, WHY_PATIENCE);
    });
  });
}

/** The thread of a machine has ended, and with it all machines that it had. */
export class ThreadError extends VmError {
  constructor(reason: string) {
    super('stopped', `the thread that this guest ran in has ended: ${reason}`);
  }
}

/** A machine in another thread. */
export class WorkerVm implements AsyncDisposable {
  readonly shares: readonly PlacedShare[];
  readonly #port: MessagePort;
  readonly #ended: Promise<never>;
  /** Those that run, by their numbers. */
  readonly #commands = new Map<number, RemoteCommand>();
  #lastCommand = 0;
  #end: Error | undefined;

  /** `ended` rejects when nothing can be done with it any more. */
  constructor(shares: readonly PlacedShare[], port: MessagePort, ended: Promise<never>) {
    this.shares = shares;
    this.#port = port;
    this.#ended = ended;
    port.on('message', (message: FromThread) => {
      if (!('command' in message)) return;
      this.#commands.get(message.command)?.hear(message);
      if (message.say === 'exited' || message.say === 'failed') this.#commands.delete(message.command);
    });
    ended.catch((error: Error) => {
      this.#end = error;
      for (const command of this.#commands.values()) command.lose(error);
      this.#commands.clear();
    });
  }

  /** Starts a command. */
  spawn(command: string | string[], options: SpawnOptions = {}): RunningCommand {
    const number = ++this.#lastCommand;
    const started = new RemoteCommand(number, (message, moved) => this.#send(message, moved));
    if (this.#end) started.lose(this.#end);
    else this.#commands.set(number, started);
    this.#send({ do: 'spawn', command: number, argv: command, options });
    return started;
  }

  /** Runs a command to its end, as `Vm.exec`. */
  async exec(command: string | string[], options?: ExecOptions): Promise<ExecResult> {
    return asText(await runToEnd(this, command, options));
  }

  #send(message: ToThread, moved: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, moved);
  }

  /** Ends it. Settles when its thread has time for another one. */
  async release(): Promise<void> {
    this.#send({ do: 'release' });
    await this.#ended.catch(() => {});
  }

  /** For `await using`: {@link release}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}
