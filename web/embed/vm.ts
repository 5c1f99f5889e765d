/**
 * A guest in a page of yours: a handle on it, with or without an element to see. docs/embedding.md has more.
 *
 * @module v86-virtiofs/page
 */
import type { ExecOptions, ExecResult, FileEntry, SnapshotView, VmEvents } from '../protocol/data.ts';
import { Handle } from './handle.ts';

export type * from '../protocol/data.ts';

/** A part of the element beside the terminal. */
export type PanelName = 'files' | 'timeline' | 'inspector' | 'lessons';

/** Which guest, and whether it is kept. */
export interface GuestOptions {
  /** Where the guest's snapshot is: the directory of `guest.json`, relative to the document. Default: `guest/`. */
  src?: string;
  /** URL of an image, relative to the document, whose files the guest has for its root filesystem; see docs/images.md. Default: the one that `guest.json` names, if it does. */
  root?: string;
  /** URL of a tar archive, gzipped or not, relative to the document: it is unpacked into the folder of a new guest. */
  files?: string;
  /** Typed into the terminal of a new guest. One that goes on from a snapshot has had it. */
  command?: string;
  /** URL of a file with a snapshot that was exported, relative to the document: the guest begins in that moment. */
  snapshot?: string;
  /**
   * Keeps snapshots in the browser's own file system, in the directory of this name, takes some by itself, and goes on
   * from the newest when the page is loaded again. Default: nothing is kept.
   */
  store?: string;
}

/** Options of {@link createVm}. */
export interface VmOptions extends GuestOptions {
  /** Gets a `<virtiofs-vm>` for a child. Default: the guest is not to be seen. */
  container?: Element;
  /** Default: all. With none there are terminals only. */
  panels?: readonly PanelName[];
  /** Default: as the visitor's system. */
  theme?: 'light' | 'dark';
  /** A line above all, with this text. Default: none. */
  heading?: string;
  /** The visitor looks at terminals, files and inspector, and changes nothing; your scripts do as before. */
  readonly?: boolean;
}

/** The shared folder, from the host's side. Paths are absolute in it; errors say what was wrong with which file. */
export interface SharedFolder {
  /** The names in a directory: folders first, then by name. */
  list(path?: string): Promise<FileEntry[]>;
  /** Undefined when there is nothing. */
  stat(path: string): Promise<FileEntry | undefined>;
  /** The bytes of a file, as a copy. */
  read(path: string): Promise<Uint8Array>;
  /** As UTF-8. */
  readText(path: string): Promise<string>;
  /** Makes or replaces a file, in one step when all of it is there; directories in its path are made. */
  write(path: string, content: string | Uint8Array | Blob): Promise<void>;
  /** Makes a directory, and those in its path. */
  makeDirectory(path: string): Promise<void>;
  /** To a path where nothing is yet. */
  rename(path: string, newPath: string): Promise<void>;
  /** With all that is in it. */
  remove(path: string): Promise<void>;
  /** Unpacks a tar file, gzipped or not, into a directory. */
  unpack(archive: Blob, directory?: string): Promise<void>;
  /** A directory as a tar file. */
  pack(directory?: string): Promise<Blob>;
  /**
   * Calls `listener` when a file or a directory's list of names is another one, with what there is now, until the
   * returned function is called. What is there at the beginning is no change.
   */
  watch(path: string, listener: (entry: FileEntry | undefined) => void): () => void;
}

/** A running guest. What is asked before it is ready waits for that; what is asked of one that could not start, has stopped, or was destroyed, rejects. */
export interface Vm {
  /** Settles when the guest answers. Rejects when it can't be started, with what to do. It is another promise when the visitor has pressed “Try again”. */
  readonly ready: Promise<void>;
  /** Where the shared folder is mounted in the guest; '' before it is ready. */
  readonly mountPoint: string;
  readonly fs: SharedFolder;
  /**
   * Runs a command to its end, beside the terminals. A string goes to `/bin/sh -c`, an array is run as it is. It sees what
   * {@link fs} has changed. With the kernel's own driver it begins up to 1.5 s after something was replaced, when the guest's caches are outdated.
   */
  exec(command: string | string[], options?: ExecOptions): Promise<ExecResult>;
  /** Of this moment, with the shared folder and all that is open; the guest goes on. Returns its id. */
  snapshot(name?: string): Promise<string>;
  /** Newest first. */
  snapshots(): Promise<SnapshotView[]>;
  /** Takes the guest back, or forth, to a snapshot of a machine like it. The moment that it leaves is gone, unless you took a snapshot of it. */
  rewind(id: string): Promise<void>;
  /** One file that stands alone: for another page, or `v86-virtiofs import`. */
  export(id: string): Promise<Blob>;
  /** Takes such a file in. Returns the id, to rewind to. */
  import(file: Blob): Promise<string>;
  /** Removes a snapshot for good; the guest and other snapshots stay as they are. */
  removeSnapshot(id: string): Promise<void>;
  /** Ends the guest, and takes its element away. */
  destroy(): void;
  /** Calls `listener` with what the event tells, until the returned function is called. */
  on<E extends keyof VmEvents>(event: E, listener: (detail: VmEvents[E]) => void): () => void;
}

/**
 * `<virtiofs-vm>`: its attributes are the options by the same names, `panels` with spaces between. It dispatches the
 * handle's events too, as `CustomEvent`s. The guest begins when it is put into a document, and ends when it is taken out.
 */
export interface VirtiofsVmElement extends HTMLElement {
  src: string | undefined;
  root: string | undefined;
  snapshot: string | undefined;
  files: string | undefined;
  command: string | undefined;
  readonly: boolean;
  /** For pages of a server with several: `NAME=SRC` of each with spaces between, the default first. The visitor chooses, or the page's address (`?guest=NAME`). */
  guests: string | undefined;
  store: string | undefined;
  theme: string | undefined;
  panels: string | undefined;
  heading: string | undefined;
  /** Address of a course, relative to the page, in place of the built-in one: docs/write-a-course.md. */
  course: string | undefined;
  /** Id of the lesson that it begins with. */
  lesson: string | undefined;
  /** Origins of servers with spaces between, whose courses a link to the page may name (`?course=URL`) beside those of the page's own server. */
  courseOrigins: string | undefined;
  /** Lets guests move to other tabs, to Node and from there. Of one element of a page, whose address then tells where a guest is to be had. */
  movable: boolean;
  /** Tells a first visitor, until something is typed, what this is and how to begin. */
  welcome: boolean;
  /** Where its guest's files are, relative to the document: {@link src}, or what was chosen of {@link guests}. */
  readonly base: string;
  /** Undefined while it is in no document. */
  readonly vm: Vm | undefined;
}

declare global {
  interface HTMLElementTagNameMap {
    'virtiofs-vm': VirtiofsVmElement;
  }
}

/** Starts a guest. */
export function createVm({ container, panels, ...options }: VmOptions = {}): Vm {
  if (!container) return new Handle(options);
  if (!container.isConnected) throw new Error('the container is not in a document: add it first');
  const element = document.createElement('virtiofs-vm');
  Object.assign(element, options, panels && { panels: panels.join(' ') });
  container.append(element);
  return element.vm!;
}
