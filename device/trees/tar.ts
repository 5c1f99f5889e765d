import { BytesSink, concat, copyOf } from '../bytes.ts';
import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import type { Inode } from '../filesystems/memory/inode.ts';
import { S_IALLUGO, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../fs/constants.ts';
import { EDQUOT, ENOSPC, errnoName, FsError } from '../fs/errno.ts';
import type { Attr, Timespec } from '../fs/filesystem.ts';
import { encodeName } from '../fs/names.ts';
import { whenHere } from '../fs/not-yet.ts';
import { ByteQueue } from './byte-queue.ts';
import { gunzipped } from './gunzip.ts';
import { emptyTreeReport, formatBytes, note, type TreeProgress, type TreeReport } from './report.ts';
import { dataSegments, MAX_FILE_LENGTH, type Segment, SparseWriter } from './sparse.ts';
import { BLOCK, EMPTY, encodeHeader, padded, type TarHeader, toDecimal } from './tar-format.ts';
import { type TarEntry, TarReader } from './tar-reader.ts';
import { EntryError, inodeAt, TOO_LONG, TreeWriter, walk } from './tree-writer.ts';

/** Where PAX headers keep extended attributes: as star, GNU tar and bsdtar do. */
const XATTR = 'SCHILY.xattr.';
/** Bytes of content that are read at once, and of the stream. */
const SLICE = 1 << 18;

/** Options of {@link loadTar} and {@link dumpTar}. */
export interface TarOptions {
  /** The directory of the share that is the archive's root. Default: `/`. */
  directory?: string;
  /** Bytes, holes included, above which a file is left out and reported. Default: 1 TiB. */
  maxFileLength?: number;
  /** Entries that are left alone: called with the name of each. Default: none. */
  ignores?: (name: string) => boolean;
  /** What is no directory takes the place of one with all that is in it. Default: of an empty one only. */
  replacesTrees?: boolean;
  onProgress?: TreeProgress;
}

/**
 * Unpacks a tar archive, gzipped or not, into a filesystem as it streams in: content with its holes, modes, owners, times,
 * symbolic and hard links, FIFOs, and extended attributes of PAX headers. What is there already is replaced;
 * directories are joined. What can't be taken is left out and reported: devices, paths that lead out, lists of holes that don't add up.
 *
 * @throws Error for what is no tar archive, or breaks off; FsError ENOSPC. What was unpacked before stays.
 */
export async function loadTar(
  filesystem: MemoryFileSystem,
  archive: ReadableStream<Uint8Array>,
  { directory = '/', maxFileLength = MAX_FILE_LENGTH, ignores, replacesTrees, onProgress }: TarOptions = {},
): Promise<TreeReport> {
  const report = emptyTreeReport();
  const writer = new TreeWriter(filesystem, inodeAt(filesystem, directory), { replacesTrees });
  /** Directories get their metadata last: what is put into them changes their times. */
  const directories: { inode: Inode; entry: TarEntry }[] = [];
  let queue: ByteQueue | undefined;
  try {
    queue = new ByteQueue(await gunzipped(archive));
    const reader = new TarReader(queue);
    for (let entry = await reader.next(); entry; entry = await reader.next()) {
      if (ignores?.(entry.name)) continue;
      try {
        if (entry.unfit !== undefined) throw new EntryError(entry.unfit);
        if (entry.type === '5' || (entry.type === '0' && entry.name.endsWith('/'))) {
          directories.push({ inode: writer.directory(entry.name), entry });
        } else if ('07'.includes(entry.type))
          report.bytes += await loadFile(filesystem, writer, reader, entry, maxFileLength, report);
        else loadOther(filesystem, writer, entry, report);
        report.files++;
      } catch (error) {
        note(report.skipped, entry.name, reasonToSkip(error));
      }
      onProgress?.(report.files, report.bytes);
    }
    await queue.drain();
  } catch (error) {
    queue?.cancel(error);
    throw new Error(
      `the tar archive could not be unpacked: ${(error as Error).message}; ${report.files} files of it are there`,
      { cause: error },
    );
  }
  for (const { inode, entry } of directories.reverse()) {
    // A later entry, or the guest, may have taken its place.
    if (filesystem.inode(inode.ino) !== inode) continue;
    try {
      setMetadata(filesystem, inode, entry, report);
    } catch (error) {
      note(report.skipped, entry.name, `it is there, but its attributes are not: ${reasonToSkip(error)}`);
    }
  }
  return report;
}

/** @throws what ends the unpacking. */
function reasonToSkip(error: unknown): string {
  if (error instanceof EntryError) return error.message;
  if (error instanceof FsError && error.code !== ENOSPC && error.code !== EDQUOT)
    return `the share refuses it: ${errnoName(error.code)}`;
  throw error;
}

async function loadFile(
  filesystem: MemoryFileSystem,
  writer: TreeWriter,
  reader: TarReader,
  entry: TarEntry,
  maxFileLength: number,
  report: TreeReport,
): Promise<number> {
  const { sparse, uid, gid } = entry;
  const size = sparse?.realSize ?? entry.size;
  if (size > maxFileLength)
    throw new EntryError(
      `its size of ${formatBytes(size)}, holes included, is above the limit of ${formatBytes(maxFileLength)} for one file`,
    );
  const place = writer.place(entry.name);
  const inode = writer.draft(place.dir, { mode: S_IFREG | 0o600, uid, gid });
  try {
    const content = new SparseWriter(filesystem, inode);
    for (const { offset, length } of sparse?.segments ?? [{ offset: 0, length: entry.size }]) {
      content.skip(offset - content.size);
      for await (const bytes of reader.body(entry, length)) content.write(bytes);
    }
    content.skip(size - content.size);
    content.end();
    setMetadata(filesystem, inode, entry, report);
    writer.publish(inode, place);
  } finally {
    writer.discard(inode);
  }
  return size;
}

function loadOther(filesystem: MemoryFileSystem, writer: TreeWriter, entry: TarEntry, report: TreeReport): void {
  const { name, linkname, uid, gid, type } = entry;
  if (!'126'.includes(type))
    throw new EntryError(
      type === '3' || type === '4'
        ? 'devices are not taken from archives'
        : `entries of type ${JSON.stringify(type)} can't be read from a tar archive here`,
    );
  if (type === '1') {
    const inode = writer.find(linkname);
    const place = writer.place(name);
    if (inode === writer.at(place)) return;
    writer.clear(place);
    filesystem.link(inode, place.dir, place.name);
    return;
  }
  const place = writer.place(name);
  writer.clear(place);
  const inode =
    type === '2'
      ? filesystem.symlink(place.dir, place.name, linkname, { uid, gid })
      : filesystem.mknod(place.dir, place.name, { mode: S_IFIFO | 0o600, uid, gid });
  try {
    setMetadata(filesystem, inode, entry, report);
  } catch (error) {
    filesystem.unlink(place.dir, place.name);
    throw error;
  }
}

function setMetadata(
  filesystem: MemoryFileSystem,
  inode: Inode,
  { name, uid, gid, mode, type, mtime, atime = mtime, xattrs, unread }: TarEntry,
  report: TreeReport,
): void {
  if (unread.length)
    note(
      report.skipped,
      name,
      `it is there, but without ${unread.slice(0, 4).join(', ').slice(0, 200)}: set that in the guest`,
    );
  for (const [key, value] of xattrs) {
    try {
      filesystem.setxattr(inode, key, copyOf(value), 0);
    } catch (error) {
      note(report.skipped, name, `its attribute ${key}: ${reasonToSkip(error)}`);
    }
  }
  filesystem.setattr(inode, { uid, gid, ...(type !== '2' && { mode: mode & S_IALLUGO }), atime, mtime });
}

/**
 * Packs a directory of a filesystem into a tar archive, as it is read from `stream`. The filesystem should
 * stay as it is meanwhile. `report` is complete when the stream has ended; sockets and devices are left out and in it.
 * Files with holes are as GNU tar writes them in PAX archives: its format 1.0.
 */
export function dumpTar(
  filesystem: MemoryFileSystem,
  { directory = '/', gzip = false, ...options }: TarOptions & { gzip?: boolean } = {},
): { stream: ReadableStream<Uint8Array>; report: TreeReport } {
  const report = emptyTreeReport();
  const parts = blocks(filesystem, inodeAt(filesystem, directory), report, options);
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const collected: Uint8Array[] = [];
      let length = 0;
      while (length < SLICE) {
        const { done, value } = await parts.next();
        if (done) break;
        collected.push(value);
        length += value.length;
      }
      if (length) controller.enqueue(concat(collected));
      else controller.close();
    },
    cancel: () => parts.return(undefined).then(() => {}),
  });
  return {
    stream: gzip
      ? stream.pipeThrough(new CompressionStream('gzip') as ReadableWritablePair<Uint8Array, Uint8Array>)
      : stream,
    report,
  };
}

