import {
  type BigIntStats,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  utimesSync,
} from 'node:fs';
import type { Timespec } from '../../../device/fs/filesystem.ts';
import { encodeName, isFileName } from '../../../device/fs/names.ts';

/** asm-generic/fcntl.h. Node has no name for it, and runs on no Linux that has another value. */
export const O_PATH = 0o10000000;
const SEPARATOR = Buffer.from('/');

/** Directories in directories that are gone into: each one that is open takes a descriptor, and room on the stack. */
export const MAX_DEPTH = 500;
export const TOO_DEEP = `it is in more than ${MAX_DEPTH} directories`;

/** What Node's functions take as a path. */
export type HostPath = string | Buffer;

/** An entry of a directory, by its type at the time of listing. */
export type HostEntry = Dirent & { name: Buffer };

/** Why an entry is left as it is: not a failure of the whole. */
export class Refusal extends Error {}

const MOVED = 'a directory above it was moved or replaced on the host meanwhile';

/**
 * A directory of the host, as a place to reach entries through without ever following a symbolic link, whatever
 * the host's programs put in place of directories meanwhile.
 *
 * On Linux it is a descriptor (O_PATH, O_NOFOLLOW), and entries are reached through `/proc/self/fd`, for want of
 * openat(2) in Node; {@link at} also asks the kernel whether the directory is still where it is meant to be.
 * Elsewhere, or without /proc, the path is resolved anew right before each operation: whoever replaces a directory
 * between that and the operation is not noticed.
 */
export class HostDirectory {
  /** Of directories above it. */
  readonly depth: number;
  readonly #parent: HostDirectory | undefined;
  readonly #name: string;
  readonly #beforeOperation: (() => void) | undefined;
  #fd: number | undefined;
  /** How entries are reached: `/proc/self/fd/N`, or the path. */
  #prefix: Buffer | undefined;
  /** Where the kernel is to say that it is. */
  #path!: Buffer;

  private constructor(parent: HostDirectory | undefined, name: string, beforeOperation: (() => void) | undefined) {
    this.depth = parent ? parent.depth + 1 : 0;
    this.#parent = parent;
    this.#name = name;
    this.#beforeOperation = beforeOperation;
  }

  /** The directory at `path`, which may be a symbolic link to it. `beforeOperation` is called before each use of {@link at}'s result, for tests. */
  static open(path: string, beforeOperation?: () => void): HostDirectory {
    const root = new HostDirectory(undefined, '', beforeOperation);
    root.#open(Buffer.from(`${path}/.`), realpathSync(`${path}/.`, { encoding: 'buffer' }), 0);
    return root;
  }

