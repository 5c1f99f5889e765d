/** Linux' signals on x86, by name: the host's may have other numbers. */
export const SIGNALS = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;

/** The name of a Linux signal, such as `SIGTERM`. */
export type SignalName = keyof typeof SIGNALS;

/** The number in the guest. @throws RangeError when Linux has no such signal. */
export function signalNumber(signal: SignalName | number): number {
  const number = typeof signal === 'number' ? signal : SIGNALS[signal];
  if (!Number.isInteger(number) || number < 0 || number > 64)
    throw new RangeError(`Linux has no signal ${signal}: give a name such as SIGTERM, or a number from 1 to 64`);
  return number;
}
