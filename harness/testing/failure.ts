import type { RequestRecord } from '../../device/index.ts';
import { VmError } from '../machine/errors.ts';
import { printable, printableLines } from '../machine/printable.ts';
import type { Vm } from '../node/vm.ts';

/** Requests of each share that are told. */
const REQUESTS = 12;
const CONSOLE_LINES = 15;
/** Arguments that are seldom of use: sizes of structs, and what is always the same. */
const DULL = new Set(['padding', 'dummy', 'unused', 'names', 'read_flags', 'write_flags', 'open_flags', 'lock_owner']);

/** What a machine shows of why a test has failed with `error`. `kept`: lines that say where it is kept. */
export function describeMachine(
  vm: Vm,
  records: ReadonlyMap<string, readonly RequestRecord[]>,
  kept: string,
  error: unknown,
): string {
  const requests = [...records].map(([tag, all]) => {
    const last = all.slice(-REQUESTS).map((record) => `  | ${printable(describeRequest(record))}`);
    return `The last requests of share ${printable(JSON.stringify(tag))}:\n${last.join('\n') || '  (there were none)'}`;
  });
  // Some errors have it already.
  const hasConsole = error instanceof VmError && error.message.includes('console ends with');
  const console = `The guest's console ends with\n${printableLines(vm.console.tail(CONSOLE_LINES))}`;
  return [...(hasConsole ? [] : [console]), ...requests, kept].join('\n');
}

function describeRequest({ number, opcode, nodeid, args, error, written, hasWaited, duration }: RequestRecord): string {
  const { names } = args as { names?: string[] };
  const words = Object.entries(args).flatMap(([name, value]) =>
    DULL.has(name) || typeof value === 'object' || !value
      ? []
      : `${name}=${/flags|valid|mask/.test(name) ? `0x${(value as number | bigint).toString(16)}` : String(value)}`,
  );
  const result = written === undefined ? 'waits' : error || (hasWaited ? `ok, after ${duration.toFixed(1)} ms` : 'ok');
  return [
    `#${number} ${opcode}`,
    `node ${nodeid}`,
    ...(names ?? []).map((name) => JSON.stringify(name)),
    ...words,
    `→ ${result}`,
  ].join(' ');
}

/** Adds `text` to what an error says: to its message, and to the stack, which has that in it. What was thrown may be anything. */
export function withReport(thrown: unknown, text: string): Error {
  if (!(thrown instanceof Error) && !isErrorLike(thrown))
    return new Error(`${String(thrown)}\n\n${text}`, { cause: thrown });
  const { message, stack } = thrown;
  const longer = `${message}\n\n${text}`;
  try {
    Object.defineProperty(thrown, 'message', { value: longer, configurable: true, writable: true });
    if (typeof stack === 'string') {
      const at = message ? stack.indexOf(message) : stack.indexOf('\n    at ');
      const end = at < 0 ? 0 : at + message.length;
      const changed = at < 0 ? `${longer}\n${stack}` : `${stack.slice(0, end)}\n\n${text}${stack.slice(end)}`;
      Object.defineProperty(thrown, 'stack', { value: changed, configurable: true, writable: true });
    }
    return thrown as Error;
  } catch {
    return new Error(longer, { cause: thrown });
  }
}

/** Of another realm, as in jest. */
function isErrorLike(thrown: unknown): thrown is Error {
  return typeof thrown === 'object' && thrown !== null && typeof (thrown as Error).message === 'string';
}
