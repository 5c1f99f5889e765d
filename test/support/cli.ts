import { type ChildProcess, spawn } from 'node:child_process';
import { after } from 'mocha';
import { CLI } from './compiled-cli.ts';

/** Seconds: less than what tests wait, so that what a command has said so far is told. */
const PATIENCE = 280;

export interface CliOptions {
  /** All of its stdin. Default: nothing. */
  input?: string;
  env?: NodeJS.ProcessEnv;
}

export interface CliResult {
  /** 137 when it took too long, null when a signal ended it. */
  code: number | null;
  stdout: string;
  stderr: string;
}

/** `v86-virtiofs` in a process of its own. */
export interface CliProcess {
  readonly child: ChildProcess;
  /** When it has ended, and its output too. Never rejects. */
  readonly ended: Promise<CliResult>;
  /** When its stderr has said so. @throws Error, with all that it has said, when it ends without. */
  says(pattern: RegExp): Promise<RegExpExecArray>;
}

export interface Cli {
  /** Runs a command to its end. */
  run(args: string[], options?: CliOptions): Promise<CliResult>;
  /** Starts one. With `isPiped` its stdin and stdout are the caller's. */
  start(args: string[], options?: CliOptions & { isPiped?: boolean }): CliProcess;
}

/** The command line, for the tests of the surrounding `describe`: what they start is killed when it takes too long, and after them in any case. */
export function useCli(): Cli {
  const running = new Set<ChildProcess>();
  after(() => running.forEach(kill));

  const start: Cli['start'] = (args, { input = '', env = {}, isPiped = false } = {}) => {
    // A group of its own, and a clock that goes on when these tests are killed.
    const child = spawn(
      'timeout',
      ['--foreground', '--signal=KILL', String(PATIENCE), process.execPath, ...CLI, ...args],
      { env: { ...process.env, V86_VIRTIOFS_DAEMON: 'off', ...env }, detached: true },
    );
    running.add(child);
    const said = { stdout: '', stderr: '' };
    let told = () => {};
    for (const name of isPiped ? (['stderr'] as const) : (['stdout', 'stderr'] as const)) {
      child[name].setEncoding('utf8').on('data', (text: string) => {
        said[name] += text;
        told();
      });
    }
    child.stdin.on('error', () => {});
    if (!isPiped) child.stdin.end(input);
    let isOver = false;
    const ended = new Promise<CliResult>((resolve) => {
      child.on('error', (error) => (said.stderr += error.message));
      child.on('close', (code) => {
        running.delete(child);
        isOver = true;
        told();
        resolve({ code, ...said });
      });
    });
    const says: CliProcess['says'] = (pattern) =>
      new Promise((resolve, reject) => {
        told = () => {
          const found = pattern.exec(said.stderr);
          if (found) resolve(found);
          else if (isOver) reject(new Error(`${args.join(' ')} has ended without ${pattern}: ${said.stderr}`));
        };
        told();
      });
    return { child, ended, says };
  };
  return { start, run: (args, options) => start(args, options).ended };
}

function kill({ pid }: ChildProcess): void {
  try {
    process.kill(-pid!, 'SIGKILL');
  } catch {
    // Ended by itself.
  }
}
