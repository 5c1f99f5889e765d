import type { MessagePort } from 'node:worker_threads';
import type { SpawnOptions } from '../../machine/agent/guest-process.ts';
import type { SignalName } from '../../machine/agent/signals.ts';
import { CommandError, VmError, type VmErrorKind } from '../../machine/errors.ts';
import type { HostShare } from '../shares/share.ts';
import { TOLD_ERRORS } from '../told-errors.ts';
import type { VmOptions } from '../vm-options.ts';

/** Of a machine that goes on in another thread: what can be said there. */
export interface ThreadVmOptions
  extends Pick<
    VmOptions,
    | 'memory'
    | 'reseed'
    | 'live'
    | 'images'
    | 'imagePatience'
    | 'driver'
    | 'kernel'
    | 'initrd'
    | 'modules'
    | 'bios'
    | 'timeoutMs'
  > {
  clock?: 'host' | 'keep';
}

/** What a thread is given at its start. */
export interface ThreadData {
  /** Of the store. */
  store: string;
  /** Of the snapshot. */
  id: string;
  options: ThreadVmOptions;
  /** v86's module, compiled once for all. */
  wasm: WebAssembly.Module;
  /** As in `VmWorkersOptions`. */
  rewinds: boolean;
}

/** One machine, from its beginning to its end. */
export interface Task {
  port: MessagePort;
}

/** What has become of a {@link Task}. */
export interface Outcome {
  failure?: Failure;
}

/** Where a share is in the guest. */
export type PlacedShare = Pick<HostShare, 'tag' | 'isRoot' | 'mountPoint'>;

export type Output = 'stdout' | 'stderr';

/** `command`: its number in the machine. */
export type ToThread =
  | { do: 'spawn'; command: number; argv: string | string[]; options: SpawnOptions }
  | { do: 'kill'; command: number; signal: SignalName | number }
  | { do: 'write'; command: number; data: Uint8Array }
  | { do: 'closeStdin'; command: number }
  | { do: 'resize'; command: number; columns: number; rows: number }
  /** The first output that was not taken yet is. */
  | { do: 'take'; command: number; output: Output }
  | { do: 'release' };

/** What is said of one command. */
export type OfCommand = Exclude<FromThread, { say: 'ready' | 'trouble' }>;

export type FromThread =
  | { say: 'ready'; shares: PlacedShare[] }
  /** As `VmOptions.onImageTrouble`. */
  | { say: 'trouble'; message: string }
  | { say: Output; command: number; data: Uint8Array }
  /** Of the first input that was not taken yet. */
  | { say: 'written'; command: number; failure?: Failure }
  | { say: 'exited'; command: number; code: number }
  | { say: 'failed'; command: number; failure: Failure };

/** An error on its way to another thread, which structured clones are not. */
export interface Failure {
  name: string;
  message: string;
  stack?: string;
  /** Of a VmError. */
  kind?: VmErrorKind;
  /** Of a CommandError. */
  code?: 126 | 127;
}

export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { message, stack } = error;
  if (error instanceof CommandError)
    return { name: 'CommandError', message, stack, kind: error.kind, code: error.code };
  if (error instanceof VmError) return { name: 'VmError', message, stack, kind: error.kind };
  const known = TOLD_ERRORS.find((kind) => error instanceof kind);
  return { name: known?.name ?? error.name, message, stack };
}

export function errorOf({ name, message, stack, kind, code }: Failure): Error {
  if (code !== undefined) return new CommandError(message, code);
  if (kind !== undefined) return new VmError(kind, message);
  const Known = TOLD_ERRORS.find((known) => known.name === name);
  if (Known) return new Known(message);
  return Object.assign(new Error(message), { name, stack });
}
