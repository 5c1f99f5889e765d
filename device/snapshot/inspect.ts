import type { CheckedRange } from '../filesystems/memory/check-range.ts';
import { type CheckedState, checkState } from '../filesystems/memory/check-state.ts';
import { baseOf } from '../filesystems/memory/range-difference.ts';
import { attributesAt, WORDS } from '../filesystems/memory/record.ts';
import type { MemoryState } from '../filesystems/memory/state.ts';
import type { Lock } from '../fs/locks.ts';
import { type CheckedLockTableState, LockTable } from '../fs/locks.ts';
import { AbsentBytes } from '../fs/origin.ts';
import type { HandleState } from '../fuse/handle-table.ts';
import type { Negotiated } from '../fuse/negotiation.ts';
import { FuseSession } from '../fuse/session.ts';
import { deviceStateLength, ownChunks, readDeviceState } from './device-state.ts';
import { SnapshotError } from './errors.ts';
import { ChunkReference } from './kept-ranges.ts';
import { fromHex, hashNames, toHex } from './layer.ts';
import type { SavedMachine } from './machine-state.ts';
import { PageMap } from './ram-map.ts';
import type { FilesystemIdentity } from './session-only.ts';
import type { SnapshotInfo } from './store/catalog.ts';
import type { SnapshotStore } from './store/snapshot-store.ts';

/** What a snapshot holds, as far as it can be told without restoring it. */
export interface Contents extends SnapshotInfo {
  devices: DeviceContents[];
  filesystems: FilesystemContents[];
}

export interface DeviceContents {
  tag: string;
  slot: number;
  /** Index in {@link Contents.filesystems}. */
  filesystem: number;
  /** What INIT settled; undefined when nothing is mounted. */
  negotiated: Negotiated | undefined;
  /** Inodes that the guest has looked up. */
  nodes: number;
  handles: (Pick<HandleState, 'fh' | 'kind' | 'ino' | 'flags'> & { path: string })[];
  /** Requests that wait for a lock. */
  waiting: number;
}

export interface FilesystemContents {
  uuid: string;
  /** Its files have stayed where they were: the snapshot has none of them. */
  isElsewhere: boolean;
  /** The id of the image that it is on, if it is on one. */
  image: string | undefined;
  /** What is in the image was not told, and so not what is in the files here: there are none in the list. */
  isPartial: boolean;
  /** By path. */
  files: Map<string, FileContents>;
  /** Bytes of all files. */
  bytes: number;
  locks: LockContents[];
  /** Locks that are waited for, in the order of arrival. */
  waiters: LockContents[];
}

/** A lock in a snapshot, and the file that it is on. */
export interface LockContents extends Pick<Lock, 'space' | 'pid' | 'type' | 'start' | 'end'> {
  path: string;
}

export interface FileContents {
  ino: number;
  mode: number;
  size: number;
  mtime: number;
  /** Where it differs from another's, so does the content. */
  content: string;
}

const ROOT = 1;
/** Longer paths begin at the directory with this inode number. */
const MAX_PATH = 4096;

/** What images have, by their ids: {@link MemoryOrigin.tree}. */
export type Trees = ReadonlyMap<string, MemoryState>;

/**
 * Reads what a snapshot says of itself: its machine, files, sessions and locks. `trees`: of images that its filesystems are on, whose files are not told
 * otherwise.
 *
 * @throws SnapshotError when it is damaged.
 */
export async function inspect(store: SnapshotStore, id: string, trees: Trees = new Map()): Promise<Contents> {
  const frozen = store.frozen(id);
  deviceStateLength(frozen, (names) => store.lengthOf(names));
  const parts = await store.chunks(hashNames(frozen.deviceParts));
  const own = await store.chunks(ownChunks(frozen, (name) => parts.get(name)!));
  // The content of files need not be read to be compared.
  const chunk = (name: string) => parts.get(name) ?? own.get(name) ?? new ChunkReference(fromHex(name));
  const saved = readDeviceState(frozen, { chunk });
  try {
    const filesystems = saved.filesystems.map((state) => readFilesystem(state, trees));
    return {
      ...store.info(id),
      filesystems: filesystems.map(({ contents }) => contents),
      devices: saved.devices.map((device) => deviceContents(device, filesystems)),
    };
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(`the snapshot is invalid: ${(error as Error).message}`, { cause: error });
  }
}

