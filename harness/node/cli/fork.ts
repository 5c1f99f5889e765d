import { availableParallelism } from 'node:os';
import type { SnapshotStore } from '../../../device/index.ts';
import type { GuestProcess, RunningCommand } from '../../machine/agent/guest-process.ts';
import { VmError } from '../../machine/errors.ts';
import { printableLines } from '../../machine/printable.ts';
import { Vm } from '../vm.ts';
import { ThreadError, VmWorkers, type WorkerVm } from '../workers/vm-workers.ts';
import { type ExecFlags, execution, withinTime } from './exec-options.ts';
import { isExpected } from './failure.ts';
import { exitCodeOf, type RenewalFlags, thawOptions } from './options.ts';
import { onOutputLost, pass, put } from './output.ts';
import { passingSignals } from './signals.ts';
import { openStore, type StoreFlags, tellJson } from './store.ts';

type Output = 'stdout' | 'stderr';

/** Characters of a line that is printed before it has ended. */
const MAX_LINE = 65_536;
/** Bytes of a copy's output that are printed as JSON, when it has ended. */
const MAX_OUTPUT = 64 << 20;

/** What becomes of what a copy says. */
interface Listener {
  take(output: Output, data: Uint8Array): unknown;
  /** To be called when it has ended. */
  end(): void;
}

export interface ForkFlags extends StoreFlags, RenewalFlags, ExecFlags {
  copies: number;
  workers?: number;
}

/** A copy of the guest, or why there is none. */
type Guest = Vm | WorkerVm | Error;

/** The copies of a guest, and how to end them. */
interface Guests {
  guests: Guest[];
  end(): Promise<void>;
}

export async function fork(snapshot: string, argv: string[], flags: ForkFlags): Promise<void> {
  const store = await openStore(flags);
  const id = store.find(snapshot);
  const workers = Math.min(flags.copies, flags.workers ?? availableParallelism());
  const { guests, end } = await (workers === 1 ? thawHere(store, id, flags) : thawInThreads(id, flags, workers));
  try {
    const copies = guests.map((guest, n) => new Copy(guest, n + 1, argv, flags));
    const all: Pick<GuestProcess, 'kill'> = {
      kill: (signal) => copies.forEach(({ command }) => command?.kill(signal)),
    };
    const stopListening = onOutputLost(() => all.kill('SIGPIPE'));
    try {
      process.exitCode = await passingSignals(all, async () =>
        Math.max(...(await Promise.all(copies.map((copy) => copy.ended(flags.timeout))))),
      );
    } finally {
      stopListening();
    }
    if (flags.json) tellJson(copies.map(({ result }) => result));
  } finally {
    await end();
  }
}

/** In this thread: the copies read the snapshot once, and share its files' content. */
async function thawHere(store: SnapshotStore, id: string, flags: ForkFlags): Promise<Guests> {
  const guests: Vm[] = [];
  const end = async () => void (await Promise.all(guests.map((vm) => vm.stop())));
  const unpin = await store.pin(id);
  const thawing = Array.from({ length: flags.copies }, async () =>
    guests.push(await Vm.thaw(store, id, thawOptions(flags))),
  );
  const failed = (await Promise.allSettled(thawing)).find((made) => made.status === 'rejected');
  unpin();
  if (!failed) return { guests, end };
  await end();
  throw failed.reason;
}

async function thawInThreads(id: string, flags: ForkFlags, workers: number): Promise<Guests> {
  const perWorker = Math.ceil(flags.copies / workers);
  const pool = await VmWorkers.start(flags.store, id, { ...thawOptions(flags), workers, perWorker, rewinds: false });
  try {
    const taken = await Promise.allSettled(Array.from({ length: flags.copies }, () => pool.take()));
    const guests = taken.map((made): Guest => {
      if (made.status === 'fulfilled') return made.value;
      // What is wrong with the snapshot or the options is so for all of them.
      if (isExpected(made.reason) && !(made.reason instanceof ThreadError)) throw made.reason;
      return made.reason;
    });
    return { guests, end: () => pool.close() };
  } catch (error) {
    await pool.close();
    throw error;
  }
}

/** The command in one of the guests. */
class Copy {
  /** None where there is no guest. */
  readonly command: RunningCommand | undefined;
  readonly result: { copy: number; code?: number; stdout?: string; stderr?: string; error?: string };
  readonly #listener: Listener;
  readonly #exited: Promise<number>;

  constructor(guest: Guest, copy: number, argv: string[], flags: StoreFlags & ExecFlags) {
    this.result = { copy };
    this.#listener = flags.json ? collect(this.result) : tellLines(copy);
    if (guest instanceof Error) {
      this.#exited = Promise.reject(guest);
      return;
    }
    const { argv: words, options } = execution(guest, argv, flags);
    this.command = guest.spawn(words, { ...options, env: { ...flags.env, FORK: `${copy}` }, isKept: false });
    this.#exited = this.command.exited;
    this.command.onStdout = (data) => this.#listener.take('stdout', data);
    this.command.onStderr = (data) => this.#listener.take('stderr', data);
    this.command.closeStdin();
  }

  /** Returns the exit code, also when the guest has ended. */
  async ended(timeout: number | undefined): Promise<number> {
    const { result } = this;
    try {
      result.code = await (this.command ? withinTime(this.command, timeout, this.#exited) : this.#exited);
    } catch (error) {
      result.error = (error as Error).message;
      result.code = exitCodeOf(error);
    }
    this.#listener.end();
    if (result.error !== undefined) put('stderr', prefixed(result.copy, `${printableLines(result.error)}\n`));
    return result.code;
  }
}

function collect(result: Copy['result']): Listener {
  const parts: Record<Output, Uint8Array[]> = { stdout: [], stderr: [] };
  let left = MAX_OUTPUT;
  return {
    take(output, data) {
      left -= data.length;
      if (left < 0)
        throw new VmError('guest', `it has said more than ${MAX_OUTPUT} bytes, and was killed: leave out --json`);
      parts[output].push(data);
    },
    end() {
      result.stdout = Buffer.concat(parts.stdout).toString();
      result.stderr = Buffer.concat(parts.stderr).toString();
    },
  };
}

/** Each line behind the number of its copy, as it comes. */
function tellLines(copy: number): Listener {
  const lines = (output: Output) => {
    const decoder = new TextDecoder();
    let rest = '';
    return (data?: Uint8Array): string => {
      rest += decoder.decode(data, { stream: data !== undefined });
      const isWhole = data === undefined || rest.length > MAX_LINE;
      const end = isWhole ? rest.length : rest.lastIndexOf('\n') + 1;
      const text = rest.slice(0, end);
      rest = rest.slice(end);
      const told = text && !text.endsWith('\n') ? `${text}\n` : text;
      // On a terminal, one guest's output must not move what the others have written.
      return prefixed(copy, process[output].isTTY ? printableLines(told) : told);
    };
  };
  const by = { stdout: lines('stdout'), stderr: lines('stderr') };
  return {
    take: (output, data) => pass(output, by[output](data)),
    end: () => (['stdout', 'stderr'] as const).forEach((output) => put(output, by[output]())),
  };
}

function prefixed(copy: number, text: string): string {
  return text.replace(/^(?=[\s\S])/gm, `${copy} | `);
}
