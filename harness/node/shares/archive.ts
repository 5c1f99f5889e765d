import { constants, createReadStream } from 'node:fs';
import { access, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable } from 'node:stream';
import {
  type DirectoryJson,
  dumpJson,
  dumpTar,
  loadJson,
  loadTar,
  type MemoryFileSystem,
  type TreeProgress,
  type TreeReport,
} from '../../../device/index.ts';
import { formatBytes, note } from '../../../device/trees/report.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { temporaryName, writeFileWhole } from '../stores/whole-file.ts';
import { reasonOf } from './host-directory.ts';

type Form = 'tar' | 'tar.gz' | 'json';

/** Characters of one JSON text, and so bytes: what Node can read again as one string, and some. */
const MAX_JSON_LENGTH = 2 ** 29 - 2 ** 20;

/** By the file's name. @throws VmError `share`. */
function formOf(path: string): Form {
  if (/\.json$/.test(path)) return 'json';
  if (/\.(tar\.gz|tgz)$/.test(path)) return 'tar.gz';
  if (/\.tar$/.test(path)) return 'tar';
  throw new VmError(
    'share',
    `${printable(path)} is neither a directory nor a .tar, .tar.gz, .tgz or .json file: give one of these`,
  );
}

/** Whether a share is to be filled from an archive; of what is not there, by its name. */
export async function isArchive(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return /\.(tar|tar\.gz|tgz|json)$/.test(path);
  }
}

/**
 * Fills a filesystem from a tar archive, gzipped or not, or a memfs JSON, by the file's name.
 *
 * @throws VmError `share` when the file is missing, broken, or more than the share can hold.
 */
export async function loadArchive(
  path: string,
  filesystem: MemoryFileSystem,
  onProgress?: TreeProgress,
): Promise<TreeReport> {
  const form = formOf(path);
  try {
    if (form === 'json') return loadJson(filesystem, JSON.parse(await readFile(path, 'utf8')) as DirectoryJson);
    return await loadTar(filesystem, Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>, {
      onProgress,
    });
  } catch (error) {
    throw new VmError('share', `${printable(path)}: ${printable((error as Error).message)}`, { cause: error });
  }
}

/**
 * Finds out before anything runs whether `share.save` could write to `path`: its form is known, and a file
 * can be made beside it, which is removed again.
 *
 * @throws VmError `configuration` that says what to do.
 */
export async function checkSaveTarget(path: string): Promise<void> {
  try {
    formOf(path);
  } catch (error) {
    throw new VmError(
      'configuration',
      `can't save to ${printable(path)}: its name must end in .tar, .tar.gz, .tgz or .json`,
      { cause: error },
    );
  }
  const refuse = (what: string, cause?: unknown) =>
    new VmError('configuration', `can't save to ${printable(path)}: ${what}`, { cause });
  const there = await stat(path).catch(() => undefined);
  if (there && !there.isFile())
    throw refuse(`it is ${there.isDirectory() ? 'a directory' : 'not a regular file'}; give another name`);
  const probe = temporaryName(path);
  try {
    await (await open(probe, 'wx')).close();
  } catch (error) {
    throw refuse(
      (error as NodeJS.ErrnoException).code === 'ENOENT'
        ? `the directory ${printable(dirname(path))} does not exist; make it first`
        : reasonOf(error),
      error,
    );
  } finally {
    await rm(probe, { force: true });
  }
}

/** As {@link checkSaveTarget}, for a share's source that changes are to be written back to: an archive or a directory. */
export async function checkWriteBackTarget(source: string): Promise<void> {
  if (await isArchive(source)) return checkSaveTarget(source);
  try {
    await access(source, constants.W_OK | constants.X_OK);
  } catch (error) {
    // Loading says it better.
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return;
    throw new VmError('configuration', `can't write back to ${printable(source)}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

export interface SaveOptions {
  onProgress?: TreeProgress;
  /** Gives up, and leaves what was there. */
  signal?: AbortSignal;
}

/** Writes a filesystem to such a file, whole or not at all. */
export async function saveArchive(
  path: string,
  filesystem: MemoryFileSystem,
  { onProgress, signal }: SaveOptions = {},
): Promise<TreeReport> {
  const form = formOf(path);
  try {
    if (form === 'json') {
      const { json, report } = await dumpJson(filesystem);
      await writeFileWhole(path, jsonParts(json, report), { signal });
      return report;
    }
    const { stream, report } = dumpTar(filesystem, { gzip: form === 'tar.gz', onProgress });
    await writeFileWhole(
      path,
      Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]) as AsyncIterable<Uint8Array>,
      { signal },
    );
    return report;
  } catch (error) {
    throw new VmError('share', `${printable(path)} could not be written: ${printable((error as Error).message)}`, {
      cause: error,
    });
  }
}

/** The text of a JSON object, entry by entry: all of it may be more than a string can be. What would be more than can be read again is left out. */
function* jsonParts(json: DirectoryJson, report: TreeReport): Generator<Uint8Array> {
  const encoder = new TextEncoder();
  let length = 0;
  let before = '{\n  ';
  for (const [path, content] of Object.entries(json)) {
    const part = encoder.encode(`${before}${JSON.stringify(path)}: ${JSON.stringify(content)}`);
    if (length + part.length > MAX_JSON_LENGTH) {
      note(
        report.skipped,
        path.slice(1),
        `the JSON would be longer than ${formatBytes(MAX_JSON_LENGTH)}, which can't be read again: save to a .tar`,
      );
      report.files--;
      continue;
    }
    length += part.length;
    before = ',\n  ';
    yield part;
  }
  yield encoder.encode(length ? '\n}\n' : '{}\n');
}
