import type { SignalName } from './signals.ts';

/** Options of a process in the guest. */
export interface SpawnOptions {
  /** Variables on top of the guest's default environment. */
  env?: Record<string, string>;
  /** Default: `/root`. */
  cwd?: string;
  /** Whom it runs as: `UID`, `UID:GID`, or names that the guest knows, with HOME, USER and LOGNAME as su sets them. Default: root. */
  user?: string;
  /** Gives the process a terminal, of 80 columns and 24 rows for `true`; its output comes on stdout alone, its lines with `\r\n`. The end of its input is ^D. */
  pty?: boolean | { columns: number; rows: number };
  /**
   * Whether it waits for somebody to `attach` when the guest comes back from a snapshot, or to another host: its output is held back, and its exit code
   * kept. Default: true. Otherwise its stdin ends there, and its output and exit code are nobody's.
   */
  isKept?: boolean;
}

/**
 * Takes output; the buffer is its own. When it returns a promise, so much may be under way (1 MiB of a process) until that resolves, and the process
 * waits then. One that fails has the process killed.
 */
export type OutputListener = (data: Uint8Array) => unknown;

/** A command running in the guest, as whoever has started it sees it. */
export interface RunningCommand {
  /** Output is held back (and the process, in time) until its listener is set. */
  onStdout: OutputListener | undefined;
  onStderr: OutputListener | undefined;
  /** Exit code; 128 + the signal's number when a signal ended it. Rejects when the link to it is lost. */
  readonly exited: Promise<number>;
  /** Feeds stdin. The data is copied. Resolves when the guest has taken it. */
  write(data: Uint8Array | string): Promise<void>;
  /** Ends stdin: the process reads the end of its input. */
  closeStdin(): void;
  /** `signal`: its name, or its number in the guest. Default: SIGTERM. Goes to the process group. */
  kill(signal?: SignalName | number): void;
  /** Changes the size of its terminal; the process gets SIGWINCH. */
  resize(columns: number, rows: number): void;
}

/** A command running in the guest, which others can go on with. */
export interface GuestProcess extends RunningCommand {
  /** Names the process for `attach`, in this host process and in another one after a restore. */
  readonly id: number;
  /** In the guest; undefined until it runs. */
  readonly pid: number | undefined;
  /** Leaves it running, for this agent or another one to `attach` to. */
  detach(): void;
}
