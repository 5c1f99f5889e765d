import { printable } from '../../machine/printable.ts';
import { OWN_FAILURE } from './options.ts';

/** What a shell makes of SIGPIPE. */
const BROKEN_PIPE = 141;

type Output = 'stdout' | 'stderr';

const lost = new Map<Output, NodeJS.ErrnoException>();
const listeners = new Set<(output: Output) => void>();

/** To be called once, before anything is written: who reads stdout or stderr may go, and their disk may be full. */
export function watchOutput(): void {
  for (const name of ['stdout', 'stderr'] as const) {
    process[name].on('error', (error: NodeJS.ErrnoException) => {
      if (lost.has(name)) return;
      lost.set(name, error);
      for (const listener of listeners) listener(name);
    });
  }
}

/** Tells when nothing can be written to stdout or stderr any more, at once if that is so already. Returns how to stop listening. */
export function onOutputLost(listener: (output: Output) => void): () => void {
  listeners.add(listener);
  for (const name of lost.keys()) listener(name);
  return () => void listeners.delete(listener);
}

/** Writes to stdout or stderr, unless that is lost. */
export function put(output: Output, data: Uint8Array | string): void {
  if (!lost.has(output)) process[output].write(data);
}

/** When all has been written that can be: what stdout being lost makes of the exit code. */
export async function finishOutput(): Promise<void> {
  for (const name of ['stdout', 'stderr'] as const)
    if (!lost.has(name)) await new Promise((written) => process[name].write('', written));
  const error = lost.get('stdout');
  if (!error || process.exitCode) return;
  if (error.code === 'EPIPE') {
    process.exitCode = BROKEN_PIPE;
    return;
  }
  put('stderr', `v86-virtiofs: can't write to stdout: ${printable(error.message)}\n`);
  process.exitCode = OWN_FAILURE;
}
