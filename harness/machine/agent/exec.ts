import { concat } from '../../../device/bytes.ts';
import { joinSignals } from '../../../device/join-signals.ts';
import { VmError } from '../errors.ts';
import { printableLines } from '../printable.ts';
import { unlessAborted } from '../unless-aborted.ts';
import type { RunningCommand, SpawnOptions } from './guest-process.ts';
import { LineReader } from './line-reader.ts';
import { type SignalName, signalNumber } from './signals.ts';

/** Options of a command that runs to its end. */
export interface ExecOptions extends Omit<SpawnOptions, 'isKept'> {
  /** All of its input, or parts of it as they come: a stream of Node or of the web, or a generator. What the command does not want is not asked for. */
  stdin?: Uint8Array | string | AsyncIterable<Uint8Array | string>;
  /** Called with each line of its output as it comes, without its end; of one that is not UTF-8 too. When it throws, the command is killed, and this rejects with that. */
  onLine?: (line: string, from: 'stdout' | 'stderr') => void;
  /** Rejects with a VmError `guest`, with the end of its output, when the exit code is not 0. Default: false. */
  check?: boolean;
  /** Kills the command, and rejects, when it takes longer. Default: none. */
  timeoutMs?: number;
  /** Bytes of stdout and stderr together: with more the command is killed, and this rejects. Default: 64 MiB. */
  maxOutput?: number;
  /** Kills the command, and rejects. */
  signal?: AbortSignal;
  /** What the command is sent when `signal`, `timeoutMs` or its input ends it, once. Default: SIGKILL; one that it catches lets it clean up, and may leave it running. */
  killSignal?: SignalName | number;
}

/** What came of a command, as bytes. */
export interface ExecOutput {
  stdout: Uint8Array;
  stderr: Uint8Array;
  /** Exit code; 128 + the signal's number when a signal ended it. */
  code: number;
}

/** As {@link ExecOutput}, with the output as text. */
export interface ExecResult {
  stdout: string;
  stderr: string;
  code: number;
}

/** The same, with the output as text. */
export function asText({ stdout, stderr, code }: ExecOutput): ExecResult {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { stdout: text(stdout), stderr: text(stderr), code };
}

/** Bytes of output that are kept. */
const MAX_OUTPUT = 64 << 20;

/** Of output, that an error shows. */
const SHOWN = 2000;

/** Runs a command to its end, as `GuestAgent.exec` says. */
export async function runToEnd(
  agent: { spawn(command: string | string[], options: SpawnOptions): RunningCommand },
  command: string | string[],
  {
    stdin,
    timeoutMs,
    signal,
    killSignal = 'SIGKILL',
    maxOutput = MAX_OUTPUT,
    onLine,
    check,
    ...options
  }: ExecOptions = {},
): Promise<ExecOutput> {
  signal?.throwIfAborted();
  // One that there is not is told before anything runs.
  signalNumber(killSignal);
  const process = agent.spawn(command, { ...options, isKept: false });
  let left = maxOutput;
  const collect = (from: 'stdout' | 'stderr') => {
    const parts: Uint8Array[] = [];
    const lines = onLine && new LineReader((line) => onLine(line, from));
    const take = (data: Uint8Array) => {
      left -= data.length;
      if (left < 0)
        throw new VmError(
          'guest',
          `the guest's command wrote more than ${maxOutput} bytes and was killed: raise maxOutput, or spawn it and take its output as it comes`,
        );
      parts.push(data);
      lines?.push(data);
    };
    return { parts, take, end: () => lines?.end() };
  };
  const [stdout, stderr] = [collect('stdout'), collect('stderr')];
  process.onStdout = stdout.take;
  process.onStderr = stderr.take;
  const { signal: abort, release } = joinSignals([signal], timeoutMs);
  let isRunning = true;
  const exited = process.exited.finally(() => (isRunning = false));
  try {
    const code = await unlessAborted(abort, Promise.race([exited, feed(process, stdin, () => isRunning)]));
    stdout.end();
    stderr.end();
    const output = { stdout: concat(stdout.parts), stderr: concat(stderr.parts), code };
    if (check && code) throw new VmError('guest', failureOf(command, output));
    return output;
  } catch (error) {
    if (isRunning) process.kill(killSignal);
    throw error;
  } finally {
    release();
  }
}

/** Gives a command its input. Rejects when that can't be had, and never resolves: the command may end before all was taken. */
async function feed(
  process: RunningCommand,
  stdin: ExecOptions['stdin'] = '',
  isRunning: () => boolean,
): Promise<never> {
  const never = new Promise<never>(() => {});
  if (typeof stdin === 'string' || stdin instanceof Uint8Array) {
    if (stdin.length) process.write(stdin).catch(() => {});
    process.closeStdin();
    return never;
  }
  for await (const part of stdin) {
    if (isRunning()) await process.write(part).catch(() => {});
    if (!isRunning()) return never;
  }
  process.closeStdin();
  return never;
}

function failureOf(command: string | string[], { stdout, stderr, code }: ExecOutput): string {
  const name = Array.isArray(command) ? command.join(' ') : command;
  const said = printableLines(new TextDecoder().decode(concat([stdout, stderr])))
    .slice(-SHOWN)
    .trimEnd();
  return `the guest's command has ended with ${code}: ${printableLines(name)}${said && `\n${said}`}`;
}
