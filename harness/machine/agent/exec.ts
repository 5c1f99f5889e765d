import { concat } from '../../../device/bytes.ts';
import { joinSignals } from '../../../device/join-signals.ts';
import { VmError } from '../errors.ts';
import { unlessAborted } from '../unless-aborted.ts';
import type { GuestAgent, SpawnOptions } from './guest-agent.ts';

/** Options of a command that runs to its end. */
export interface ExecOptions extends Omit<SpawnOptions, 'pty' | 'isKept'> {
  stdin?: Uint8Array | string;
  /** Kills the command, and rejects, when it takes longer. Default: none. */
  timeoutMs?: number;
  /** Bytes of stdout and stderr together: with more the command is killed, and this rejects. Default: 64 MiB. */
  maxOutput?: number;
  /** Kills the command, and rejects. */
  signal?: AbortSignal;
}

/** What came of a command, as bytes. */
export interface ExecOutput {
  stdout: Uint8Array;
  stderr: Uint8Array;
  /** Exit code; 128 + the signal's number when a signal ended it. */
  code: number;
}

/** As {@link ExecOutput}, with the output as text. */
export interface ExecResult {
  stdout: string;
  stderr: string;
  code: number;
}

/** Bytes of output that are kept. */
const MAX_OUTPUT = 64 << 20;

/** Runs a command to its end, as `GuestAgent.exec` says. */
export async function runToEnd(
  agent: Pick<GuestAgent, 'spawn'>,
  command: string | string[],
  { stdin, timeoutMs, signal, maxOutput = MAX_OUTPUT, ...options }: ExecOptions = {},
): Promise<ExecOutput> {
  signal?.throwIfAborted();
  const process = agent.spawn(command, { ...options, isKept: false });
  let left = maxOutput;
  const collect = (): [Uint8Array[], (data: Uint8Array) => void] => {
    const parts: Uint8Array[] = [];
    return [
      parts,
      (data) => {
        left -= data.length;
        if (left < 0)
          throw new VmError(
            'guest',
            `the guest's command wrote more than ${maxOutput} bytes and was killed: raise maxOutput, or spawn it and take its output as it comes`,
          );
        parts.push(data);
      },
    ];
  };
  const [stdout, onStdout] = collect();
  const [stderr, onStderr] = collect();
  process.onStdout = onStdout;
  process.onStderr = onStderr;
  if (stdin !== undefined) process.write(stdin).catch(() => {});
  process.closeStdin();
  const { signal: abort, release } = joinSignals([signal], timeoutMs);
  try {
    const code = await unlessAborted(abort, process.exited);
    return { stdout: concat(stdout), stderr: concat(stderr), code };
  } catch (error) {
    if (abort.aborted) process.kill('SIGKILL');
    throw error;
  } finally {
    release();
  }
}