  /** A directory in this one. It is opened when it is first used. */
  child(name: string): HostDirectory {
    return new HostDirectory(this, name, this.#beforeOperation);
  }

  /** Where to reach an entry to change it. @throws Error when this directory was moved, removed or replaced. */
  at(name: string): HostPath {
    const path = this.reach(name);
    this.#check();
    this.#beforeOperation?.();
    return path;
  }

  /** Where to reach an entry to read it: as {@link at}, of a directory that may have been moved since it was opened. */
  reach(name: string): HostPath {
    if (!isFileName(name)) throw new Error('no file can have this name');
    const prefix = this.#opened();
    return this.#fd !== undefined && name.isWellFormed()
      ? `/proc/self/fd/${this.#fd}/${name}`
      : Buffer.concat([prefix, SEPARATOR, encodeName(name)]);
  }

  /** What an entry is; undefined when there is none. */
  lookup(name: string): BigIntStats | undefined {
    return lstatSync(this.at(name), { bigint: true, throwIfNoEntry: false });
  }

  list(): HostEntry[] {
    return readdirSync(this.#opened(), { encoding: 'buffer', withFileTypes: true }) as unknown as HostEntry[];
  }

  stats(): BigIntStats {
    this.#opened();
    return this.#fd === undefined ? lstatSync(this.#self, { bigint: true }) : fstatSync(this.#fd, { bigint: true });
  }

  chmod(mode: number): void {
    chmodSync(this.#self, mode);
  }

  chown(uid: number, gid: number): void {
    chownSync(this.#self, uid, gid);
  }

  utimes(atime: Timespec, mtime: Timespec): void {
    utimesSync(this.#self, hostTime(atime), hostTime(mtime));
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = this.#prefix = undefined;
  }

  /** The directory itself, to be changed. */
  get #self(): Buffer {
    const prefix = this.#opened();
    this.#check();
    this.#beforeOperation?.();
    return prefix;
  }

  #opened(): Buffer {
    if (!this.#prefix) {
      const at = this.#parent!.at(this.#name);
      this.#open(at, Buffer.concat([this.#parent!.#path, SEPARATOR, encodeName(this.#name)]), constants.O_NOFOLLOW);
    }
    return this.#prefix!;
  }

  #open(at: HostPath, path: Buffer, flags: number): void {
    this.#path = path;
    if (process.platform === 'linux') {
      this.#fd = openSync(at, O_PATH | constants.O_DIRECTORY | flags);
      this.#prefix = Buffer.from(`/proc/self/fd/${this.#fd}`);
      try {
        if (!this.#parent) this.#path = readlinkSync(this.#prefix, { encoding: 'buffer' });
        return;
      } catch {
        this.close();
      }
    }
    if (!lstatSync(at).isDirectory()) throw new Refusal(MOVED);
    this.#prefix = path;
  }

  /** Whether it still is where it was: through which names it is reached is not for others to choose. */
  #check(): void {
    const path =
      this.#fd === undefined
        ? realpathSync(this.#path, { encoding: 'buffer' })
        : readlinkSync(this.#prefix!, { encoding: 'buffer' });
    if (!path.equals(this.#path)) throw new Refusal(MOVED);
  }
}

/** As `utimes` takes it, which keeps microseconds. Node takes negative numbers for now, but not negative texts. */
export function hostTime({ sec, nsec }: Timespec): number | string {
  const microseconds = sec * 1e6 + Math.floor(nsec / 1000);
  // libuv cuts off what is behind the microsecond; the half keeps it from cutting off one more.
  const seconds = (microseconds + (microseconds < 0 ? -0.5 : 0.5)) / 1e6;
  return seconds < 0 ? String(seconds) : seconds;
}

/** Why the host refused something, for a report. @throws what was no refusal of the host's. */
export function reasonOf(error: unknown): string {
  if (error instanceof Refusal) return error.message;
  if (!isHostError(error)) throw error;
  switch (error.code) {
    case 'ELOOP':
    case 'ENOTDIR':
      return MOVED;
    case 'ENOENT':
      return 'it, or a directory above it, was removed on the host meanwhile';
    case 'ENOTEMPTY':
      return 'the host has put something into it meanwhile';
    case 'EEXIST':
      return 'the host has made an entry of this name meanwhile';
    case 'EACCES':
    case 'EPERM':
      return `the host does not permit it (${error.code}): check the permissions there`;
    case 'ENOSPC':
    case 'EDQUOT':
      return `the host's disk is full (${error.code}): make room there`;
    case 'EFBIG':
      return "the host's file system holds no file of this size";
    case 'ENAMETOOLONG':
      return 'its path is too long for the host';
    default:
      return error.message.split(', ')[0]!;
  }
}

export function isHostError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error;
}

/** Only root can give files to others. */
export function ignoringPermission(give: () => void): void {
  try {
    give();
  } catch (error) {
    if (!isHostError(error) || error.code !== 'EPERM') throw error;
  }
}

/** This process's. `process.umask()` sets it for a moment, which other threads would notice. */
export function umask(): number {
  try {
    const [, digits] = /^Umask:\s*([0-7]+)$/m.exec(readFileSync('/proc/self/status', 'latin1')) ?? [];
    if (digits !== undefined) return parseInt(digits, 8);
  } catch {
    // Not Linux.
  }
  return process.umask();
}
