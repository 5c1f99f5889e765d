/**
 * What the page and its worker say to each other: the page calls {@link WorkerApi}, the worker calls
 * {@link PageApi}. Both ends are wrapped by Comlink, so every call is a promise, and what a call
 * throws comes out of it at the other end, as an `Error` with name and message. Bytes are copied.
 */

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

  openShell(guest: GuestId, size: TerminalSize): Promise<ShellInfo>;
  /** Keys and pasted text; settles when the guest has taken them. */
  type(guest: GuestId, shell: ShellId, text: string): Promise<void>;
  resize(guest: GuestId, shell: ShellId, size: TerminalSize): Promise<void>;
  closeShell(guest: GuestId, shell: ShellId): Promise<void>;
}

export interface PageApi {
  progress(progress: Progress): void;
  /** What a shell wrote. Settles when the terminal has taken it: until then the worker holds more back. */
  output(guest: GuestId, shell: ShellId, bytes: Uint8Array): void | Promise<void>;
  /** A shell has ended, by itself or with its guest. */
  shellEnded(guest: GuestId, shell: ShellId): void;
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
