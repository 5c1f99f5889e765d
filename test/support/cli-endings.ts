import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeToken } from '../../device/index.ts';
import { CLI } from './compiled-cli.ts';

/** Without the daemon of whoever runs the tests. */
const env = { ...process.env, V86_VIRTIOFS_DAEMON: 'off' };
/** Seconds. */
const PATIENCE = 280;

/** A command, and what it does with its stdio. */
export interface EndingRow {
  args: string[];
  /** All of its stdin. */
  input?: string;
  /** Whether it has something to tell on stdout. */
  tells: boolean;
  /** Its exit code when nothing is wrong. */
  code?: number;
}

/**
 * Every command, with what `directory` has: the snapshot `base` in the stores `store` and `other`, exported as `base.layer`; `requests`, recorded;
 * `tree`, and its image.
 */
export function endingRows(directory: string): EndingRow[] {
  const at = (name: string) => join(directory, name);
  const store = ['--store', at('store')];
  const other = ['--store', at('other')];
  const say = ['--', 'echo', 'said'];
  return [
    { args: ['run', '--save', at('saved.tar'), ...say], tells: true },
    { args: ['replay', '--json', at('requests')], tells: true },
    { args: ['shell'], input: 'echo said\n', tells: true },
    { args: ['freeze', ...store, ...say], tells: true },
    { args: ['restore', ...store, 'base', ...say], tells: true },
    { args: ['shell', ...store, 'base'], input: 'echo said\n', tells: true },
    { args: ['fork', ...store, 'base', ...say], tells: true },
    { args: ['wake', ...store, 'base', ...say], tells: true },
    { args: ['suspend', ...store, '--driver', 'stock'], tells: false, code: 125 },
    { args: ['list', ...store], tells: true },
    { args: ['inspect', ...store, '--files', 'base'], tells: true },
    { args: ['diff', ...store, 'base', 'base'], tells: true },
    { args: ['export', ...store, '--json', 'base', at('again.layer')], tells: true },
    { args: ['import', ...other, '--json', at('base.layer')], tells: true },
    { args: ['verify', ...store, '--json', 'base'], tells: true },
    { args: ['rename', ...store, 'base', 'base'], tells: false },
    { args: ['remove', ...other, '--json'], tells: false, code: 125 },
    { args: ['gc', ...other, '--json'], tells: true },
    { args: ['migrate', ...store, 'base', '--to', 'localhost:1', '--token', makeToken()], tells: false, code: 125 },
    { args: ['serve', '--incoming', 'nowhere'], tells: false, code: 125 },
    { args: ['settle', ...store, 'base', '--runs-here'], tells: false, code: 125 },
    { args: ['image', 'build', '--json', at('tree'), at('again.image')], tells: true },
    { args: ['image', 'profile', at('nowhere.image'), 'true'], tells: false, code: 125 },
    { args: ['image', 'inspect', at('tree.image')], tells: true },
    { args: ['image', 'ls', at('tree.image')], tells: true },
    { args: ['image', 'verify', '--json', at('tree.image')], tells: true },
    { args: ['image', 'diff', '--json', at('tree.image'), at('tree.image')], tells: true },
    { args: ['daemon', '--stop'], tells: false, code: 125 },
    { args: ['doctor'], tells: true },
    { args: ['token'], tells: true },
    { args: ['completion', 'bash'], tells: true },
    { args: ['demo'], tells: true },
    { args: ['--help'], tells: true },
    { args: ['--version'], tells: true },
  ];
}

/** What may be wrong with the stdio of a command, and what becomes of the exit code. */
export const ENDINGS: Record<
  string,
  { stdin?: string; stdout?: string; stderr?: string; told: number; says?: RegExp }
> = {
  'nobody reads its stdout': { stdout: 'gone', told: 141 },
  'the disk behind its stdout is full': {
    stdout: '/dev/full',
    told: 125,
    says: /^v86-virtiofs: can't write to stdout: ENOSPC/m,
  },
  'nobody reads its stderr': { stderr: 'gone', told: 0 },
  'the disk behind its stderr is full': { stderr: '/dev/full', told: 0 },
  'its stdin is a directory': { stdin: '/', told: 0 },
  'its stdin, stdout and stderr are closed': { stdin: 'closed', stdout: 'closed', stderr: 'closed', told: 0 },
};

/** Runs a command whose stdio is as `ENDINGS` says. */
export async function endWith(name: string, { args, input = '', tells, code = 0 }: EndingRow): Promise<void> {
  const { stdin, stdout, stderr, told, says } = ENDINGS[name]!;
  // A shell can close descriptors before there is a Node.
  const redirect = Object.entries({ '0<': stdin, '1>': stdout, '2>': stderr })
    .map(([at, to]) => (to === 'closed' ? `${at}&-` : to?.startsWith('/') ? `${at}${to}` : ''))
    .join(' ');
  const child = spawn(
    'sh',
    ['-c', `exec timeout -s KILL ${PATIENCE} "$@" ${redirect}`, 'sh', process.execPath, ...CLI, ...args],
    { stdio: 'pipe', env },
  );
  let said = '';
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  if (stdout === 'gone') child.stdout.destroy();
  else child.stdout.resume();
  if (stderr === 'gone') child.stderr.destroy();
  else child.stderr.on('data', (data: Buffer) => (said += data.toString()));
  const [ended] = (await once(child, 'close')) as [number | null];
  const what = `${args.join(' ')}, when ${name}: ${said}`;
  expect(ended, what).to.equal(tells && !code ? told : code);
  expect(said, what).not.to.match(/^ +at |Unhandled|Error: /m);
  if (says && tells && !code) expect(said, what).to.match(says);
}

/** Ends a command by a signal as soon as it has begun to say something, or at once. It may have ended before. */
export async function interrupt({ args, input = '' }: EndingRow, signal: 'SIGINT' | 'SIGTERM'): Promise<void> {
  const child = spawn(process.execPath, [...CLI, ...args], { stdio: 'pipe', env });
  let said = '';
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  for (const stream of [child.stdout, child.stderr]) {
    stream.once('data', () => child.kill(signal));
    stream.on('data', (data: Buffer) => (said += data.toString()));
  }
  const late = setTimeout(() => child.kill('SIGKILL'), PATIENCE * 1000);
  const [code, by] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  clearTimeout(late);
  const what = `${args.join(' ')}, interrupted: ${said}`;
  expect(
    by === signal || [0, 1, 125, 128 + (signal === 'SIGINT' ? 2 : 15)].includes(code!),
    `${what} ${code} ${by}`,
  ).to.equal(true);
  expect(said, what).not.to.match(/^ +at |Unhandled|Error: /m);
}
