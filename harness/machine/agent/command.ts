import { errnoName } from '../../../device/fs/errno.ts';
import { CommandError, VmError } from '../errors.ts';
import { printable } from '../printable.ts';
import type { SpawnOptions } from './guest-process.ts';

const HEAD_LENGTH = 10;
/** What the agent holds of one command: MAX_COMMAND of guest-images/src/agent.c. */
const MAX_LENGTH = 262_144;
/** Linux' MAX_ARG_STRLEN, with the zero byte. */
const MAX_STRING_LENGTH = 131_072;
const MAX_COUNT = 0xffff;
const TERMINAL = { columns: 80, rows: 24 };

/**
 * The payload of SPAWN: u8 is_pty, is_unkept; u16 columns, rows, arguments, variables; then the strings, each with a zero byte behind it.
 *
 * @throws VmError `configuration` for what a process can't be given.
 */
export function encodeCommand(
  cwd: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  { pty, isKept = true }: Pick<SpawnOptions, 'pty' | 'isKept'>,
): Uint8Array {
  const refuse = (what: string, cure: string) =>
    new VmError(
      'configuration',
      `the guest can't run ${printable(JSON.stringify((args[0] ?? '').slice(0, 100)))}: ${what}; ${cure}`,
    );
  if (!args.length) throw refuse('the command has no words', 'give a program');
  if (args[0] === '') throw refuse("the program's name is empty", 'give one');
  if (cwd === '') throw refuse('the working directory is empty', 'give a path, or leave it out');
  for (const name of Object.keys(env))
    if (!name || name.includes('='))
      throw refuse(
        `the variable ${printable(JSON.stringify(name))} can't have that name`,
        'a name has at least one character, and no =',
      );
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const encoder = new TextEncoder();
  const named: [string, string][] = [
    ['the working directory', cwd],
    ...args.map((text, n): [string, string] => [`argument ${n}`, text]),
    ...variables.map((text): [string, string] => [`the variable ${text.split('=', 1)[0]}`, text]),
  ];
  const strings = named.map(([what, text]) => {
    if (text.includes('\0'))
      throw refuse(`${printable(what)} has a zero byte in it`, 'no string of a process can have one');
    if (text.length >= MAX_STRING_LENGTH)
      throw refuse(
        `${printable(what)} is longer than ${MAX_STRING_LENGTH - 1} bytes`,
        'write it to a file of the share, or to its stdin',
      );
    const bytes = encoder.encode(`${text}\0`);
    if (bytes.length > MAX_STRING_LENGTH)
      throw refuse(
        `${printable(what)} is longer than ${MAX_STRING_LENGTH - 1} bytes`,
        'write it to a file of the share, or to its stdin',
      );
    return bytes;
  });
  const length = strings.reduce((sum, string) => sum + string.length, HEAD_LENGTH);
  if (length > MAX_LENGTH || args.length > MAX_COUNT || variables.length > MAX_COUNT) {
    throw refuse(
      `its arguments and variables take ${length} bytes, and at most ${MAX_LENGTH} can be handed over`,
      'write them to a file of the share, or to its stdin',
    );
  }
  const { columns, rows } = pty === true ? TERMINAL : pty || { columns: 0, rows: 0 };
  for (const size of [columns, rows])
    if (!Number.isInteger(size) || size < 0 || size > MAX_COUNT)
      throw refuse(`its terminal can't have ${size} columns or rows`, `give whole numbers up to ${MAX_COUNT}`);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  const flags = (pty ? 1 : 0) | (isKept ? 0 : 0x100);
  [flags, columns, rows, args.length, variables.length].forEach((value, n) => view.setUint16(2 * n, value, true));
  let at = HEAD_LENGTH;
  for (const string of strings) {
    bytes.set(string, at);
    at += string.length;
  }
  return bytes;
}

/** Why the guest's kernel did not start a program. */
export function commandError(program: string, cwd: string, errno: number, isDirectory: boolean): VmError {
  const reason = errnoName(errno);
  const name = printable(JSON.stringify(program));
  if (isDirectory) {
    const what =
      reason === 'ENOENT'
        ? 'does not exist'
        : reason === 'ENOTDIR'
          ? 'is not a directory'
          : `can't be entered (${reason})`;
    return new CommandError(`the guest can't run ${name}: its working directory ${printable(cwd)} ${what}`, 126);
  }
  switch (reason) {
    case 'ENOENT':
      return new CommandError(
        `the guest has no program ${name}, or not the interpreter that its first line names`,
        127,
      );
    case 'EACCES':
      return new CommandError(`the guest can't run ${name}: it is not an executable file, or not allowed`, 126);
    case 'ENOEXEC':
      return new CommandError(
        `the guest can't run ${name}: it is neither a program for this processor nor a script`,
        126,
      );
    default:
      return new CommandError(`the guest can't run ${name}: ${reason}`, 126);
  }
}
