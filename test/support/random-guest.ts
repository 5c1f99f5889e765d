import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { BytesSink, BytesSource } from '../../device/bytes.ts';
import { partsOf } from '../../device/filesystems/memory/filesystem.ts';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { ENOENT, FsError } from '../../device/fs/errno.ts';
import type { MemoryFileSystem } from '../../device/index.ts';
import { walk } from '../../device/trees/tree-writer.ts';

const NAMES = ['a', 'b', 'c', 'd', 'e'];
/** Where links lead: inside, outside by both kinds of path, into directories that are replaced by others. */
const TARGETS = ['a', '../outside', '../../outside', '/', '..', 'a/b', '../outside/dir'];
const S_IFMT = 0o170000;

/** A guest that makes, moves, exchanges, links and removes entries of a few names, as at random. */
export class Guest {
  readonly #filesystem: MemoryFileSystem;
  readonly #next: (below: number) => number;

  constructor(filesystem: MemoryFileSystem, next: (below: number) => number) {
    this.#filesystem = filesystem;
    this.#next = next;
  }

  step(): void {
    const filesystem = this.#filesystem;
    const next = this.#next;
    const own = { uid: 0, gid: 0 };
    const directories = [
      filesystem.root,
      ...[...walk(filesystem, filesystem.root)].map(({ inode }) => inode as Inode).filter((inode) => inode.isDirectory),
    ];
    const directory = () => directories[next(directories.length)]!;
    const name = () => NAMES[next(NAMES.length)]!;
    const found = (parent: Inode, child: string) => {
      const inode = filesystem.lookup(parent, child);
      if (!inode) throw FsError.of(ENOENT);
      return inode;
    };
    const dir = directory();
    const at = name();
    try {
      switch (next(11)) {
        case 0:
          filesystem.mknod(dir, at, { mode: 0o40700 | next(0o100), ...own });
          break;
        case 1:
        case 2: {
          const bytes = new Uint8Array(next(3) ? next(100) : next(100_000)).fill(1 + next(255));
          filesystem.write(
            filesystem.mknod(dir, at, { mode: 0o100600 | next(0o100), ...own }),
            next(4) ? 0 : next(1_000_000),
            bytes.length,
            new BytesSource(bytes),
          );
          break;
        }
        case 3:
          filesystem.symlink(dir, at, TARGETS[next(TARGETS.length)]!, own);
          break;
        case 4:
          filesystem.link(found(directory(), name()), dir, at);
          break;
        case 5:
          filesystem.rename(dir, at, directory(), name(), 0, own);
          break;
        case 6:
          filesystem.rename(dir, at, directory(), name(), 2, own);
          break;
        case 7:
          filesystem.unlink(dir, at);
          break;
        case 8:
          if (dir !== filesystem.root) partsOf(filesystem).names.remove(dir.entry!);
          break;
        case 9: {
          const inode = found(dir, at);
          if (!inode.isSymlink)
            filesystem.setattr(inode, {
              mode: (inode.isDirectory ? 0o700 : 0o600) | next(0o100) | (next(4) ? 0 : next(8) << 9),
            });
          break;
        }
        case 10: {
          const inode = found(dir, at);
          if (inode.isRegular) filesystem.write(inode, next(10), 4, new BytesSource(new Uint8Array(4).fill(next(256))));
          else if (!inode.isDirectory) filesystem.unlink(dir, at);
          else if (next(3) === 0) filesystem.mknod(inode, at, { mode: 0o10644, ...own });
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
export function differences(directory: string, filesystem: MemoryFileSystem): string[] {
  const found: string[] = [];
  const paths = new Set<string>();
  const numbers = new Map<number, bigint>();
  for (const { path, inode } of walk(filesystem, filesystem.root)) {
    const { mode, size, ino } = filesystem.getattr(inode as Inode);
    const type = mode & S_IFMT;
    if (type === 0o10000) continue;
    paths.add(path);
    const stats = lstatSync(join(directory, path), { throwIfNoEntry: false, bigint: true });
    if (!stats) found.push(`${path} is missing`);
    else if ((Number(stats.mode) & S_IFMT) !== type) found.push(`${path} is of another type`);
    else if (type === 0o120000) {
      if (readlinkSync(join(directory, path)) !== filesystem.readlink(inode as Inode))
        found.push(`${path} leads elsewhere`);
    } else {
      if (type === 0o100000) {
        const bytes = new Uint8Array(size);
        filesystem.read(inode as Inode, 0, size, new BytesSink(bytes), 0);
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
