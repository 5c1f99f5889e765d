/** Linux error numbers, from asm-generic/errno-base.h and errno.h. */
export const ERRNO = {
  EPERM: 1,
  ENOENT: 2,
  EINTR: 4,
  EIO: 5,
  ENXIO: 6,
  E2BIG: 7,
  EBADF: 9,
  EAGAIN: 11,
  ENOMEM: 12,
  EACCES: 13,
  EFAULT: 14,
  EBUSY: 16,
  EEXIST: 17,
  EXDEV: 18,
  ENODEV: 19,
  ENOTDIR: 20,
  EISDIR: 21,
  EINVAL: 22,
  ENFILE: 23,
  EMFILE: 24,
  ENOTTY: 25,
  ETXTBSY: 26,
  EFBIG: 27,
  ENOSPC: 28,
  ESPIPE: 29,
  EROFS: 30,
  EMLINK: 31,
  EPIPE: 32,
  EDOM: 33,
  ERANGE: 34,
  EDEADLK: 35,
  ENAMETOOLONG: 36,
  ENOLCK: 37,
  ENOSYS: 38,
  ENOTEMPTY: 39,
  ELOOP: 40,
  ENODATA: 61,
  EPROTO: 71,
  EOVERFLOW: 75,
  EILSEQ: 84,
  EOPNOTSUPP: 95,
  ENOTCONN: 107,
  ETIMEDOUT: 110,
  EALREADY: 114,
  ESTALE: 116,
  EDQUOT: 122,
  ECANCELED: 125,
} as const;

/** The name of a Linux error number, such as `ENOENT`. */
export type ErrnoName = keyof typeof ERRNO;

export const {
  EPERM,
  ENOENT,
  EINTR,
  EIO,
  ENXIO,
  E2BIG,
  EBADF,
  EAGAIN,
  EACCES,
  EBUSY,
  EEXIST,
  ENODEV,
  ENOTDIR,
  EISDIR,
  EINVAL,
  ENFILE,
  ENOTTY,
  EFBIG,
  ENOSPC,
  EROFS,
  EMLINK,
  ERANGE,
  EDEADLK,
  ENAMETOOLONG,
  ENOLCK,
  ENOSYS,
  ENOTEMPTY,
  ENODATA,
  EPROTO,
  EOVERFLOW,
  EOPNOTSUPP,
  ESTALE,
  EDQUOT,
} = ERRNO;

const NAMES = new Map<number, ErrnoName>(Object.entries(ERRNO).map(([name, code]) => [code, name as ErrnoName]));

/** `ENOENT` for 2; `errno 1234` for a number that is not in {@link ERRNO}. */
export function errnoName(code: number): string {
  return NAMES.get(code) ?? `errno ${code}`;
}

/**
 * A filesystem operation's refusal, as a Linux error number. It is an answer, not an accident, and
 * a lookup that misses is one of the commonest: {@link FsError.of} has one instance per number and
 * no stack trace.
 */
export class FsError extends Error {
  static readonly #instances = new Map<number, FsError>();

  /** An error with this number. */
  static of(code: number): FsError {
    let error = FsError.#instances.get(code);
    if (!error) {
      error = new FsError(code);
      error.stack = `${error.name}: ${error.message}`;
      FsError.#instances.set(code, Object.freeze(error));
    }
    return error;
  }

  override readonly name = 'FsError';
  /** A positive errno, one of {@link ERRNO}. */
  readonly code: number;

  constructor(code: number, message: string = errnoName(code)) {
    super(message);
    this.code = code;
  }
}
