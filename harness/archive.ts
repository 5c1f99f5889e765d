import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { dumpJson, dumpTar, loadJson, loadTar, type DirectoryJson, type MemfsBackend, type TreeProgress, type TreeReport } from '../device/index.ts';
import { VmError } from './errors.ts';
import { writeFileWhole } from './whole-file.ts';

type Form = 'tar' | 'tar.gz' | 'json';

/** By the file's name. @throws VmError `share`. */
function formOf(path: string): Form {
  if (/\.json$/.test(path)) return 'json';
  if (/\.(tar\.gz|tgz)$/.test(path)) return 'tar.gz';
  if (/\.tar$/.test(path)) return 'tar';
  throw new VmError('share', `${path} is neither a directory nor a .tar, .tar.gz, .tgz or .json file: give one of these`);
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
export async function loadArchive(path: string, backend: MemfsBackend, onProgress?: TreeProgress): Promise<TreeReport> {
  const form = formOf(path);
  try {
    if (form === 'json') return loadJson(backend, JSON.parse(await readFile(path, 'utf8')) as DirectoryJson);
    return await loadTar(backend, Readable.toWeb(createReadStream(path)) as ReadableStream<Uint8Array>, { onProgress });
  } catch (error) {
    throw new VmError('share', `${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Writes a filesystem to such a file, whole or not at all. */
export async function saveArchive(path: string, backend: MemfsBackend, onProgress?: TreeProgress): Promise<TreeReport> {
  const form = formOf(path);
  if (form === 'json') {
    const { json, report } = dumpJson(backend);
    await writeFileWhole(path, [new TextEncoder().encode(`${JSON.stringify(json, null, 2)}\n`)]);
    return report;
  }
  const { stream, report } = dumpTar(backend, { gzip: form === 'tar.gz', onProgress });
  await writeFileWhole(path, Readable.fromWeb(stream as Parameters<typeof Readable.fromWeb>[0]) as AsyncIterable<Uint8Array>);
  return report;
}