interface ReadFilesystem {
  contents: FilesystemContents;
  pathOf(ino: number): string;
}

function deviceContents(
  { tag, slot, filesystem, session }: SavedMachine['devices'][number],
  filesystems: readonly ReadFilesystem[],
): DeviceContents {
  const { negotiated, nodes, handles, waiters } = FuseSession.checkState(session, { inode: () => undefined });
  const found = filesystems[filesystem];
  if (!found)
    throw new SnapshotError(`device ${JSON.stringify(tag)} names filesystem ${filesystem} of ${filesystems.length}`);
  return {
    tag,
    slot,
    filesystem,
    negotiated,
    nodes: nodes.ino.length,
    waiting: waiters.length,
    handles: handles.handles.map(({ fh, kind, ino, flags }) => ({ fh, kind, ino, flags, path: found.pathOf(ino) })),
  };
}

function readFilesystem(state: unknown, trees: Trees): ReadFilesystem {
  const { uuid, sessionOnly, locks, origin, isDifference } = (state ?? {}) as Partial<FilesystemIdentity & MemoryState>;
  const tree = origin === undefined ? undefined : trees.get(origin);
  const isPartial = isDifference === true && tree === undefined;
  const image = origin === undefined ? undefined : String(origin);
  if (sessionOnly || isPartial) {
    const pathOf = (ino: number) => `(inode ${ino})`;
    return {
      pathOf,
      contents: {
        uuid: String(uuid),
        isElsewhere: sessionOnly === true,
        image,
        isPartial,
        files: new Map(),
        bytes: 0,
        ...locksOf(LockTable.checkState(locks), pathOf),
      },
    };
  }
  const checked = checkState(state, undefined, tree && baseOf(tree));
  const { files, paths, bytes } = readFiles(checked);
  const pathOf = (ino: number) => paths.get(ino) ?? '(deleted)';
  return {
    pathOf,
    contents: {
      uuid: checked.uuid,
      isElsewhere: false,
      image,
      isPartial,
      files,
      bytes,
      ...locksOf(LockTable.checkState(locks), pathOf),
    },
  };
}

function locksOf(
  { locks, waiters }: CheckedLockTableState,
  pathOf: (ino: number) => string,
): { locks: LockContents[]; waiters: LockContents[] } {
  const tell = ({ space, pid, type, start, end, ino }: Lock): LockContents => ({
    space,
    pid,
    type,
    start,
    end,
    path: pathOf(ino),
  });
  return { locks: locks.map(tell), waiters: waiters.map(({ lock }) => tell(lock)) };
}

/** Files by path, and paths by inode. */
function readFiles({ ranges }: CheckedState): {
  files: Map<string, FileContents>;
  paths: Map<number, string>;
  bytes: number;
} {
  const files = new Map<string, FileContents>();
  const paths = new Map([[ROOT, '/']]);
  const entries = new Map<number, { name: string; cookie: number; ino: number }[]>();
  const found = new Map<number, FileContents>();
  let bytes = 0;
  for (const range of ranges.values()) {
    for (const file of filesIn(range)) {
      found.set(file.ino, file);
      bytes += file.size;
    }
    const { ino, dir, cookie, names } = range.entries;
    for (let row = 0; row < names.length; row++) {
      const entry = { name: names.at(row), cookie: cookie[row]!, ino: ino[row]! };
      const own = entries.get(dir[row]!);
      if (own) own.push(entry);
      else entries.set(dir[row]!, [entry]);
    }
  }
  const below: [directory: number, path: string][] = [[ROOT, '']];
  for (const [directory, path] of below) {
    for (const { name, ino } of (entries.get(directory) ?? []).sort((a, b) => a.cookie - b.cookie)) {
      const childPath = `${path.length > MAX_PATH ? `(inode ${directory})` : path}/${name}`;
      paths.set(ino, childPath);
      files.set(childPath, found.get(ino)!);
      if (entries.has(ino)) below.push([ino, childPath]);
    }
  }
  return { files, paths, bytes };
}