async function* blocks(
  filesystem: MemoryFileSystem,
  top: Inode,
  report: TreeReport,
  { maxFileLength = MAX_FILE_LENGTH, onProgress }: TarOptions,
): AsyncGenerator<Uint8Array, void> {
  /** Paths of files with several names, by inode number. */
  const known = new Map<number, string>();
  for (const { path, inode } of walk(filesystem, top, (long) => note(report.skipped, long, TOO_LONG))) {
    const { ino, mode, nlink, size } = filesystem.getattr(inode);
    const type = mode & S_IFMT;
    const twin = known.get(ino);
    if (twin !== undefined) yield* encodeHeader(headerOf(filesystem.getattr(inode), path, '1', twin));
    else if (type === S_IFDIR)
      yield* encodeHeader(headerOf(filesystem.getattr(inode), `${path}/`, '5'), recordsOf(filesystem, inode));
    else if (type === S_IFIFO)
      yield* encodeHeader(headerOf(filesystem.getattr(inode), path, '6'), recordsOf(filesystem, inode));
    else if (type === S_IFLNK)
      yield* encodeHeader(
        headerOf(filesystem.getattr(inode), path, '2', filesystem.readlink(inode)),
        recordsOf(filesystem, inode),
      );
    else if (type !== S_IFREG) {
      note(report.skipped, path, 'sockets and devices are not packed');
      continue;
    } else if (size > maxFileLength) {
      note(
        report.skipped,
        path,
        `its size of ${formatBytes(size)}, holes included, is above the limit of ${formatBytes(maxFileLength)} for one file`,
      );
      continue;
    } else yield* fileBlocks(filesystem, inode, path, report, onProgress);
    if (nlink > 1 && type !== S_IFDIR && twin === undefined) known.set(ino, path);
    report.files++;
    onProgress?.(report.files, report.bytes);
  }
  yield new Uint8Array(2 * BLOCK);
}

