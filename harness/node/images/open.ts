import { basename, dirname, resolve } from 'node:path';
import { StoredImage } from '../../../device/image/files.ts';
import { type OpenImage, type OpenImageOptions, openImage } from '../../../device/image/open.ts';
import { loadCodec } from '../../../device/index.ts';
import { DirectoryStore } from '../stores/directory-store.ts';
import { nodeFlate } from './node-flate.ts';

/** Whether an image is on a web server. */
export function isUrl(location: string): boolean {
  return /^https?:\/\//.test(location);
}

/** Opens an image at a URL, or in a file. @throws as {@link openImage}. */
export function openImageAt(location: string, options: OpenImageOptions = {}): Promise<OpenImage> {
  const all = { flate: nodeFlate, codec: loadCodec(), ...options };
  if (isUrl(location)) return openImage(new URL(location), all);
  const path = resolve(location);
  return openImage(new StoredImage(new DirectoryStore(dirname(path)), basename(path), location), {
    ...all,
    cache: undefined,
  });
}
