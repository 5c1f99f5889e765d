import { MigrationError } from '../../../device/index.ts';
import type { GuestProcess } from '../../machine/agent/guest-agent.ts';
import { SIGNALS, type SignalName } from '../../machine/agent/signals.ts';

/** What a terminal or a supervisor ends a program with. */
const PASSED_ON = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;

/**
 * Passes signals that end programs on to a command in a guest while `action` runs: the first as it is, so that the command's own traps run, the
 * second as SIGKILL. With the third nobody waits for the command any more.
 *
 * @returns what `action` returns, or 128 + the signal's number.
 */
export async function passingSignals(
  command: Pick<GuestProcess, 'kill'>,
  action: () => Promise<number>,
  pass: (signal: SignalName) => void = (signal) => command.kill(signal),
): Promise<number> {
  let count = 0;
  let giveUp = (_code: number) => {};
  const givenUp = new Promise<number>((resolve) => (giveUp = resolve));
  const onSignal = (signal: NodeJS.Signals) => {
    count++;
    if (count === 1) pass(signal as SignalName);
    else if (count === 2) command.kill('SIGKILL');
    else giveUp(128 + SIGNALS[signal as SignalName]);
  };
  for (const signal of PASSED_ON) process.on(signal, onSignal);
  try {
    return await Promise.race([action(), givenUp]);
  } finally {
    for (const signal of PASSED_ON) process.removeListener(signal, onSignal);
  }
}

/**
 * Does what can be broken off: the first signal does that, and goes on to `command` as {@link passingSignals} says.
 *
 * @returns 0, or 128 + the signal's number when there was one.
 */
export async function breakingOff(
  command: Pick<GuestProcess, 'kill'> | undefined,
  action: (signal: AbortSignal) => Promise<void>,
): Promise<number> {
  const broken = new AbortController();
  let code = 0;
  const act = async () => {
    await action(broken.signal);
    return code;
  };
  return passingSignals({ kill: (signal) => command?.kill(signal) }, act, (signal) => {
    code = 128 + SIGNALS[signal];
    broken.abort(new MigrationError(`it was interrupted by ${signal}`));
    command?.kill(signal);
  });
}

/** Does what must not be left half done: the first signal is answered with `notice`, the second one ends this process, when what would be left behind is removed. */
export async function finishing<T>(notice: string, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let count = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    if (++count === 1) process.stderr.write(`${notice}\n`);
    else abort.abort(signal);
  };
  for (const signal of PASSED_ON) process.on(signal, onSignal);
  try {
    return await action(abort.signal);
  } finally {
    for (const signal of PASSED_ON) process.removeListener(signal, onSignal);
  }
}