async function* fileBlocks(
  filesystem: MemoryFileSystem,
  inode: Inode,
  path: string,
  report: TreeReport,
  onProgress: TreeProgress | undefined,
): AsyncGenerator<Uint8Array, void> {
  const attr = filesystem.getattr(inode);
  const { size, mtime, ctime } = attr;
  filesystem.retain(inode);
  try {
    const segments = [...dataSegments(filesystem, inode, size)];
    const length = segments.reduce((sum, { start, end }) => sum + end - start, 0);
    const records = recordsOf(filesystem, inode);
    let list: Uint8Array = EMPTY;
    if (length < size) {
      list = sparseList(segments, size);
      const slash = path.lastIndexOf('/') + 1;
      const text = (key: string, value: string) => records.push([`GNU.sparse.${key}`, new TextEncoder().encode(value)]);
      text('major', '1');
      text('minor', '0');
      records.push(['GNU.sparse.name', encodeName(path)]);
      text('realsize', String(size));
      yield* encodeHeader(
        {
          ...headerOf(attr, `${path.slice(0, slash)}GNUSparseFile.0/${path.slice(slash)}`, '0'),
          size: list.length + length,
        },
        records,
      );
    } else yield* encodeHeader({ ...headerOf(attr, path, '0'), size }, records);
    if (list.length) yield list;
    let isShorter = false;
    for (const { start, end } of segments) {
      for (let at = start; at < end; ) {
        const room = new Uint8Array(Math.min(SLICE, end - at));
        const from = at;
        const count = await whenHere(() => filesystem.read(inode, from, room.length, new BytesSink(room), 0, true));
        // Zeros in place of what is not there any more: the header has told how much follows.
        if (count < room.length) isShorter = true;
        yield room;
        at += room.length;
        onProgress?.(report.files, report.bytes + at);
      }
    }
    yield new Uint8Array(padded(length) - length);
    const now = filesystem.getattr(inode);
    if (isShorter || !isSame(now.mtime, mtime) || !isSame(now.ctime, ctime))
      note(
        report.skipped,
        path,
        'it changed while it was being packed: the archive may hold parts of the old and of the new content',
      );
    report.bytes += size;
  } finally {
    filesystem.release(inode);
  }
}

/** What {@link TarReader} reads first of such a file. A hole at the end is an empty part there. */
function sparseList(segments: Segment[], size: number): Uint8Array {
  const parts = segments.map(({ start, end }) => `${start}\n${end - start}\n`);
  if (segments.at(-1)?.end !== size) parts.push(`${size}\n0\n`);
  const text = new TextEncoder().encode(`${parts.length}\n${parts.join('')}`);
  const list = new Uint8Array(padded(text.length));
  list.set(text);
  return list;
}

function isSame(a: Timespec, b: Timespec): boolean {
  return a.sec === b.sec && a.nsec === b.nsec;
}

function headerOf({ uid, gid, mode, mtime }: Attr, name: string, type: string, linkname = ''): TarHeader {
  return { name, mode: mode & S_IALLUGO, uid, gid, size: 0, mtime, type, linkname };
}

function recordsOf(filesystem: MemoryFileSystem, inode: Inode): [string, Uint8Array][] {
  const { atime, mtime } = filesystem.getattr(inode);
  const records: [string, Uint8Array][] = [];
  if (atime.sec !== mtime.sec || atime.nsec !== mtime.nsec)
    records.push(['atime', new TextEncoder().encode(toDecimal(atime))]);
  for (const name of filesystem.listxattr(inode))
    records.push([XATTR + name.replaceAll('%', '%25').replaceAll('=', '%3D'), filesystem.getxattr(inode, name)!]);
  return records;
}
