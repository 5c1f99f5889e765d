/** What the page shows, and what embedders get: plain data, without anything of the page's own. */

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
  /** Another one when the content may be another. */
  version: string;
  /** Of a symbolic link. */
  target?: string;
}

/** What is being done until the first guest is there. */
export interface Progress {
  what: 'emulator' | 'download' | 'snapshot' | 'root' | 'guest' | 'kernel' | 'boot' | 'move';
  /** Bytes, where they are counted. */
  loaded?: number;
  total?: number;
  /** The network broke, and is tried again. */
  isBroken?: boolean;
}

/**
 * How a snapshot came to be. `start`: the page's own, that everything begins with. `rewind` and `close`: of what a guest was
 * before it went to another moment, or was closed.
 */
export type SnapshotKind = 'start' | 'manual' | 'automatic' | 'fork' | 'rewind' | 'close' | 'imported';

/** A snapshot in the timeline. */
export interface SnapshotView {
  id: string;
  /** '' for none. */
  name: string;
  kind: SnapshotKind;
  /** Name of the guest it was taken of. */
  guest: string;
  /** Milliseconds since 1970; of `start`, when this browser got it. */
  created: number;
  /** The snapshot that it was taken after, or the nearest before that one which is still there; '' for none. */
  parent: string;
  /** It stays until it is removed. */
  isPinned: boolean;
  /** Bytes that it added to the store. */
  addedBytes: number;
  /** For how long the guest was paused, in milliseconds; where it was taken in this visit. */
  standstill?: number;
  /** Guests that went on from it, or were frozen to it, last: their numbers. From one that was removed, its parent has them. */
  guests: number[];
  /** Why it can't be restored; '' as far as nothing is known against it. */
  damage: string;
}

/** Options of `exec`. */
export interface ExecOptions {
  /** What the command reads; nothing by default. */
  stdin?: string;
  /** Default: `/root`. */
  cwd?: string;
  /** Variables on top of the guest's own. */
  env?: Record<string, string>;
  /** Kills the command, and rejects, when it takes longer. Milliseconds; default: none. */
  timeout?: number;
}

/** What came of a command. */
export interface ExecResult {
  /** UTF-8. */
  stdout: string;
  stderr: string;
  /** Exit code; 128 + the signal's number when a signal ended it. */
  code: number;
}

/** `paused`: it runs, and its device serves no requests. */
export type GuestState = 'running' | 'booting' | 'halted' | 'asleep' | 'paused';

/** What each event tells. */
export interface VmEvents {
  /** The guest answers. */
  ready: null;
  /** How far the start is. */
  progress: Progress;
  /** Something went wrong that no call is waiting for: what, and what to do. */
  problem: string;
  /** Something in the shared folder is not what it was, whoever changed it. At most every 100 ms. */
  fileschange: null;
  /** A guest halts, boots again, sleeps, wakes, or its device is paused, or no longer. */
  statechange: { guest: string; state: GuestState };
  /** There is another snapshot, or one less, or a guest has gone to one. */
  timelinechange: null;
  /** A shell has written something, as a terminal takes it. */
  output: { guest: string; shell: number; bytes: Uint8Array };
}
