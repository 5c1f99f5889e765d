import { createTarDecoder, createTarPacker, type TarHeader } from 'modern-tar';
import type { Attr, Backend, Inode, Timespec } from '../fs/backend.ts';
import { S_IALLUGO, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from '../fs/constants.ts';
import { ENOSPC, FsError } from '../fs/errno.ts';
import { BytesSink } from '../fs/tree/byte-io.ts';
import { gunzipped } from './gunzip.ts';
import { emptyReport, type TreeProgress, type TreeReport } from './report.ts';
import { inodeAt, TreeWriter, Unfit, walk } from './tree-writer.ts';

/** Where PAX headers keep extended attributes: as star, GNU tar and bsdtar do. */
const XATTR = 'SCHILY.xattr.';
/** Of the header's field, in seconds; PAX has what is beyond. */
const HEADER_TIME_MAX = 0o77777777777;
const SLICE = 1 << 20;

export interface TarOptions {
  /** The directory of the share that is the archive's root. Default: `/`. */
  directory?: string;
  onProgress?: TreeProgress;
}

/**
 * Unpacks a tar archive, gzipped or not, into a filesystem as it streams in: content, modes, owners, times,
 * symbolic and hard links, FIFOs, and extended attributes of PAX headers. What is there already is replaced;
 * directories are joined. What can't be taken is left out and reported: devices (their numbers are lost in
 * reading), names and attributes that are not UTF-8, paths that lead out.
 *
 * @throws Error for what is no tar archive, or breaks off; FsError ENOSPC. What was unpacked before stays.
 */
export async function loadTar(backend: Backend, archive: ReadableStream<Uint8Array>, { directory = '/', onProgress }: TarOptions = {}): Promise<TreeReport> {
  const report = emptyReport();
  const top = inodeAt(backend, directory);
  const writer = new TreeWriter(backend, top);
  /** Directories get their metadata last: what is put into them changes their times. */
  const directories: { inode: Inode; header: TarHeader }[] = [];
  const entries = (await gunzipped(archive)).pipeThrough(createTarDecoder({ strict: true })).getReader();
  try {
    for (let next = await entries.read(); !next.done; next = await entries.read()) {
      const { header, body } = next.value;
      try {
        const inode = makeEntry(backend, writer, header);
        report.bytes += await copyBody(body, (bytes) => writer.append(inode, bytes));
        if (header.type === 'directory') {
          // It may be replaced by what follows.
          backend.retain(inode);
          directories.push({ inode, header });
        } else if (header.type !== 'link') setMetadata(backend, inode, header, report);
        report.files++;
      } catch (error) {
        if (!(error instanceof Unfit || (error instanceof FsError && error.code !== ENOSPC))) throw error;
        report.skipped.push({ path: header.name, reason: error.message });
        await copyBody(body, () => {});
      }
      onProgress?.(report.files, report.bytes);
    }
    for (const { inode, header } of directories.reverse()) setMetadata(backend, inode, header, report);
  } catch (error) {
    throw new Error(`the tar archive could not be unpacked: ${(error as Error).message}; ${report.files} files of it are there`, { cause: error });
  } finally {
    for (const { inode } of directories) backend.release(inode);
  }
  return report;
}

function makeEntry(backend: Backend, writer: TreeWriter, { name, type = 'file', linkname = '', uid = 0, gid = 0, mode = 0o644 }: TarHeader): Inode {
  if (name.includes('\ufffd')) throw new Unfit('its name is not UTF-8');
  const owner = { uid, gid };
  if (type === 'directory') return writer.directory(name);
  const place = writer.place(name);
  const { dir, name: leaf } = place;
  switch (type) {
    case 'file':
      writer.clear(place);
      return backend.mknod(dir, leaf, { mode: S_IFREG | (mode & S_IALLUGO), ...owner });
    case 'fifo':
      writer.clear(place);
      return backend.mknod(dir, leaf, { mode: S_IFIFO | (mode & S_IALLUGO), ...owner });
    case 'symlink':
      writer.clear(place);
      return backend.symlink(dir, leaf, linkname, owner);
    case 'link': {
      const inode = writer.find(linkname);
      writer.clear(place);
      backend.link(inode, dir, leaf);
      return inode;
    }
    default:
      throw new Unfit(`a ${type} can't be read from a tar archive here`);
  }
}

function setMetadata(backend: Backend, inode: Inode, { name, uid = 0, gid = 0, mode, mtime, type, pax = {} }: TarHeader, report: TreeReport): void {
  for (const [key, value] of Object.entries(pax)) {
    if (!key.startsWith(XATTR)) continue;
    if (value.includes('\ufffd')) report.skipped.push({ path: key, reason: 'the attribute is not UTF-8' });
    else unlessUnfit(report, key, () => backend.setxattr(inode, key.slice(XATTR.length), new TextEncoder().encode(value), 0));
  }
  const time = pax['mtime'] === undefined ? fromDate(mtime) : fromDecimal(pax['mtime']);
  unlessUnfit(report, name, () => backend.setattr(inode, { uid, gid, ...(mode !== undefined && type !== 'symlink' && { mode: mode & S_IALLUGO }), ...(time && { atime: time, mtime: time }) }));
}

/** Does what may fail for this entry alone, and reports it then. @throws FsError ENOSPC. */
function unlessUnfit(report: TreeReport, path: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!(error instanceof FsError) || error.code === ENOSPC) throw error;
    report.skipped.push({ path, reason: error.message });
  }
}

