import { joinSignals } from '../../device/join-signals.ts';
import { VmError } from './errors.ts';
import { PATIENCE } from './guest-life.ts';
import type { Machine } from './machine.ts';
import { printable } from './printable.ts';

/** What a guest is waited for. */
export type Expected =
  /** A file or directory in it is there. */
  | { file: string }
  /** Something in it listens on a TCP port. */
  | { port: number }
  /** A line of its console, of those that are kept, has this in it. One that has no end yet counts too. */
  | { line: string | RegExp };

/** For how long something is waited for. */
export interface WaitOptions {
  /** Default: 60,000. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** Milliseconds between two looks at the console. */
const PAUSE = 20;
const UNTIL_FILE = 'until [ -e "$1" ]; do sleep 0.02; done';
/** State 0A of /proc/net/tcp is LISTEN. */
const UNTIL_PORT =
  'until cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q ":$1 0*:0000 0A "; do sleep 0.02; done';

/** Waits until something of a guest is there. @throws VmError `timeout`, with the console's last lines, and as `Machine.execBytes`. */
export async function waitFor(
  vm: Machine,
  expected: Expected,
  { timeoutMs = PATIENCE, signal }: WaitOptions = {},
): Promise<void> {
  if ('line' in expected) return waitForLine(vm, expected.line, timeoutMs, signal);
  if ('port' in expected && !(Number.isInteger(expected.port) && expected.port > 0 && expected.port < 65536))
    throw new VmError('configuration', `there is no port ${expected.port}: give a number from 1 to 65535`);
  const [script, word] =
    'file' in expected
      ? [UNTIL_FILE, expected.file]
      : [UNTIL_PORT, expected.port.toString(16).toUpperCase().padStart(4, '0')];
  await vm.exec(['/bin/sh', '-c', script, 'sh', word], { cwd: '/', timeoutMs, signal, check: true });
}

async function waitForLine(
  vm: Machine,
  wanted: string | RegExp,
  timeoutMs: number,
  given: AbortSignal | undefined,
): Promise<void> {
  const has =
    typeof wanted === 'string'
      ? (line: string) => line.includes(wanted)
      : (
          (pattern) => (line: string) =>
            pattern.test(line)
        )(new RegExp(wanted.source, wanted.flags.replace(/[gy]/g, '')));
  const { signal, release } = joinSignals([vm.life.signal, given]);
  const end = performance.now() + timeoutMs;
  try {
    while (!vm.console.lines.some(has)) {
      signal.throwIfAborted();
      if (vm.isStopped) throw new VmError('stopped', 'this machine was stopped while its console was waited for');
      if (performance.now() > end)
        throw new VmError(
          'timeout',
          `the guest's console did not say ${printable(String(wanted))} within ${timeoutMs / 1000} s: it ends with\n${vm.console.tail()}`,
        );
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  } finally {
    release();
  }
}
