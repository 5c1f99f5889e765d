import { posix } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isUser } from '../../machine/agent/as-user.ts';
import type { GuestProcess, SpawnOptions } from '../../machine/agent/guest-agent.ts';
import { workShare } from '../own-kernel.ts';
import type { Vm } from '../vm.ts';

/** Exit code of a command that took longer than `--timeout`, as timeout(1) has it. */
const TIMED_OUT = 124;
/** Seconds that a command has for its end, when its time is up. */
const GRACE = 10;

/** How a command runs in a guest, as commander gives it. */
export interface ExecFlags {
  env?: Record<string, string>;
  workdir?: string;
  user?: string;
  /** Seconds. */
  timeout?: number;
}

export function addExecOptions(command: Command): Command {
  return command
    .optionsGroup('Command:')
    .addOption(
      new Option(
        '-e, --env <NAME=VALUE>',
        'variable for the command; NAME alone takes its value from here (again for more)',
      ).argParser(addVariable),
    )
    .addOption(
      new Option(
        '-w, --workdir <dir>',
        "where it runs, from the (first) share's directory on (default: there)",
      ).argParser(parseWorkdir),
    )
    .addOption(
      new Option(
        '-u, --user <uid[:gid]>',
        'whom it runs as: numbers, or names that the guest knows, with HOME, USER and LOGNAME as su sets them (default: root)',
      ).argParser(parseUser),
    )
    .addOption(
      new Option(
        '--timeout <seconds>',
        `end it when it takes longer, by SIGTERM, and ${GRACE} s later by SIGKILL; the exit code is ${TIMED_OUT} then`,
      ).argParser(parseSeconds),
    );
}

/** The words that run `argv` as flags say, and how. */
export function execution(
  guest: { shares: readonly Pick<Vm['shares'][number], 'tag' | 'isRoot' | 'mountPoint'>[] },
  argv: string[],
  { env, workdir, user }: ExecFlags,
): { argv: string[]; options: SpawnOptions } {
  const cwd = workShare(guest)?.mountPoint ?? '/root';
  return { argv, options: { env, user, cwd: workdir === undefined ? cwd : posix.resolve(cwd, workdir) } };
}

/** Ends a command that takes longer than it may. Returns its exit code, or that of a late one, even if the guest never says that it has ended. */
export async function withinTime(
  command: Pick<GuestProcess, 'kill'>,
  seconds: number | undefined,
  exited: Promise<number>,
): Promise<number> {
  if (seconds === undefined) return exited;
  let isLate = false;
  const over = new AbortController();
  const wait = (time: number) => setTimeout(time * 1000, undefined, { signal: over.signal });
  const end = async () => {
    await wait(seconds);
    isLate = true;
    command.kill('SIGTERM');
    await wait(GRACE);
    command.kill('SIGKILL');
    await wait(GRACE);
    process.stderr.write('the command was killed, but the guest does not say that it has ended\n');
    return TIMED_OUT;
  };
  const ending = end();
  ending.catch(() => {});
  try {
    const code = await Promise.race([exited, ending]);
    return isLate ? TIMED_OUT : code;
  } finally {
    over.abort();
  }
}

function addVariable(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [name, ...value] = text.split('=') as [string, ...string[]];
  if (!name) throw new InvalidArgumentError('Give NAME=VALUE, or NAME.');
  if (value.length) return { ...before, [name]: value.join('=') };
  const here = process.env[name];
  if (here === undefined) throw new InvalidArgumentError(`${name} is not set here: give ${name}=VALUE.`);
  return { ...before, [name]: here };
}

function parseWorkdir(text: string): string {
  // It was --write-back once.
  if (!text || text.startsWith('-'))
    throw new InvalidArgumentError(
      'Give a directory, ./-x for one that begins with a dash; --write-back has no short form.',
    );
  return text;
}

function parseUser(text: string): string {
  if (!isUser(text)) throw new InvalidArgumentError('Give UID, UID:GID, or names.');
  return text;
}

export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0) || seconds > 2_000_000)
    throw new InvalidArgumentError('Give a number of seconds above 0, and not above 2000000.');
  return seconds;
}
