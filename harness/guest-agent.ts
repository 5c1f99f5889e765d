/** A byte stream to the agent in the guest, see {@link uartChannel}. */
export interface AgentChannel {
  /** Takes a borrowed buffer. Bytes handed over are never refused. */
  write(bytes: Uint8Array): void;
  onData(callback: (bytes: Uint8Array) => void): void;
}

/** The members of a `V86` that carry a UART's bytes. */
export interface UartBus {
  add_listener(event: string, listener: (byte: number) => void): void;
  bus: { send(event: string, byte: number): void };
}

export interface SpawnOptions {
  /** Variables on top of the guest's default environment. */
  env?: Record<string, string>;
  /** Default: `/root`. */
  cwd?: string;
  /** Gives the process a terminal; its output comes on stdout alone. */
  pty?: { columns: number; rows: number };
}

export interface ExecOptions extends Omit<SpawnOptions, 'pty'> {
  stdin?: Uint8Array | string;
  /** Kills the command, and rejects, when it takes longer. Default: none. */
  timeoutMs?: number;
  /** Kills the command, and rejects. */
  signal?: AbortSignal;
}

export interface ExecOutput {
  stdout: Uint8Array;
  stderr: Uint8Array;
  /** Exit code; 128 + the signal's number when a signal ended it. */
  code: number;
}

/** A command running in the guest. */
export interface GuestProcess {
  /** Names the process for `attach`, in this host process and in another one after a restore. */
  readonly id: number;
  readonly pid: number | undefined;
  /** Output is held back (and the process, in time) until its callback is set. Buffers are the callee's. */
  onStdout: ((data: Uint8Array) => void) | undefined;
  onStderr: ((data: Uint8Array) => void) | undefined;
  /** Exit code; 128 + the signal's number when a signal ended it. Rejects when the link to it is lost. */
  readonly exited: Promise<number>;
  /** Feeds stdin. The data is copied. Resolves when the guest has taken it. */
  write(data: Uint8Array | string): Promise<void>;
  closeStdin(): void;
  /** `signal`: its number. Default: SIGTERM. Goes to the process group. */
  kill(signal?: number): void;
  resize(columns: number, rows: number): void;
  /** Leaves it running, for this agent or another one to `attach` to. */
  detach(): void;
}

/** Runs commands in a guest, through the agent of `guest-images/` on a channel of its own. */
export declare class GuestAgent {
  constructor(channel: AgentChannel);
  /** Resolves when the guest's agent answers. Call it again after a restore: it starts a new session. */
  ready(timeoutMs?: number): Promise<void>;
  /** Runs a command to its end. A string goes to `/bin/sh -c`, an array is run as it is. */
  exec(command: string | string[], options?: ExecOptions): Promise<ExecOutput>;
  spawn(command: string | string[], options?: SpawnOptions): GuestProcess;
  /** Ids of the processes that run, or have ended and nobody was told. */
  list(): Promise<number[]>;
  /** Goes on with a process that was detached, or that another host process had started before a snapshot. */
  attach(id: number): GuestProcess;
}

/** The channel of the guest's agent: v86's second UART (`uart1: true`). */
export declare function uartChannel(emulator: UartBus): AgentChannel;
