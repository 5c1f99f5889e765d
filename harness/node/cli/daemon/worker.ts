import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { VmError } from '../../../machine/errors.ts';
import { tellingOf } from '../../shares/load-source.ts';
import type { Vm } from '../../vm.ts';
import type { VmOptions } from '../../vm-options.ts';
import { endCommand } from '../failure.ts';
import { checkTargets, keepingShares } from '../keep.ts';
import { machineOptions } from '../options.ts';
import { watchOutput } from '../output.ts';
import { tellingResults } from '../results.ts';
import { bootMounted, runIn, tellSkipped } from '../run.ts';
import { shellIn } from '../shell.ts';
import { type Call, takeEnvironment } from './call.ts';
import type { Task } from './parse.ts';
import { identityOf } from './place.ts';
import { Session } from './session.ts';
import { WarmMachine } from './warm-machine.ts';

/** What the daemon sends with a client's socket. */
export interface Order {
  call: Call;
  task: Task;
}

/** What a worker tells the daemon: that it waits for a client, or will soon, or why it never will. */
export type Report = { state: 'ready' | 'returning' } | { failure: string };

/** Who is told what the guest's console says. */
type Watching = Pick<VmOptions, 'onConsole'>;

/** Milliseconds that a command has for its end when its client has gone. */
const GRACE = 10_000;
const STREAMS = ['stdin', 'stdout', 'stderr'] as const;

/**
 * A process of the daemon with one machine that waits. It serves one client at a time, as if it were the client's process: it has that one's
 * directory, variables, umask, stdio and signals. Ends with the daemon.
 */
export async function work(options: VmOptions): Promise<never> {
  process.chdir('/');
  let isBusy = false;
  let isAlone = false;
  process.on('disconnect', () => {
    isAlone = true;
    if (!isBusy) process.exit();
  });
  if (!process.connected) process.exit();
  // What ends a daemon does not end its clients' commands.
  for (const name of ['SIGINT', 'SIGHUP', 'SIGTERM'] as const) process.on(name, ignore);
  const watching: Watching = {};
  const own: VmOptions = { ...options, onConsole: (line) => watching.onConsole?.(line) };
  let machine: WarmMachine;
  try {
    machine = await WarmMachine.make(own, () => bootMounted(own));
  } catch (error) {
    const failure = error instanceof VmError ? error.message : ((error as Error).stack ?? String(error));
    await new Promise<void>((resolve) => process.send!({ failure } satisfies Report, () => resolve()));
    process.exit(1);
  }
  process.on('message', (order: Order, socket: Socket | undefined) => {
    isBusy = true;
    void serve(order, socket, machine, watching).finally(() => {
      isBusy = false;
      if (isAlone) process.exit();
      tell('ready');
    });
  });
  tell('ready');
  return new Promise(() => {});
}

function tell(state: 'ready' | 'returning'): void {
  if (process.connected) process.send!({ state } satisfies Report);
}

async function serve(
  { call, task }: Order,
  socket: Socket | undefined,
  machine: WarmMachine,
  watching: Watching,
): Promise<void> {
  // It has gone meanwhile.
  if (!socket) return;
  const session = new Session(socket, call);
  const leave = beLike(call, session);
  if (!leave) return session.decline('it finds another directory here');
  let vm: Vm | undefined;
  try {
    if (!(await session.accept())) return;
    const stopPassing = passSignals(session);
    const taken = (vm = machine.take());
    await endCommand(async () => {
      process.exitCode = await runTask(taken, task, watching);
    });
    stopPassing();
    tell('returning');
    await session.end(Number(process.exitCode ?? 0));
  } finally {
    watching.onConsole = undefined;
    leave();
    if (vm) await machine.giveBack(vm);
  }
}

/** As `run` and `shell` do, with a machine that is there. */
async function runTask(vm: Vm, { command, argv, flags }: Task, watching: Watching): Promise<number> {
  return tellingResults(argv, flags, async (onStdout) => {
    await checkTargets(flags);
    const { shares = [], onProgress, onConsole } = machineOptions(flags);
    watching.onConsole = onConsole;
    for (const { tag, source, live } of shares) {
      if (source === undefined || live) continue;
      await vm.share(tag).load(source, tellingOf(source, onProgress));
      onProgress?.('');
    }
    tellSkipped(vm);
    await vm.start();
    return keepingShares(vm, flags, () => (command === 'run' ? runIn(vm, argv, flags, onStdout) : shellIn(vm, flags)));
  });
}

/** Makes this process one like the client's. Returns how to end that; undefined when the client's directory is not there. */
function beLike({ cwd, places, umask, env }: Call, session: Session): (() => void) | undefined {
  try {
    process.chdir(cwd);
    if (identityOf('.') !== places[1]) throw new Error();
  } catch {
    process.chdir('/');
    return undefined;
  }
  const leaveEnvironment = takeEnvironment(env);
  const before = process.umask(umask);
  const own = STREAMS.map((name) => Object.getOwnPropertyDescriptor(process, name)!);
  for (const name of STREAMS) Object.defineProperty(process, name, { configurable: true, value: session[name] });
  process.exitCode = undefined;
  watchOutput();
  return () => {
    STREAMS.forEach((name, n) => Object.defineProperty(process, name, own[n]!));
    process.umask(before);
    leaveEnvironment();
    process.chdir('/');
    process.exitCode = undefined;
  };
}

/**
 * What listens to signals gets the client's. Where nothing does, a signal ends a process, and this one. A client that has gone was hung up. Returns
 * how to end that.
 */
function passSignals(session: Session): () => void {
  let timer: NodeJS.Timeout | undefined;
  const give = (name: NodeJS.Signals) => {
    const listeners = process.listeners(name).filter((listener) => listener !== ignore);
    if (!listeners.length) void session.end(128 + constants.signals[name]).then(() => process.exit());
    for (const listener of listeners) (listener as (name: NodeJS.Signals) => void)(name);
  };
  session.onSignal = give;
  session.onGone = () => {
    timer = setTimeout(() => give('SIGHUP'), GRACE);
    give('SIGHUP');
  };
  if (session.hasGone) session.onGone();
  return () => {
    clearTimeout(timer);
    session.onSignal = session.onGone = () => {};
  };
}

function ignore(): void {}
