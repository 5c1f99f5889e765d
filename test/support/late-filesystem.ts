import { MemoryFileSystem } from '../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { EIO, FsError } from '../../device/fs/errno.ts';
import type { DirectoryEntry, FileSystem, OpenDirectory } from '../../device/fs/filesystem.ts';
import { randomNumbers } from './hostile-driver.ts';

/** What is asked of a filesystem, and not answered yet. */
export interface Pending {
  /** The method: `lookup`, `write`; `readdir` for what an open directory is asked. */
  readonly name: string;
  /** Does it, and answers. */
  perform(): void;
  /** Answers EIO, with nothing done. */
  fail(): void;
}

export interface LateOptions {
  /** Called with what has to be performed sometime. Default: in the next turns, in any order. */
  schedule?: (pending: Pending) => void;
  /** Of how many requests one is answered at once. Default: none. */
  atOnceOneIn?: number;
  /** Of how many requests one fails, EIO. Default: none. */
  failsOneIn?: number;
  seed?: number;
  /** Its files go with snapshots. Default: false. */
  isPersistent?: boolean;
}

const METHODS = [
  'lookup',
  'getattr',
  'setattr',
  'readlink',
  'statfs',
  'mknod',
  'mkdir',
  'symlink',
  'link',
  'unlink',
  'rmdir',
  'rename',
  'open',
  'create',
  'tmpfile',
  'read',
  'write',
  'fallocate',
  'lseek',
  'copyFileRange',
  'getxattr',
  'setxattr',
  'listxattr',
  'removexattr',
] as const;

/** A filesystem that answers later, in another order than it is asked, and sometimes not as it should. The files are in `files`. */
export function lateFileSystem(files = new MemoryFileSystem(), options: LateOptions = {}): FileSystem {
  const { atOnceOneIn = 0, failsOneIn = 0, seed = 1, isPersistent = false } = options;
  const random = randomNumbers(seed);
  const { schedule = ({ perform }) => (random(3) ? setImmediate(perform) : setTimeout(perform, random(3))) } = options;

  function answer<T>(name: string, perform: () => T): T | Promise<T> {
    const fails = failsOneIn > 0 && random(failsOneIn) === 0;
    const refuse = () => {
      throw FsError.of(EIO);
    };
    if (atOnceOneIn > 0 && random(atOnceOneIn) === 0) return fails ? refuse() : perform();
    return new Promise((resolve, reject) => {
      const settle = (action: () => T) => () => {
        try {
          resolve(action());
        } catch (error) {
          reject(error as Error);
        }
      };
      schedule({ name, perform: settle(fails ? refuse : perform), fail: settle(refuse) });
    });
  }

  const late: Record<string, unknown> = {
    root: files.root,
    uuid: files.uuid,
    locks: files.locks,
    inode: (ino: number) => files.inode(ino),
    retain: (inode: Inode) => files.retain(inode),
    release: (inode: Inode) => files.release(inode),
    opendir: (dir: Inode, end?: number) =>
      answer('opendir', () => lateDirectory(files.opendir(dir, end), answer, random)),
    ...(isPersistent && { persistence: files }),
  };
  for (const name of METHODS) {
    const method = files[name] as (...args: never[]) => unknown;
    late[name] = (...args: never[]) => answer(name, () => method.apply(files, args));
  }
  return late as unknown as FileSystem;
}

/** Gives a few entries at a time. */
function lateDirectory(
  directory: OpenDirectory,
  answer: <T>(name: string, perform: () => T) => T | Promise<T>,
  random: (below: number) => number,
): OpenDirectory {
  return {
    get end() {
      return directory.end;
    },
    read: (cookie, plus, noatime) =>
      answer('readdir', () => {
        const entries: DirectoryEntry[] = [];
        for (const entry of directory.read(cookie, plus, noatime) as Iterable<DirectoryEntry>) {
          entries.push(entry);
          if (random(4) === 0) break;
        }
        return entries;
      }),
  };
}