/** What a range has, by inode; its files with what tells their contents apart. */
function* filesIn(range: CheckedRange): Generator<FileContents> {
  const { words, files, chunks, symlinks } = range;
  const sizes = new Map<number, number>();
  const contents = new Map<number, string>();
  let row = 0;
  files.ino.forEach((ino, n) => {
    sizes.set(ino, files.size[n]!);
    const parts: string[] = [];
    for (const end = row + files.chunks[n]!; row < end; row++)
      parts.push(`${chunks.index[row]}:${chunks.map[row]}:${toHex(nameOf(chunks.bytes[row]!))}`);
    contents.set(ino, parts.join());
  });
  symlinks.ino.forEach((ino, n) => contents.set(ino, symlinks.targets[n]!));
  for (let at = 0; at < words.length; at += WORDS) {
    const ino = words[at]!;
    const { mode, mtime } = attributesAt(words, at);
    yield { ino, mode, mtime, size: sizes.get(ino) ?? 0, content: contents.get(ino) ?? '' };
  }
}

/** Its hash where it stands in a chunk of its own or elsewhere, else the bytes. */
function nameOf(bytes: Uint8Array | AbsentBytes): Uint8Array {
  return bytes instanceof AbsentBytes ? bytes.hash : bytes;
}

/** What {@link diff} finds; the lists are paths, one object for each filesystem. */
export interface Difference {
  /** Pages of RAM whose content is kept in different places. */
  pages: number;
  pageCount: number;
  filesystems: {
    added: string[];
    removed: string[];
    changed: string[];
    /** The image that has to be told to tell its files apart; the lists are empty. Default: it is told, or there is none. */
    needs?: string;
  }[];
}

/** What lies between two snapshots of one machine, or of a fork. `trees` as for {@link inspect}. */
export async function diff(store: SnapshotStore, from: string, to: string, trees?: Trees): Promise<Difference> {
  const [before, after] = await Promise.all([inspect(store, from, trees), inspect(store, to, trees)]);
  const [old, now] = [PageMap.decode(store.frozen(from).ram), PageMap.decode(store.frozen(to).ram)];
  const pageCount = Math.max(old.pageCount, now.pageCount);
  let pages = Math.abs(old.pageCount - now.pageCount);
  for (let page = 0; page < Math.min(old.pageCount, now.pageCount); page++) if (!old.agrees(now, page)) pages++;
  const filesystems = Array.from({ length: Math.max(before.filesystems.length, after.filesystems.length) }, (_, n) => {
    const filesOf = ({ filesystems }: Contents): Contents['filesystems'][number]['files'] =>
      filesystems[n]?.files ?? new Map();
    const [earlier, files] = [filesOf(before), filesOf(after)];
    const partial = [before, after].find((contents) => contents.filesystems[n]?.isPartial);
    if (partial) return { added: [], removed: [], changed: [], needs: partial.filesystems[n]!.image };
    return {
      added: [...files.keys()].filter((path) => !earlier.has(path)),
      removed: [...earlier.keys()].filter((path) => !files.has(path)),
      changed: [...files]
        .filter(([path, file]) => earlier.has(path) && !same(earlier.get(path)!, file))
        .map(([path]) => path),
    };
  });
  return { pages, pageCount, filesystems };
}

function same(a: FileContents, b: FileContents): boolean {
  return a.ino === b.ino && a.mode === b.mode && a.size === b.size && a.content === b.content;
}
