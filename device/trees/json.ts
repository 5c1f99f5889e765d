import type { Backend } from '../fs/backend.ts';
import { S_IFDIR, S_IFMT, S_IFREG } from '../fs/constants.ts';
import { BytesSink } from '../fs/tree/byte-io.ts';
import { emptyReport, inodeAt, TreeWriter, Unfit, walk, type TreeReport } from './tree-writer.ts';

/** memfs's `DirectoryJSON`: texts of files by path, null for an empty directory. */
export type DirectoryJson = Record<string, string | null>;

/**
 * Makes the files and directories of a memfs JSON, in place of what is there.
 *
 * @throws TypeError for a value that is neither text nor null, with nothing changed; FsError ENOSPC.
 */
export function loadJson(backend: Backend, json: DirectoryJson, directory = '/'): TreeReport {
  for (const [path, content] of Object.entries(json)) {
    if (typeof content !== 'string' && content !== null) throw new TypeError(`${path} is ${JSON.stringify(content)}: expected a file's text, or null for a directory`);
  }
  const report = emptyReport();
  const writer = new TreeWriter(backend, inodeAt(backend, directory));
  const encoder = new TextEncoder();
  for (const [path, content] of Object.entries(json)) {
    try {
      if (content === null) writer.directory(path);
      else {
        const place = writer.place(path);
        writer.clear(place);
        const bytes = encoder.encode(content);
        writer.append(backend.mknod(place.dir, place.name, { mode: S_IFREG | 0o644, uid: 0, gid: 0 }), bytes);
        report.bytes += bytes.length;
      }
      report.files++;
    } catch (error) {
      if (!(error instanceof Unfit)) throw error;
      report.skipped.push({ path, reason: error.message });
    }
  }
  return report;
}

/** The files of a directory as memfs JSON: texts and empty directories. All else is left out and reported; so are modes, owners and times, silently. */
export function dumpJson(backend: Backend, directory = '/'): { json: DirectoryJson; report: TreeReport } {
  const report = emptyReport();
  const json: DirectoryJson = {};
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  for (const { path, inode } of walk(backend, inodeAt(backend, directory))) {
    const { mode, size } = backend.getattr(inode);
    const skip = (reason: string) => report.skipped.push({ path, reason });
    if (!path.isWellFormed()) skip('its name is not UTF-8');
    else if ((mode & S_IFMT) === S_IFDIR) {
      const isEmpty = walk(backend, inode).next().done;
      if (isEmpty) json[`/${path}`] = null;
    } else if ((mode & S_IFMT) !== S_IFREG) skip('JSON has files and directories only');
    else {
      const bytes = new Uint8Array(size);
      backend.read(inode, 0, size, new BytesSink(bytes), 0);
      try {
        json[`/${path}`] = decoder.decode(bytes);
        report.files++;
        report.bytes += size;
      } catch {
        skip('it is no text in UTF-8');
      }
    }
  }
  return { json, report };
}
