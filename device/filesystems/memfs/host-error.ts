import { ERRNO, type ErrnoName, errnoName, FsError } from '../../fs/errno.ts';

/** What libuv says for the errors that the host's `fs` calls can meet here. */
const DESCRIPTIONS: Partial<Record<ErrnoName, string>> = {
  EBADF: 'bad file descriptor',
  EBUSY: 'resource busy or locked',
  EEXIST: 'file already exists',
  EFBIG: 'file too large',
  EINVAL: 'invalid argument',
  EISDIR: 'illegal operation on a directory',
  EMLINK: 'too many links',
  ENAMETOOLONG: 'name too long',
  ENOENT: 'no such file or directory',
  ENOSPC: 'no space left on device',
  ENOTDIR: 'not a directory',
  ENOTEMPTY: 'directory not empty',
  ENXIO: 'no such device or address',
  EPERM: 'operation not permitted',
};

/** Runs what the host asked for; an {@link FsError} becomes an error as Node's `fs` throws it. */
export function forHost<T>(syscall: string, path: string | undefined, dest: string | undefined, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof FsError)) throw error;
    const code = errnoName(error.code) as ErrnoName;
    const where = path === undefined ? '' : ` '${path}'${dest === undefined ? '' : ` -> '${dest}'`}`;
    throw Object.assign(new Error(`${code}: ${DESCRIPTIONS[code] ?? 'filesystem error'}, ${syscall}${where}`), {
      errno: -ERRNO[code],
      code,
      syscall,
      path,
      dest,
    });
  }
}
