import { F_RDLCK, F_UNLCK, F_WRLCK } from './constants.ts';
import { EINVAL, FsError } from './errno.ts';

/** Last byte a lock can cover, `OFFSET_MAX` of the kernel: a lock to the end of file has it as its end. */
export const LOCK_END_MAX = 2n ** 63n - 1n;

/** flock(2) locks and fcntl(2) byte-range locks (POSIX and OFD alike) do not see each other. */
export type LockSpace = 'posix' | 'flock';

/** A lock that is held, or wanted. */
export interface Lock {
  space: LockSpace;
  ino: number;
  /** The FUSE session it belongs to: owners of different guests may have equal numbers. */
  session: string;
  /** `fuse_lk_in.owner`: a process's file table for POSIX locks, an open file for OFD and flock. */
  owner: bigint;
  /** The open file it was taken through: `LockTable.releaseHandle` drops it with that. */
  fh: bigint;
  pid: number;
  /** F_RDLCK or F_WRLCK; F_UNLCK in a request gives a range up. */
  type: number;
  /** First and last byte, 0 to 2^63 - 1. A flock lock always covers the whole file. */
  start: bigint;
  end: bigint;
}

/** A checked copy of a request. @throws FsError EINVAL for a range or a type that no lock has. */
export function normalize(request: Lock): Lock {
  if (request.start < 0n || request.end < request.start || request.end > LOCK_END_MAX) throw FsError.of(EINVAL);
  if (request.type !== F_RDLCK && request.type !== F_WRLCK && request.type !== F_UNLCK) throw FsError.of(EINVAL);
  const lock = copyOf(request);
  return lock.space === 'flock' ? { ...lock, start: 0n, end: LOCK_END_MAX } : lock;
}

export function overlap(a: Lock, b: Lock): boolean {
  return a.start <= b.end && b.start <= a.end;
}

/** Whether locks of two owners on one file exclude each other. */
export function excludes(a: Lock, b: Lock): boolean {
  return (a.type === F_WRLCK || b.type === F_WRLCK) && overlap(a, b);
}

/** Tells the owners of all sessions in both spaces apart. */
export function ownerKey({ space, session, owner }: Lock): string {
  return `${space} ${session} ${owner}`;
}

/** The lock alone, whatever else is kept with it. */
export function copyOf({ space, ino, session, owner, fh, pid, type, start, end }: Readonly<Lock>): Lock {
  return { space, ino, session, owner, fh, pid, type, start, end };
}
