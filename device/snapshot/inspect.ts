import type { MemfsBackendState } from '../fs/memfs-backend.ts';
import type { HandleTableState } from '../fuse/handle-table.ts';
import type { Negotiated } from '../fuse/negotiation.ts';
import type { Lock } from '../fs/locks.ts';
import { decodeFields } from './fields.ts';
import { fromU32, toHex } from './layer.ts';
import type { SavedMachine } from './machine-state.ts';
import { PageMap } from './ram-map.ts';
import type { SnapshotInfo, SnapshotStore } from './store/snapshot-store.ts';

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
  handles: { fh: number; kind: 'file' | 'directory'; ino: number; path: string; flags: number }[];
  /** Requests that wait for a lock. */
  waiting: number;
}

export interface FilesystemContents {
  uuid: string;
  files: Map<string, FileContents>;
  /** Bytes of all files. */
  bytes: number;
  locks: (Pick<Lock, 'space' | 'pid' | 'type' | 'start' | 'end'> & { path: string })[];
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

/** Reads what a snapshot says of itself: its machine, files, sessions and locks. @throws SnapshotError when it is damaged. */
export async function inspect(store: SnapshotStore, id: string): Promise<Contents> {
  const saved = decodeFields(store.frozen(id).devices, (hash) => new ChunkReference(hash)) as SavedMachine;
  const filesystems = await Promise.all(saved.filesystems.map((state) => readFilesystem(store, state as MemfsBackendState)));
  return {
    ...store.info(id),
    filesystems: filesystems.map(({ contents }) => contents),
    devices: saved.devices.map(({ tag, slot, filesystem, session }) => {
      const { negotiated, nodes, handles, waiters } = session as { negotiated?: Negotiated; nodes: { ino: number[] }; handles: HandleTableState; waiters: unknown[] };
      const { pathOf } = filesystems[filesystem]!;
      return {
        tag, slot, filesystem, negotiated: negotiated ?? undefined, nodes: nodes.ino.length, waiting: waiters.length,
        handles: handles.handles.map(({ fh, kind, ino, flags }) => ({ fh, kind, ino, flags, path: pathOf(ino) })),
      };
    }),
  };
}

async function readFilesystem(store: SnapshotStore, state: MemfsBackendState): Promise<{ contents: FilesystemContents; pathOf: (ino: number) => string }> {
  const bytesOf = async (column: Uint8Array) => (column instanceof ChunkReference ? store.chunk(toHex(column)) : column);
  const u32 = async (column: Uint8Array) => fromU32(await bytesOf(column));
  const f64 = async (column: Uint8Array) => new Float64Array((await bytesOf(column)).slice().buffer);
  const [ino, mode, mtime] = await Promise.all([u32(state.inodes.ino), u32(state.inodes.mode), f64(state.inodes.mtime)]);
  const rows = new Map(Array.from(ino, (number, row) => [number, row]));
  const { sizes, contents } = await readFiles(state, u32, f64);

  const paths = new Map<number, string>();
  const files = new Map<string, FileContents>();
  const names = new Map<number, [string, number][]>();
  const [directories, counts, entries] = await Promise.all([u32(state.directories.ino), u32(state.directories.entries), u32(state.entries.ino)]);
  let at = 0;
  directories.forEach((directory, n) => {
    names.set(directory, Array.from({ length: counts[n]! }, (_, k) => [state.entries.names[at + k]!, entries[at + k]!]));
    at += counts[n]!;
  });
  const targets = new Map(state.symlinks.map(({ ino: link, target }) => [link, target]));
  const visit = (directory: number, path: string) => {
    for (const [name, child] of names.get(directory) ?? []) {
      const childPath = `${path}/${name}`;
      const row = rows.get(child)!;
      paths.set(child, childPath);
      files.set(childPath, { ino: child, mode: mode[row]!, size: sizes.get(child) ?? 0, mtime: mtime[row]!, content: contents.get(child) ?? targets.get(child) ?? '' });
      visit(child, childPath);
    }
  };
  paths.set(ROOT, '/');
  visit(ROOT, '');
  const pathOf = (number: number) => paths.get(number) ?? '(deleted)';
  return {
    pathOf,
    contents: {
      uuid: state.uuid,
      files,
      bytes: [...sizes.values()].reduce((sum, size) => sum + size, 0),
      locks: state.locks.locks.map(({ space, pid, type, start, end, ino: number }) => ({ space, pid, type, start, end, path: pathOf(number) })),
    },
  };
}

const ROOT = 1;

/** Sizes of files by inode, and what tells their contents apart. */
async function readFiles(
  { files, chunks }: MemfsBackendState,
  u32: (column: Uint8Array) => Promise<Uint32Array>,
  f64: (column: Uint8Array) => Promise<Float64Array>,
): Promise<{ sizes: Map<number, number>; contents: Map<number, string> }> {
  const [ino, size, counts, index, map] = await Promise.all([u32(files.ino), f64(files.size), u32(files.chunks), f64(chunks.index), u32(chunks.map)]);
  const sizes = new Map<number, number>();
  const contents = new Map<number, string>();
  let at = 0;
  ino.forEach((number, n) => {
    sizes.set(number, size[n]!);
    const parts = Array.from({ length: counts[n]! }, (_, k) => `${index[at + k]}:${map[at + k]}:${toHex(chunks.bytes[at + k]!)}`);
    contents.set(number, parts.join());
    at += counts[n]!;
  });
  return { sizes, contents };
}

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
  const filesystems = after.filesystems.map(({ files }, n) => {
    const earlier = before.filesystems[n]?.files ?? new Map<string, FileContents>();
    return {
      added: [...files.keys()].filter((path) => !earlier.has(path)),
      removed: [...earlier.keys()].filter((path) => !files.has(path)),
      changed: [...files].filter(([path, file]) => earlier.has(path) && !same(earlier.get(path)!, file)).map(([path]) => path),
    };
  });
  return { pages, pageCount, filesystems };
}

function same(a: FileContents, b: FileContents): boolean {
  return a.ino === b.ino && a.mode === b.mode && a.size === b.size && a.content === b.content;
}
