import { checkState } from '../filesystems/memory/check-state.ts';
import type { CheckedState } from '../filesystems/memory/state.ts';
import type { Lock } from '../fs/locks.ts';
import { type CheckedLockTableState, LockTable } from '../fs/locks.ts';
import type { HandleState } from '../fuse/handle-table.ts';
import type { Negotiated } from '../fuse/negotiation.ts';
import { FuseSession } from '../fuse/session.ts';
import { deviceStateLength, readDeviceState } from './device-state.ts';
import { SnapshotError } from './errors.ts';
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

/** Stands for bytes that are kept as a chunk, and need not be read. */
class ChunkReference extends Uint8Array {}

/** Of the schema, those that hold columns of numbers. */
const COLUMN_GROUPS = ['inodes', 'directories', 'entries', 'files', 'chunks'] as const;
const ROOT = 1;
/** Longer paths begin at the directory with this inode number. */
const MAX_PATH = 4096;

/** Reads what a snapshot says of itself: its machine, files, sessions and locks. @throws SnapshotError when it is damaged. */
export async function inspect(store: SnapshotStore, id: string): Promise<Contents> {
  const frozen = store.frozen(id);
  deviceStateLength(frozen, (names) => store.lengthOf(names));
  const parts = await store.chunks(hashNames(frozen.deviceParts));
  const saved = readDeviceState(frozen, (name) => parts.get(name) ?? new ChunkReference(fromHex(name)));
  try {
    const filesystems = await Promise.all(saved.filesystems.map((state) => readFilesystem(store, state)));
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

async function readFilesystem(store: SnapshotStore, state: unknown): Promise<ReadFilesystem> {
  const { uuid, sessionOnly, locks } = (state ?? {}) as Partial<FilesystemIdentity>;
  if (sessionOnly) {
    const pathOf = (ino: number) => `(inode ${ino})`;
    return {
      pathOf,
      contents: {
        uuid: String(uuid),
        isElsewhere: true,
        files: new Map(),
        bytes: 0,
        ...locksOf(LockTable.checkState(locks), pathOf),
      },
    };
  }
  const checked = checkState(await withColumns(store, state));
  const { files, paths } = readFiles(checked);
  const pathOf = (ino: number) => paths.get(ino) ?? '(deleted)';
  const bytes = checked.files.size.reduce((sum, size) => sum + size, 0);
  return {
    pathOf,
    contents: { uuid: checked.uuid, isElsewhere: false, files, bytes, ...locksOf(LockTable.checkState(locks), pathOf) },
  };
}

/** A filesystem's state whose columns are there, and the content of files is not. */
async function withColumns(store: SnapshotStore, state: unknown): Promise<unknown> {
  const loaded: Record<string, unknown> = { ...(state as object) };
  for (const group of COLUMN_GROUPS) {
    const columns = Object.entries((loaded[group] ?? {}) as object) as [string, unknown][];
    const chunks = await store.chunks(
      columns.flatMap(([, column]) => (column instanceof ChunkReference ? [toHex(column)] : [])),
    );
    loaded[group] = Object.fromEntries(
      columns.map(([name, column]) => [name, column instanceof ChunkReference ? chunks.get(toHex(column)) : column]),
    );
  }
  return loaded;
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
function readFiles(state: CheckedState): { files: Map<string, FileContents>; paths: Map<number, string> } {
  const { inodes, directories, entries } = state;
  const rows = new Map(Array.from(inodes.ino, (ino, row) => [ino, row]));
  const { sizes, contents } = readContents(state);
  const targets = new Map(state.symlinks.map(({ ino, target }) => [ino, target]));
  const first = new Map<number, { at: number; count: number }>();
  let at = 0;
  directories.ino.forEach((directory, n) => {
    const count = directories.entries[n]!;
    first.set(directory, { at, count });
    at += count;
  });
  const files = new Map<string, FileContents>();
  const paths = new Map([[ROOT, '/']]);
  const below: [directory: number, path: string][] = [[ROOT, '']];
  for (const [directory, path] of below) {
    const own = first.get(directory)!;
    for (let entry = own.at; entry < own.at + own.count; entry++) {
      const ino = entries.ino[entry]!;
      const row = rows.get(ino)!;
      const childPath = `${path.length > MAX_PATH ? `(inode ${directory})` : path}/${entries.names[entry]}`;
      paths.set(ino, childPath);
      files.set(childPath, {
        ino,
        mode: inodes.mode[row]!,
        size: sizes.get(ino) ?? 0,
        mtime: inodes.mtime[row]!,
        content: contents.get(ino) ?? targets.get(ino) ?? '',
      });
      if (first.has(ino)) below.push([ino, childPath]);
    }
  }
  return { files, paths };
}

/** Sizes of files by inode, and what tells their contents apart. */
function readContents({ files, chunks }: CheckedState): {
  sizes: Map<number, number>;
  contents: Map<number, string>;
} {
  const sizes = new Map<number, number>();
  const contents = new Map<number, string>();
  let at = 0;
  files.ino.forEach((ino, n) => {
    sizes.set(ino, files.size[n]!);
    const parts = Array.from(
      { length: files.chunks[n]! },
      (_, k) => `${chunks.index[at + k]}:${chunks.map[at + k]}:${toHex(chunks.bytes[at + k]!)}`,
    );
    contents.set(ino, parts.join());
    at += files.chunks[n]!;
  });
  return { sizes, contents };
}

/** What {@link diff} finds; the lists are paths, one object for each filesystem. */
export interface Difference {
  /** Pages of RAM whose content is kept in different places. */
  pages: number;
  pageCount: number;
  filesystems: { added: string[]; removed: string[]; changed: string[] }[];
}

/** What lies between two snapshots of one machine, or of a fork. */
export async function diff(store: SnapshotStore, from: string, to: string): Promise<Difference> {
  const [before, after] = await Promise.all([inspect(store, from), inspect(store, to)]);
  const [old, now] = [PageMap.decode(store.frozen(from).ram), PageMap.decode(store.frozen(to).ram)];
  const pageCount = Math.max(old.pageCount, now.pageCount);
  let pages = Math.abs(old.pageCount - now.pageCount);
  for (let page = 0; page < Math.min(old.pageCount, now.pageCount); page++) if (!old.agrees(now, page)) pages++;
  const filesystems = Array.from({ length: Math.max(before.filesystems.length, after.filesystems.length) }, (_, n) => {
    const filesOf = ({ filesystems }: Contents): Contents['filesystems'][number]['files'] =>
      filesystems[n]?.files ?? new Map();
    const [earlier, files] = [filesOf(before), filesOf(after)];
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
