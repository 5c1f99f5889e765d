/**
 * What the page and its worker say to each other: the page calls {@link WorkerApi} and what hangs on
 * it, the worker calls {@link PageApi}. Both ends are wrapped by Comlink, so every call is a promise, and what a
 * call throws comes out of it at the other end, as an `Error` with name and message. Bytes are copied.
 */
import type { ProxyMarked } from 'comlink';
import type { TreeReport } from '../device/index.ts';

/** A guest, by the number that the worker gave it. */
export type GuestId = number;
/** A shell, by its process's number in the guest's agent. */
export type ShellId = number;

export interface TerminalSize {
  columns: number;
  rows: number;
}

/** What is being done until the first guest is there. */
export interface Progress {
  what: 'emulator' | 'download' | 'snapshot' | 'guest';
  /** Bytes, where they are counted; `total` is 0 where it isn't known. */
  loaded?: number;
  total?: number;
}

export interface StartOptions {
  /** Where the guest's snapshot is: the directory of `guest.json`, as an absolute URL. */
  base: string;
}

export interface ShellInfo {
  id: ShellId;
  /** The last of what it wrote, to be written to a new terminal. */
  output: Uint8Array;
}

export interface GuestInfo {
  id: GuestId;
  name: string;
  tag: string;
  /** Where the share is mounted in the guest. */
  mountPoint: string;
  /** MiB of RAM. */
  memory: number;
  shells: ShellInfo[];
}

export interface StartResult {
  guests: GuestInfo[];
  /** Milliseconds from the call until the guest answered. */
  milliseconds: number;
}

export interface WorkerApi {
  /** Brings up the first guest. Once only. */
  start(options: StartOptions, page: PageApi): Promise<StartResult>;
  guest(id: GuestId): GuestApi;
}

export interface GuestApi extends ProxyMarked {
  readonly shells: ShellsApi;
  readonly folder: FolderApi;
}

export interface ShellsApi extends ProxyMarked {
  open(size: TerminalSize): ShellInfo;
  /** Keys and pasted text; settles when the guest has taken them. */
  type(shell: ShellId, text: string): Promise<void>;
  resize(shell: ShellId, size: TerminalSize): void;
  close(shell: ShellId): void;
}

export type FileKind = 'file' | 'directory' | 'symlink' | 'special';

/** One name in the shared folder. */
export interface FileEntry {
  name: string;
  /** Absolute, in the share. */
  path: string;
  kind: FileKind;
  /** Bytes. */
  size: number;
  /** Type and permission bits. */
  mode: number;
  uid: number;
  gid: number;
  ino: number;
  nlink: number;
  /** Milliseconds since 1970. */
  mtime: number;
  /** Of a symbolic link. */
  target?: string;
}

/** What guests hold of an inode. */
export interface FileUse {
  handles: { guest: string; fh: number; flags: number }[];
  locks: { guest: string; space: string; type: 'read' | 'write'; pid: number; start: number; end: number | undefined }[];
  /** Requests that wait for a lock on it. */
  waiting: { guest: string; pid: number; type: 'read' | 'write' }[];
}

/** A file to be put into the shared folder. */
export interface NewFile {
  /** Relative to the directory it goes to; directories in it are made. */
  path: string;
  content: Blob;
}

export interface FolderApi extends ProxyMarked {
  /** The entries of directories, by path, sorted by name; those that are gone are left out. */
  list(paths: string[]): Map<string, FileEntry[]>;
  use(ino: number): FileUse;
  /** The first bytes of a file, up to `limit`. */
  read(path: string, limit: number): Uint8Array;
  /** Replaces a file's content, or makes the file. */
  write(path: string, content: Uint8Array): void;
  makeDirectory(path: string): void;
  rename(path: string, newPath: string): void;
  /** With all that is in it. */
  remove(path: string): void;
  chmod(path: string, mode: number): void;
  /** Which of these are there, of paths relative to `directory`. */
  existing(directory: string, paths: string[]): string[];
  /** Puts files into a directory, in place of those of the same name. `onProgress` gets bytes. */
  put(directory: string, files: NewFile[], onProgress: (bytes: number) => void): Promise<void>;
  /** Unpacks a tar file of the share, gzipped or not, into the directory it is in. Says what had to be left out. */
  unpack(path: string): Promise<TreeReport>;
  /** A file's content, or a directory as a tar file. */
  download(path: string): Promise<Blob>;
}

export interface PageApi {
  progress(progress: Progress): void;
  /** What a shell wrote. Settles when the terminal has taken it: until then the worker holds more back. */
  output(guest: GuestId, shell: ShellId, bytes: Uint8Array): void | Promise<void>;
  /** A shell has ended, by itself or with its guest. */
  shellEnded(guest: GuestId, shell: ShellId): void;
  /** Something in the shared folder is not what it was, whoever changed it. At most every 100 ms. */
  filesChanged(guest: GuestId): void;
  /** Something went wrong that no call is waiting for. */
  problem(message: string): void;
}

/** `guest.json`, which the build puts beside the snapshot. */
export interface GuestManifest {
  /** The snapshot's file, gzip: a layer of docs/snapshot-format.md. */
  file: string;
  /** Bytes of it, and of the layer inside. */
  size: number;
  unpackedSize: number;
  /** The snapshot in that layer. */
  id: string;
  machine: Record<string, string | number | string[]>;
  /** MiB of RAM. */
  memory: number;
  tag: string;
  mountPoint: string;
}