/**
 * Packs a directory of a filesystem into a tar archive, as it is read from `stream`. The filesystem should
 * stay as it is meanwhile. `report` is complete when the stream has ended; sockets, devices, and names and
 * attributes that are not UTF-8 are left out and in it.
 */
export function dumpTar(backend: Backend, { directory = '/', gzip = false, onProgress }: TarOptions & { gzip?: boolean } = {}): { stream: ReadableStream<Uint8Array>; report: TreeReport } {
  const report = emptyReport();
  const { readable, controller } = createTarPacker();
  const pack = async () => {
    const known = new Map<number, string>();
    for (const { path, inode } of walk(backend, inodeAt(backend, directory))) {
      const header = headerOf(backend, path, inode, known, report);
      if (!header) continue;
      const body = controller.add(header).getWriter();
      const room = new Uint8Array(Math.min(SLICE, header.size));
      for (let at = 0; at < header.size;) {
        const count = backend.read(inode, at, Math.min(room.length, header.size - at), new BytesSink(room), 0);
        if (count === 0) throw new Error(`${path} has become shorter meanwhile`);
        await body.write(room.slice(0, count));
        at += count;
      }
      await body.close();
      report.files++;
      report.bytes += header.size;
      onProgress?.(report.files, report.bytes);
    }
    controller.finalize();
  };
  pack().catch((error: unknown) => controller.error(error));
  return { stream: gzip ? readable.pipeThrough(new CompressionStream('gzip') as ReadableWritablePair<Uint8Array, Uint8Array>) : readable, report };
}

/** `known`: paths by the inode numbers of files with several names. Undefined for what is left out. */
function headerOf(backend: Backend, path: string, inode: Inode, known: Map<number, string>, report: TreeReport): TarHeader | undefined {
  const attr = backend.getattr(inode);
  const skip = (reason: string) => void report.skipped.push({ path, reason });
  if (!path.isWellFormed()) return skip('its name is not UTF-8');
  const common = { uid: attr.uid, gid: attr.gid, mode: attr.mode & S_IALLUGO, mtime: new Date(Math.min(Math.max(attr.mtime.sec, 0), HEADER_TIME_MAX) * 1000), pax: paxOf(backend, path, inode, attr, report), size: 0 };
  const twin = known.get(attr.ino);
  if (twin !== undefined) return { ...common, name: path, type: 'link', linkname: twin };
  if (attr.nlink > 1 && (attr.mode & S_IFMT) !== S_IFDIR) known.set(attr.ino, path);
  switch (attr.mode & S_IFMT) {
    case S_IFDIR: return { ...common, name: `${path}/`, type: 'directory' };
    case S_IFREG: return { ...common, name: path, type: 'file', size: attr.size };
    case S_IFIFO: return { ...common, name: path, type: 'fifo' };
    case S_IFLNK: {
      const linkname = backend.readlink(inode);
      return linkname.isWellFormed() ? { ...common, name: path, type: 'symlink', linkname } : skip('what it points to is not UTF-8');
    }
    default: return skip('sockets and devices are not packed');
  }
}

function paxOf(backend: Backend, path: string, inode: Inode, { mtime }: Attr, report: TreeReport): Record<string, string> {
  const pax: Record<string, string> = mtime.nsec || mtime.sec < 0 || mtime.sec > HEADER_TIME_MAX ? { mtime: toDecimal(mtime) } : {};
  for (const name of backend.listxattr(inode)) {
    const value = new TextDecoder().decode(backend.getxattr(inode, name));
    if (value.includes('\ufffd') || !name.isWellFormed()) report.skipped.push({ path, reason: `its attribute ${name} is not UTF-8` });
    else pax[XATTR + name] = value;
  }
  return pax;
}

async function copyBody(body: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => void): Promise<number> {
  const reader = body.getReader();
  let length = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    take(next.value);
    length += next.value.length;
  }
  return length;
}

function fromDate(date: Date | undefined): Timespec | undefined {
  return date && { sec: Math.floor(date.getTime() / 1000), nsec: 0 };
}

/** PAX: seconds with a fraction, which is negative with them. */
function fromDecimal(text: string): Timespec | undefined {
  const [, sign, whole, fraction = ''] = /^(-?)(\d+)(?:\.(\d*))?$/.exec(text) ?? [];
  if (whole === undefined) return undefined;
  const nsec = Number(fraction.padEnd(9, '0').slice(0, 9));
  if (!sign) return { sec: Number(whole), nsec };
  return nsec ? { sec: -Number(whole) - 1, nsec: 1_000_000_000 - nsec } : { sec: -Number(whole), nsec: 0 };
}

function toDecimal({ sec, nsec }: Timespec): string {
  const isNegative = sec < 0;
  const whole = isNegative && nsec ? -sec - 1 : Math.abs(sec);
  const fraction = isNegative && nsec ? 1_000_000_000 - nsec : nsec;
  return `${isNegative ? '-' : ''}${whole}${fraction ? `.${String(fraction).padStart(9, '0')}` : ''}`;
}
