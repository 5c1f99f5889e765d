import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { FsError } from '../../device/fs/errno.ts';
import { BytesSink, BytesSource } from '../../device/fs/tree/byte-io.ts';
import type { Inode } from '../../device/fs/tree/inode.ts';
import type { MemfsBackend } from '../../device/index.ts';
import { walk } from '../../device/trees/tree-writer.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'];
/** Where links lead: inside, outside by both kinds of path, into directories that are replaced by others. */
const TARGETS = ['a', '../outside', '../../outside', '/', '..', 'a/b', '../outside/dir'];
const S_IFMT = 0o170000;

/** A guest that makes, moves, exchanges, links and removes entries of a few names, as at random. */
export class Guest {
  readonly #backend: MemfsBackend;
  readonly #next: (below: number) => number;

  constructor(backend: MemfsBackend, next: (below: number) => number) {
    this.#backend = backend;
    this.#next = next;
  }

  step(): void {
    const backend = this.#backend;
    const next = this.#next;
    const own = { uid: 0, gid: 0 };
    const directories = [
      backend.root,
      ...[...walk(backend, backend.root)].map(({ inode }) => inode as Inode).filter((inode) => inode.isDirectory),
    ];
    const directory = () => directories[next(directories.length)]!;
    const name = () => NAMES[next(NAMES.length)]!;
    const dir = directory();
    const at = name();
    try {
      switch (next(11)) {
        case 0:
          backend.mknod(dir, at, { mode: 0o40700 | next(0o100), ...own });
          break;
        case 1:
        case 2: {
          const bytes = new Uint8Array(next(3) ? next(100) : next(100_000)).fill(1 + next(255));
          backend.write(
            backend.mknod(dir, at, { mode: 0o100600 | next(0o100), ...own }),
            next(4) ? 0 : next(1_000_000),
            bytes.length,
            new BytesSource(bytes),
          );
          break;
        }
        case 3:
          backend.symlink(dir, at, TARGETS[next(TARGETS.length)]!, own);
          break;
        case 4:
          backend.link(backend.lookup(directory(), name()) as Inode, dir, at);
          break;
        case 5:
          backend.rename(dir, at, directory(), name(), 0, own);
          break;
        case 6:
          backend.rename(dir, at, directory(), name(), 2, own);
          break;
        case 7:
          backend.unlink(dir, at);
          break;
        case 8:
          if (dir !== backend.root) backend.remove(dir.entry!);
          break;
        case 9: {
          const inode = backend.lookup(dir, at) as Inode;
          if (!inode.isSymlink)
            backend.setattr(inode, {
              mode: (inode.isDirectory ? 0o700 : 0o600) | next(0o100) | (next(4) ? 0 : next(8) << 9),
            });
          break;
        }
        case 10: {
          const inode = backend.lookup(dir, at) as Inode;
          if (inode.isRegular) backend.write(inode, next(10), 4, new BytesSource(new Uint8Array(4).fill(next(256))));
          else if (!inode.isDirectory) backend.unlink(dir, at);
          else if (next(3) === 0) backend.mknod(inode, at, { mode: 0o10644, ...own });
        }
      }
    } catch (error) {
      if (!(error instanceof FsError)) throw error;
    }
  }
}

/** Paths of everything below a directory. Node's own recursion follows links. */
export function listing(directory: string, prefix = ''): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = prefix + entry.name;
    return entry.isDirectory() ? [path, ...listing(join(directory, entry.name), `${path}/`)] : [path];
  });
}

/** How a host directory differs from a filesystem, but for FIFOs: names, types, content, permissions within `umask`, links. */
export function differences(directory: string, backend: MemfsBackend): string[] {
  const found: string[] = [];
  const paths = new Set<string>();
  const numbers = new Map<number, bigint>();
  for (const { path, inode } of walk(backend, backend.root)) {
    const { mode, size, ino } = backend.getattr(inode as Inode);
    const type = mode & S_IFMT;
    if (type === 0o10000) continue;
    paths.add(path);
    const stats = lstatSync(join(directory, path), { throwIfNoEntry: false, bigint: true });
    if (!stats) found.push(`${path} is missing`);
    else if ((Number(stats.mode) & S_IFMT) !== type) found.push(`${path} is of another type`);
    else if (type === 0o120000) {
      if (readlinkSync(join(directory, path)) !== backend.readlink(inode as Inode))
        found.push(`${path} leads elsewhere`);
    } else {
      if (type === 0o100000) {
        const bytes = new Uint8Array(size);
        backend.read(inode as Inode, 0, size, new BytesSink(bytes), 0);
        if (Buffer.compare(readFileSync(join(directory, path)), bytes)) found.push(`${path} has other content`);
        if ((numbers.get(ino) ?? stats.ino) !== stats.ino) found.push(`${path} is another file than its twin`);
        numbers.set(ino, stats.ino);
      }
      if (Number(stats.mode) & 0o7000) found.push(`${path} has special bits`);
    }
  }
  for (const path of listing(directory)) if (!paths.has(path)) found.push(`${path} is too many`);
  return found;
}
