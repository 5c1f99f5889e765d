import { BytesSink } from '../bytes.ts';
import type { MemoryFileSystem } from '../filesystems/memory/filesystem.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../fs/constants.ts';
import { whenHere } from '../fs/not-yet.ts';
import { emptyTreeReport, formatBytes, note, type TreeReport } from './report.ts';
import { EntryError, inodeAt, TOO_LONG, TreeWriter, walk } from './tree-writer.ts';

/** memfs's `DirectoryJSON`: texts of files by path, null for an empty directory. */
export type DirectoryJson = Record<string, string | null>;

/** Of one file, in bytes: JSON has no holes, and a guest can make a file of 8 PiB of them. A NUL takes six characters, and a text has half a gibi of them. */
const MAX_TEXT = 64 << 20;
/** Of all files. */
const MAX_TEXTS = 512 << 20;

/**
 * Makes the files and directories of a memfs JSON, in place of what is there.
 *
 * @throws TypeError for what is no object, or a value that is neither text nor null, with nothing changed; FsError ENOSPC.
 */
export function loadJson(filesystem: MemoryFileSystem, json: DirectoryJson, directory = '/'): TreeReport {
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw new TypeError('it is not a JSON object of paths and texts');
  for (const [path, content] of Object.entries(json)) {
    if (typeof content !== 'string' && content !== null)
      throw new TypeError(
        `${path} is ${JSON.stringify(content).slice(0, 100)}: expected a file's text, or null for a directory`,
      );
  }
  const report = emptyTreeReport();
  const writer = new TreeWriter(filesystem, inodeAt(filesystem, directory));
  const encoder = new TextEncoder();
  for (const [path, content] of Object.entries(json)) {
    try {
      if (content === null) writer.directory(path);
      else {
        const place = writer.place(path);
        const bytes = encoder.encode(content);
        writer.file(place, { mode: S_IFREG | 0o644, uid: 0, gid: 0 }, bytes);
        report.bytes += bytes.length;
      }
      report.files++;
    } catch (error) {
      if (!(error instanceof EntryError)) throw error;
      note(report.skipped, path, error.message);
    }
  }
  return report;
}

/** The files of a directory as memfs JSON: texts and empty directories. All else is left out and reported; so are modes, owners and times, silently. */
export async function dumpJson(
  filesystem: MemoryFileSystem,
  directory = '/',
): Promise<{ json: DirectoryJson; report: TreeReport }> {
  const report = emptyTreeReport();
  const json: DirectoryJson = {};
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const tooLong = (path: string) => note(report.skipped, path, TOO_LONG);
  for (const { path, inode } of walk(filesystem, inodeAt(filesystem, directory), tooLong)) {
    const { mode, size } = filesystem.getattr(inode);
    const skip = (reason: string) => note(report.skipped, path, reason);
    if (!path.isWellFormed()) skip('its name is not UTF-8');
    else if ((mode & S_IFMT) === S_IFDIR) {
      if (filesystem.entries(inode).length === 0) json[`/${path}`] = null;
    } else if ((mode & S_IFMT) !== S_IFREG) skip('JSON has files and directories only');
    else if (size > MAX_TEXT)
      skip(
        `its size of ${formatBytes(size)}, holes included, is above the limit of ${formatBytes(MAX_TEXT)} for one file in JSON`,
      );
    else if (report.bytes + size > MAX_TEXTS)
      skip(`all texts together, holes included, are above the limit of ${formatBytes(MAX_TEXTS)} for JSON`);
    else {
      const bytes = new Uint8Array(size);
      await whenHere(() => filesystem.read(inode, 0, size, new BytesSink(bytes), 0, true));
      try {
        json[`/${path}`] = decoder.decode(bytes);
        report.files++;
        report.bytes += size;
      } catch {
        skip('it is not UTF-8 text');
      }
    }
  }
  return { json, report };
}
