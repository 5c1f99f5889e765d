import { type ChildProcess, fork } from 'node:child_process';
import { stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import type { Command } from 'commander';
import { VmError } from '../../../machine/errors.ts';
import { defaultDriver, defaultKernel, resolveImage } from '../../image.ts';
import type { VmOptions } from '../../vm-options.ts';
import { machineOptions } from '../options.ts';
import { type Call, ownIds, readCall, takeEnvironment } from './call.ts';
import { Door } from './door.ts';
import { readTask, shapeOf, type Task, unfit } from './parse.ts';
import { buildIdentity, identityOf } from './place.ts';
import { encodeFrame, FROM_CLIENT, FROM_DAEMON, type Frame } from './wire.ts';
import type { Order, Report } from './worker.ts';

/** Milliseconds until another machine is tried where one could not be made. */
const PAUSE = 10_000;

export interface DaemonOptions {
  /** Makes the command line that clients' words are of. */
  makeProgram: () => Command;
  /** Of the machines that wait. */
  machine: VmOptions;
  /** How many. */
  count: number;
  /** Milliseconds without a command after which it ends. */
  idle: number;
  /** Called with a line for whoever watches. */
  say: (line: string) => void;
}

interface Worker {
  readonly child: ChildProcess;
  /** `returning`: its command has ended, and it will be ready sooner than a client could start a guest itself. */
  state: 'starting' | 'ready' | 'busy' | 'returning';
}

interface Waiting {
  socket: Socket;
  order: Order;
}

/** Keeps machines that wait, each in a process of its own, and gives them to the clients of this user that call. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #shape: string;
  readonly #build = buildIdentity();
  readonly #ids = `${ownIds()}`;
  readonly #root = identityOf('/');
  /** What the machines were booted from: files, and what they were. */
  readonly #files = new Map<string, string>();
  readonly #workers = new Set<Worker>();
  readonly #queue: Waiting[] = [];
  #door: Door | undefined;
  #idle: NodeJS.Timeout | undefined;
  #isEnding = false;
  #hasBeenReady = false;
  #served = 0;
  #hasEnded = () => {};
  #hasFailed = (_: Error) => {};
  #becameReady = () => {};

  constructor(options: DaemonOptions) {
    this.#options = options;
    this.#shape = shapeOf(options.machine);
  }

  /** Serves clients at `path` until it is ended. Calls `onReady` when the first machine waits. @throws VmError; Error when no machine can be made. */
  async serve(path: string, onReady: () => void): Promise<void> {
    const ended = new Promise<void>((resolve, reject) => {
      this.#hasEnded = resolve;
      this.#hasFailed = reject;
    });
    ended.catch(() => {});
    const ready = new Promise<void>((resolve) => (this.#becameReady = resolve));
    for (const file of await filesOf(this.#options.machine)) this.#files.set(file, await fileState(file));
    this.#door = await Door.open(
      path,
      (frame, socket) => this.#called(frame, socket),
      () => this.end('another daemon has its place'),
    );
    try {
      // The first alone: what it puts into the cache the others have from there.
      this.#hire();
      await Promise.race([ready, ended]);
      for (let n = 1; n < this.#options.count && !this.#isEnding; n++) this.#hire();
      if (!this.#isEnding) onReady();
      this.#rest();
      await ended;
    } finally {
      clearTimeout(this.#idle);
      this.#door.close();
    }
  }

  /** Takes no more clients, and ends when those that are there have been served. Called again, ends at once: commands go on in their own processes. */
  end(reason: string): void {
    if (this.#isEnding) return this.#hasEnded();
    this.#isEnding = true;
    this.#door?.close();
    for (const { socket } of this.#queue.splice(0)) decline(socket, 'it is ending');
    const busy = [...this.#workers].filter(({ state }) => state === 'busy').length;
    const running =
      busy === 1 ? ' when the command that runs has ended' : ` when the ${busy} commands that run have ended`;
    this.#options.say(`ending${busy ? running : ''}: ${reason}. Commands run: ${this.#served}`);
    // Each ends when it has done what it does.
    for (const { child } of this.#workers) if (child.connected) child.disconnect();
    this.#endWhenFree();
  }

  #endWhenFree(): void {
    if (!this.#workers.size) this.#hasEnded();
  }

  #hire(): void {
    // A group of its own: Ctrl-C here is not for those who run something for others.
    const child = fork(process.argv[1]!, ['daemon', '--worker', JSON.stringify(this.#options.machine)], {
      detached: true,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    const worker: Worker = { child, state: 'starting' };
    this.#workers.add(worker);
    let failure = '';
    child.on('message', (report: Report) => {
      if ('failure' in report) failure = report.failure;
      else if (report.state === 'ready') this.#free(worker);
      else worker.state = 'returning';
    });
    child.on('error', (error) => (failure ||= error.message));
    const leave = () => {
      this.#workers.delete(worker);
      this.#left(worker, failure);
    };
    // What it has said last may come after its end.
    child.on('exit', () => (child.connected ? child.once('disconnect', leave) : leave()));
  }

  #left({ state }: Worker, failure: string): void {
    if (this.#isEnding) return this.#endWhenFree();
    for (const { socket } of this.#queue.splice(0)) decline(socket, 'one of its guests has been lost');
    // Something that its client did, a signal before the command say.
    if (state === 'busy' || state === 'returning') return this.#hire();
    const why = failure || 'its process has ended';
    if (!this.#hasBeenReady) return this.#hasFailed(new VmError('boot', `no guest can be kept ready: ${why}`));
    this.#options.say(`a guest can't be made, and will be tried again: ${why}`);
    setTimeout(() => this.#isEnding || this.#hire(), PAUSE).unref();
  }

  #free(worker: Worker): void {
    worker.state = 'ready';
    this.#hasBeenReady = true;
    this.#becameReady();
    this.#rest();
    const next = this.#queue.shift();
    if (!next) return;
    this.#give(worker, next);
  }

  /** Ends some time after the last command. */
  #rest(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => {
      if ([...this.#workers].some(({ state }) => state === 'busy')) this.#rest();
      else this.end('nobody has wanted anything for a while');
    }, this.#options.idle);
  }

  #called({ type, payload }: Frame, socket: Socket): void {
    if (type === FROM_CLIENT.STOP) {
      socket.end(encodeFrame(FROM_DAEMON.ACCEPTED));
      return this.end('it was told to');
    }
    if (type !== FROM_CLIENT.CALL) return void socket.destroy();
    const call = readCall(payload);
    if (!call)
      return decline(socket, 'it is of another version: end it with `v86-virtiofs daemon --stop`, and start it again');
    this.#consider(call, socket).catch((error: Error) => decline(socket, error.message));
  }

  async #consider(call: Call, socket: Socket): Promise<void> {
    const { task, reason } = this.#judge(call);
    if (!task) return decline(socket, reason);
    for (const [file, state] of this.#files)
      if ((await fileState(file)) !== state) return decline(socket, `${file} has changed since its guests were booted`);
    if (this.#isEnding) return decline(socket, 'it is ending');
    const order = { call, task };
    const ready = [...this.#workers].find(({ state }) => state === 'ready');
    if (ready) return this.#give(ready, { socket, order });
    const returning = [...this.#workers].filter(({ state }) => state === 'returning').length;
    if (this.#queue.length >= returning) return decline(socket, 'all of its guests are taken');
    this.#queue.push({ socket, order });
  }

  /** Whether a machine that waits is what somebody wants. */
  #judge(call: Call): { task?: Task; reason: string } {
    if (call.build !== this.#build)
      return { reason: 'it is of another build: end it with `v86-virtiofs daemon --stop`, and start it again' };
    if (`${call.ids}` !== this.#ids) return { reason: 'it has another user or other groups' };
    if (call.places[0] !== this.#root) return { reason: 'it has another root directory' };
    const leaveEnvironment = takeEnvironment(call.env);
    try {
      const task = readTask(this.#options.makeProgram(), call.args);
      if (!task) return { reason: 'its command line is wrong, or begins something else' };
      const reason = unfit(task.flags);
      if (reason !== undefined) return { reason };
      if (shapeOf(machineOptions(task.flags), call.cwd) !== this.#shape)
        return { reason: 'its guests have other options' };
      return { task, reason: '' };
    } catch (error) {
      return { reason: (error as Error).message };
    } finally {
      leaveEnvironment();
    }
  }

  #give(worker: Worker, { socket, order }: Pick<Waiting, 'socket' | 'order'>): void {
    worker.state = 'busy';
    this.#served++;
    clearTimeout(this.#idle);
    worker.child.send(order, socket, (error) => {
      if (error) socket.destroy();
    });
  }
}

function decline(socket: Socket, reason: string): void {
  socket.end(encodeFrame(FROM_DAEMON.DECLINED, reason.slice(0, 4096)));
}

/** The files that machines of these options boot from. */
async function filesOf(options: VmOptions): Promise<string[]> {
  const { kernel = defaultKernel() } = options;
  const image = await resolveImage({ ...options, kernel, driver: options.driver ?? defaultDriver(kernel) });
  return [image.kernel, image.initrd, image.vmlinux, image.bios, options.initrd].filter((file) => file !== undefined);
}

async function fileState(path: string): Promise<string> {
  const { dev, ino, size, mtimeMs } = await stat(path);
  return `${dev}:${ino} ${size} ${mtimeMs}`;
}
