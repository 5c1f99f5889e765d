import { stat } from 'node:fs/promises';
import { MemoryFileSystem, type TreeProgress, type TreeReport } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { isArchive, loadArchive } from './archive.ts';
import { findContainerImage, loadContainerImage } from './container-image.ts';
import { loadingHostTree } from './host-tree.ts';
import { inSlices } from './slices.ts';

/** Bytes that the files of an image may have while it is made. */
const MAX_SIZE = 2 ** 36;

/**
 * A filesystem with what is in a host directory, an archive, or a container image as OCI layout or of `docker save`. What nobody says when it was
 * changed counts as changed at `epoch`, in seconds.
 *
 * @throws VmError `share` when it can't be read.
 */
export async function loadSource(
  source: string,
  epoch = 0,
  onProgress?: TreeProgress,
): Promise<{ filesystem: MemoryFileSystem; report: TreeReport }> {
  const filesystem = new MemoryFileSystem({ size: MAX_SIZE, clock: () => ({ sec: epoch, nsec: 0 }) });
  if (!(await stat(source).catch(() => undefined)))
    throw new VmError(
      'share',
      `${printable(source)} does not exist: give a directory, a .tar or .tar.gz file, or a container image`,
    );
  const layers = /\.json$/.test(source) ? undefined : await findContainerImage(source);
  if (layers) return { filesystem, report: await loadContainerImage(source, layers, filesystem, onProgress) };
  const report = (await isArchive(source))
    ? await loadArchive(source, filesystem, onProgress)
    : await inSlices(loadingHostTree(source, filesystem, onProgress));
  const names = filesystem.entries(filesystem.root).map(({ name }) => name);
  if (
    ['blobs', 'index.json'].every((name) => names.includes(name)) ||
    (names.includes('manifest.json') && names.includes('repositories'))
  )
    throw new VmError(
      'share',
      `${printable(source)} is a compressed archive of a container image: unpack it first, with gunzip say`,
    );
  return { filesystem, report };
}

/** Tells in words how far loading a source has come. */
export function tellingOf(source: string, onProgress: ((message: string) => void) | undefined): TreeProgress {
  return (files, bytes) => onProgress?.(`loading ${source}: ${files} files, ${(bytes / 1e6).toFixed(1)} MB`);
}
