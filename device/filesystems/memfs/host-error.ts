import { ERRNO, type ErrnoName, errnoName, FsError } from '../../fs/errno.ts';
import { NotYet } from '../../fs/not-yet.ts';

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
    throw errorOf(code, `${DESCRIPTIONS[code] ?? 'filesystem error'}, ${syscall}${where}`, { syscall, path, dest });
  }
}

/** Runs what uses the content of a file, as {@link forHost}. What is not here yet is an error that says what to do; `path` is told of it. */
export function withContent<T>(syscall: string, path: (error: NotYet) => string, run: () => T): T {
  return forHost(syscall, undefined, undefined, () => {
    try {
      return run();
    } catch (error) {
      if (!(error instanceof NotYet)) throw error;
      const where = path(error);
      const what = `the content is not here yet, ${syscall} '${where}': use \`fs.promises\`, or \`await share.fetch(${JSON.stringify(where)})\` first`;
      throw errorOf('EAGAIN', what, { syscall, path: where });
    }
  });
}

function errorOf(code: ErrnoName, what: string, details: { syscall: string; path?: string; dest?: string }): Error {
  return Object.assign(new Error(`${code}: ${what}`), { errno: -ERRNO[code], code, ...details });
}
