import { VmError } from '../../machine/errors.ts';
import { printableLines } from '../../machine/printable.ts';
import { TOLD_ERRORS } from '../told-errors.ts';
import { exitCodeOf } from './options.ts';
import { finishOutput, put } from './output.ts';

/** Where other failures come from is of use too. */
const EXPECTED = [VmError, ...TOLD_ERRORS];

/** Whether what it says is for the user. */
export function isExpected(error: unknown): boolean {
  return EXPECTED.some((kind) => error instanceof kind);
}

/** Does what a command does, to its end: says why it has failed, and sets the exit code. Settles when all output is written. */
export async function endCommand(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    const text = (isExpected(error) ? (error as Error).message : (error as Error).stack) ?? String(error);
    put('stderr', `v86-virtiofs: ${printableLines(text)}\n`);
    process.exitCode = exitCodeOf(error);
  }
  await finishOutput();
}
