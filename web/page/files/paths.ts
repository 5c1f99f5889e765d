import type { FileEntry } from '../../protocol.ts';

/** Of absolute paths in the share. */
export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function join(directory: string, name: string): string {
  return directory === '/' ? `/${name}` : `${directory}/${name}`;
}

/** Of a file that was gone before it was shown. */
export const GONE: Omit<FileEntry, 'name' | 'path'> = {
  kind: 'file',
  size: 0,
  mode: 0o100000,
  uid: 0,
  gid: 0,
  ino: 0,
  nlink: 0,
  mtime: 0,
  version: '',
};
