import type { ProxyMarked } from 'comlink';
import type { TreeReport } from '../../device/index.ts';
import type { FileEntry } from './data.ts';

/** A directory: folders first, then by name. */
export interface Listing {
  /** The first {@link MAX_LISTED} of them, or as many as were asked for. */
  entries: FileEntry[];
  /** How many there are. */
  count: number;
}

/** Entries of one directory that are listed, and that {@link FolderApi.find} finds: to sort more of them would hold the guest up. */
export const MAX_LISTED = 20_000;

/** What guests hold of an inode. */
export interface FileUse {
  /** `flags`: O_* of the guest. */
  handles: { guest: string; fh: number; flags: number }[];
  locks: {
    guest: string;
    space: string;
    type: 'read' | 'write';
    pid: number;
    start: number;
    end: number | undefined;
  }[];
  /** Requests that wait for a lock on it. */
  waiting: { guest: string; pid: number; type: 'read' | 'write' }[];
}

/** A file or directory to be put into the shared folder. */
export interface NewFile {
  /** Relative to the directory it goes to; directories in it are made. */
  path: string;
  /** Of a file; a directory has none. */
  content?: Blob;
}

/** Bytes. */
export interface SpaceInfo {
  used: number;
  size: number;
}

/** Gets bytes of content that are done, and how many there are. Resolves to whether to go on. */
export type DownloadProgress = (bytes: number, size: number) => Promise<boolean>;

/** Every call throws an `Error` that says what was wrong with which file, and what to do. */
export interface FolderApi extends ProxyMarked {
  /** Directories by path; those that are gone are left out. `limit`: entries of each. */
  list(paths: string[], limit?: number): Map<string, Listing>;
  /** What has a text in its name, wherever a path leads, by path; upper and lower case are the same. Of very long paths fewer are listed. */
  find(text: string): Listing;
  /** Undefined when there is nothing. */
  stat(path: string): FileEntry | undefined;
  space(): SpaceInfo;
  use(ino: number): FileUse;
  /** The first bytes of a file, up to `limit`, and the version they are of. `onProgress` gets how many are here, while others have to be fetched. */
  read(
    path: string,
    limit: number,
    onProgress?: (bytes: number) => void,
  ): Promise<{ bytes: Uint8Array; version: string }>;
  /**
   * Replaces a file's content, or makes the file; returns its new version. When `version` is given and
   * the file is another one by now ('' for none at all), nothing is written, and undefined returned.
   */
  save(path: string, content: Uint8Array, version?: string): Promise<string | undefined>;
  /** An empty file or directory, where nothing is yet. */
  create(path: string, kind: 'file' | 'directory'): void;
  /** To a path where nothing is yet. */
  rename(path: string, newPath: string): void;
  /** With all that is in it. */
  remove(path: string): void;
  chmod(path: string, mode: number): void;
  /** Which of these are there, of paths relative to `directory`, and in which version. */
  existing(directory: string, paths: string[]): Map<string, string>;
  /**
   * Puts files into a directory, in place of those of the same name; each is replaced when the new one is whole. With `versions`, by path, only what is still in that
   * version is replaced. Returns the paths of files that were left out, because something else is there. `onProgress` gets bytes.
   */
  put(
    directory: string,
    files: NewFile[],
    versions?: Map<string, string>,
    onProgress?: (bytes: number) => void,
  ): Promise<string[]>;
  /** Unpacks a tar file, gzipped or not, into a directory. `onProgress` gets bytes of files. Says what had to be left out. */
  unpack(directory: string, archive: Blob, onProgress?: (bytes: number) => void): Promise<TreeReport>;
  /** A file's content, or a directory as a tar file. `onProgress`, of a file: while it has to be fetched. */
  download(path: string, onProgress?: DownloadProgress): Promise<Blob>;
}
