import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { NotYet, whenHere } from '../../device/fs/not-yet.ts';
import { dumpTar, type MemoryFileSystem } from '../../device/index.ts';
import { inodeAt, walk } from '../../device/trees/tree-writer.ts';
import { bytesOf, versionOf } from './folder-entries.ts';
import { explained } from './folder-errors.ts';

/** Milliseconds between two reports. */
const PACE = 100;
/** Milliseconds after which an archive that is being packed lets the guest run. */
const TURN = 10;
/** How often a file is begun that changes while it is fetched. */
const ATTEMPTS = 3;

interface Reading {
  path: string;
  /** The file as it is now. */
  find(): Inode;
  /** Bytes of it that are wanted, and those of a slice. */
  limit: number;
  size: number;
  /** Gets how many are here, where more have to be fetched. */
  onProgress?: ((bytes: number) => void) | undefined;
  /** Ends it between two slices. */
  signal?: AbortSignal;
}

/**
 * Reads a file in slices, all of the same version, which it returns; what is not here is fetched. `begin` is called with the number of bytes, and gets
 * what takes the slices: again when the file has changed meanwhile. @throws Error that a visitor understands.
 */
export async function readSlices(
  { path, find, limit, size, onProgress, signal }: Reading,
  begin: (length: number) => (bytes: Uint8Array<ArrayBuffer>, at: number) => void,
): Promise<string> {
  const tell = paced(onProgress);
  /** Undefined when the file is another one. */
  const slice = (version: string, at: number, length: number) => {
    try {
      return explained(path, () => {
        const inode = find();
        return versionOf(inode) === version ? bytesOf(inode, at, length) : undefined;
      });
    } catch (error) {
      if (error instanceof NotYet) tell(at);
      throw error;
    }
  };
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const inode = explained(path, find);
    const [version, length] = [versionOf(inode), Math.min(limit, inode.size)];
    const take = begin(length);
    let at = 0;
    while (at < length) {
      signal?.throwIfAborted();
      const [from, count] = [at, Math.min(size, length - at)];
      const bytes = await whenHere(() => slice(version, from, count));
      if (!bytes) break;
      take(bytes, from);
      at += count;
    }
    if (at >= length) return version;
  }
  throw new Error(`${path} has changed each time while it was read: try again later`);
}

/** Calls `tell` at once, and then no more often than every 100 ms. */
export function paced(tell: (value: number) => void = () => {}): (value: number) => void {
  let last = -Infinity;
  return (value) => {
    if (performance.now() - last < PACE) return;
    last = performance.now();
    tell(value);
  };
}

/**
 * A directory as a tar file. What is not here is fetched, piece by piece, and the guest runs meanwhile. `onProgress` gets bytes of content, and how many there
 * are. @throws Error that a visitor understands.
 */
export async function packDirectory(
  filesystem: MemoryFileSystem,
  path: string,
  onProgress: ((bytes: number, size: number) => void) | undefined,
  signal: AbortSignal,
): Promise<Blob> {
  const size = explained(path, () => sizeOf(filesystem, path));
  const tell = paced((bytes: number) => onProgress?.(bytes, size));
  tell(0);
  const { stream } = dumpTar(filesystem, { directory: path, onProgress: (_, bytes) => tell(bytes) });
  let began = performance.now();
  const inTurns = new TransformStream<Uint8Array, Uint8Array>({
    async transform(bytes, controller) {
      controller.enqueue(bytes);
      if (performance.now() - began < TURN) return;
      await new Promise((resolve) => setTimeout(resolve));
      began = performance.now();
    },
  });
  // The browser puts what is large on its disk.
  const body = stream.pipeThrough(inTurns, { signal }) as ReadableStream<Uint8Array<ArrayBuffer>>;
  return new Response(body, { headers: { 'content-type': 'application/x-tar' } }).blob().catch((error: Error) => {
    signal.throwIfAborted();
    throw new Error(`${path} can’t be packed: ${error.message}`, { cause: error });
  });
}

/** Bytes of all files below a directory, each counted once. */
function sizeOf(filesystem: MemoryFileSystem, path: string): number {
  const files = new Set<Inode>();
  for (const { inode } of walk(filesystem, inodeAt(filesystem, path))) if (inode.isRegular) files.add(inode as Inode);
  return [...files].reduce((sum, file) => sum + file.size, 0);
}
