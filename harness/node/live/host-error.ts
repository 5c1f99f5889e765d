import { EIO, EOPNOTSUPP, ERRNO, type ErrnoName, FsError } from '../../../device/fs/errno.ts';

/** Linux's numbers by the names that Node has for the host's errors. */
const NUMBERS = new Map<string, number>([
  ...(Object.entries(ERRNO) as [ErrnoName, number][]),
  // The same number on Linux.
  ['ENOTSUP', EOPNOTSUPP],
]);

/** What the guest is told of the host's refusal; EIO for what Linux has no number for. @throws what was no refusal of the host's. */
export function toFsError(error: unknown): FsError {
  if (error instanceof FsError) return error;
  if (!(error instanceof Error) || !('syscall' in error)) throw error;
  return FsError.of(NUMBERS.get((error as NodeJS.ErrnoException).code ?? '') ?? EIO);
}

/** Does something with the host's files. @throws FsError with its refusal. */
export function onHost<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw toFsError(error);
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}
