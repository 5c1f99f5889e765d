import { printable } from '../../machine/printable.ts';
import { OWN_FAILURE } from './options.ts';

/** What a shell makes of SIGPIPE. */
const BROKEN_PIPE = 141;

type Output = 'stdout' | 'stderr';

const lost = new Map<Output, NodeJS.ErrnoException>();
const listeners = new Set<(output: Output) => void>();
const draining = new Map<Output, Promise<void>>();

/** To be called before anything is written to this process's stdout and stderr, or to others in their place: who reads them may go, and their disk may be full. */
export function watchOutput(): void {
  for (const known of [lost, listeners, draining]) known.clear();
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

/** As {@link put}, of what may be much: settles when there is room for more, or nobody reads it any more. */
export async function pass(output: Output, data: Uint8Array | string): Promise<void> {
  if (lost.has(output) || process[output].write(data)) return;
  let drained = draining.get(output);
  if (drained === undefined) draining.set(output, (drained = drain(output)));
  await drained;
}

function drain(output: Output): Promise<void> {
  const stream = process[output];
  return new Promise((resolve) => {
    const end = () => {
      stream.off('drain', end).off('error', end);
      draining.delete(output);
      resolve();
    };
    stream.on('drain', end).on('error', end);
  });
}

async function flush(output: Output): Promise<void> {
  const stream = process[output];
  // What could not be written at once is known a turn later.
  await new Promise((resolve) => setImmediate(resolve));
  // Writing nothing is writing too, where nobody reads.
  if (!lost.has(output) && stream.writableLength) await new Promise((written) => stream.write('', written));
}

/** When all has been written that can be: what stdout being lost makes of the exit code. */
export async function finishOutput(): Promise<void> {
  await flush('stdout');
  const error = lost.get('stdout');
  if (error?.code === 'EPIPE') process.exitCode ||= BROKEN_PIPE;
  else if (error) {
    put('stderr', `v86-virtiofs: can't write to stdout: ${printable(error.message)}\n`);
    // Of a command that was ended because of this.
    if (process.exitCode === BROKEN_PIPE) process.exitCode = 0;
    process.exitCode ||= OWN_FAILURE;
  }
  await flush('stderr');
}
