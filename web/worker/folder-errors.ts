import {
  EEXIST,
  EINVAL,
  EISDIR,
  ENAMETOOLONG,
  ENOENT,
  ENOSPC,
  ENOTDIR,
  ESTALE,
  FsError,
} from '../../device/fs/errno.ts';
import { NotYet } from '../../device/fs/not-yet.ts';

const REASONS: Record<number, string> = {
  [EEXIST]: 'is there already: choose another name',
  [EINVAL]: 'is not a valid file name',
  [EISDIR]: 'is a folder',
  [ENAMETOOLONG]: 'is too long: a name has 255 bytes at most',
  [ENOENT]: 'does not exist',
  [ESTALE]: 'no longer exists',
  [ENOSPC]: 'does not fit: the shared folder is full; delete something, and try again',
  [ENOTDIR]: 'no longer exists: its folder was replaced by a file',
};

/** Does something with a file, with errors that a visitor understands. @throws NotYet too, when its content is not here. */
export function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (error instanceof FsError && !(error instanceof NotYet))
      throw new Error(`${path} ${REASONS[error.code] ?? `can’t be used: ${error.message}`}`, { cause: error });
    throw error;
  }
}

export function reasonOf(error: unknown): string {
  if (error instanceof FsError && error.code === ENOSPC)
    return 'the shared folder is full; delete something, and try again';
  return (error as Error).message;
}
