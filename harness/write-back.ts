import {
  chmodSync, closeSync, lchownSync, linkSync, lstatSync, lutimesSync, mkdirSync, openSync, renameSync, rmdirSync, symlinkSync,
  unlinkSync, utimesSync, writeSync, type BigIntStats,
} from 'node:fs';
import type { Attr, Backend, Inode, Timespec } from '../device/fs/backend.ts';
import { encodeName } from '../device/fs/names.ts';
import { attrStamp, fingerprint, sinkOf, type LoadedTree } from './host-tree.ts';

const CHUNK_LENGTH = 1024 * 1024;
const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;

export interface WriteBackReport {
  written: string[];
  removed: string[];
  /** Left as the host has them, and why. */
  kept: { path: string; reason: string }[];
}

/**
 * Carries what the guest changed back into the directory that `tree` was loaded from. An entry
 * that was changed on the host meanwhile is left alone and reported. Files are replaced by
 * renaming, new ones are written before old ones are removed, and no symbolic link is followed.
 */
export function writeBack(tree: LoadedTree, backend: Backend): WriteBackReport {
  const report: WriteBackReport = { written: [], removed: [], kept: [] };
  const present = new Set<string>();
  const written = new Map<number, Buffer>();
  const root = Buffer.from(tree.directory);
  const hostPath = (path: string) => (path ? Buffer.concat([root, Buffer.from('/'), encodeName(path)]) : root);

  const saveChildren = (dir: Inode, dirPath: string): void => {
    const reader = backend.openDirectory(dir);
    for (let entry = reader.peek(); entry; reader.advance(), entry = reader.peek()) {
      if (entry.name === '.' || entry.name === '..') continue;
      const path = dirPath ? `${dirPath}/${entry.name}` : entry.name;
      present.add(path);
      try {
        saveEntry(entry.inode, path);
      } catch (error) {
        report.kept.push({ path, reason: (error as Error).message });
      }
    }
  };

  const saveEntry = (inode: Inode, path: string): void => {
    const attr = backend.getattr(inode);
    const type = attr.mode & S_IFMT;
    const baseline = tree.baselines.get(path);
    const isSame = baseline?.ino === inode.ino && baseline.guest === attrStamp(backend, inode);
    const target = hostPath(path);
    if (!isSame) {
      const stats = statsOf(target);
      const reason = hostChange(baseline?.host, stats);
      if (reason) {
        report.kept.push({ path, reason });
        return;
      }
      if (stats && (Number(stats.mode) & S_IFMT) !== type) removeTree(path);
      if (!writeEntry(inode, attr, target)) {
        report.kept.push({ path, reason: 'devices, FIFOs and sockets are not written back' });
        return;
      }
      report.written.push(path);
    }
    if (type === S_IFDIR) {
      const count = report.written.length;
      saveChildren(inode, path);
      if (!isSame || report.written.length > count) setTimes(target, attr);
    }
  };

  const writeEntry = (inode: Inode, attr: Attr, target: Buffer): boolean => {
    const type = attr.mode & S_IFMT;
    const twin = type === S_IFDIR ? undefined : written.get(inode.ino);
    if (type === S_IFDIR) {
      if (!statsOf(target)) mkdirSync(target);
    } else if (twin) {
      replace(target, (temporary) => linkSync(twin, temporary));
      return true;
    } else if (type === S_IFREG) {
      replace(target, (temporary) => copyOut(backend, inode, attr.size, temporary));
    } else if (type === S_IFLNK) {
      replace(target, (temporary) => symlinkSync(Buffer.from(encodeName(backend.readlink(inode))), temporary));
    } else {
      return false;
    }
    if (attr.nlink > 1) written.set(inode.ino, target);
    if (process.getuid?.() === 0) lchownSync(target, attr.uid, attr.gid);
    if (type !== S_IFLNK) chmodSync(target, attr.mode & 0o7777);
    setTimes(target, attr);
    return true;
  };

  /** Removes what was loaded at `path` and below; what the host put there meanwhile stays and makes this throw. */
  const removeTree = (path: string): void => {
    const inside = [...tree.baselines.keys()].filter((key) => key === path || key.startsWith(`${path}/`));
    for (const key of inside.reverse().sort((a, b) => depth(b) - depth(a))) removeEntry(key);
  };

  const removeEntry = (path: string): void => {
    const baseline = tree.baselines.get(path)!;
    const target = hostPath(path);
    const stats = statsOf(target);
    if (!stats) return;
    const reason = hostChange(baseline.host, stats);
    if (reason) throw new Error(reason);
    if (baseline.type === S_IFDIR) rmdirSync(target);
    else unlinkSync(target);
    report.removed.push(path);
  };

  saveChildren(backend.root, '');
  const gone = [...tree.baselines.keys()].filter((path) => path && !present.has(path));
  for (const path of gone.sort((a, b) => depth(b) - depth(a))) {
    try {
      removeEntry(path);
    } catch (error) {
      report.kept.push({ path, reason: (error as Error).message });
    }
  }
  return report;
}

/** Why the host's entry must not be touched, or undefined when it is as it was loaded. */
function hostChange(loaded: string | undefined, stats: BigIntStats | undefined): string | undefined {
  if (stats && loaded === undefined) return 'the host has made an entry of this name meanwhile';
  if (stats && fingerprint(stats) !== loaded) return 'the host has changed it meanwhile';
  return undefined;
}

/** Undefined when there is no such entry, or something else has taken the place of a directory above. */
function statsOf(target: Buffer): BigIntStats | undefined {
  try {
    return lstatSync(target, { bigint: true });
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw error;
  }
}

function replace(target: Buffer, make: (temporary: Buffer) => void): void {
  const temporary = Buffer.concat([target.subarray(0, target.lastIndexOf('/') + 1), Buffer.from(`.v86-virtiofs-${process.pid}.tmp`)]);
  try {
    make(temporary);
    renameSync(temporary, target);
  } catch (error) {
    if (statsOf(temporary)) unlinkSync(temporary);
    throw error;
  }
}

function copyOut(backend: Backend, inode: Inode, size: number, target: Buffer): void {
  const fd = openSync(target, 'wx');
  try {
    const chunk = new Uint8Array(Math.min(size, CHUNK_LENGTH));
    for (let offset = 0; offset < size; ) {
      const length = backend.read(inode, offset, Math.min(chunk.length, size - offset), sinkOf(chunk), 0);
      if (length === 0) return;
      for (let done = 0; done < length; ) done += writeSync(fd, chunk, done, length - done);
      offset += length;
    }
  } finally {
    closeSync(fd);
  }
}

function setTimes(target: Buffer, { mode, atime, mtime }: Attr): void {
  const seconds = ({ sec, nsec }: Timespec) => sec + nsec / 1e9;
  const set = (mode & S_IFMT) === S_IFLNK ? lutimesSync : utimesSync;
  set(target, seconds(atime), seconds(mtime));
}

function depth(path: string): number {
  return path.split('/').length;
}
