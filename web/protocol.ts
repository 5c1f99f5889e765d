/**
 * What the page and its worker say to each other: the page calls {@link WorkerApi} and what hangs on
 * it, the worker calls {@link PageApi}. Both ends are wrapped by Comlink, so every call is a promise, and what a
 * call throws comes out of it at the other end, as an `Error` with name and message. Bytes are copied.
 */
import type { ProxyMarked } from 'comlink';
import type { ExecOptions, ExecResult, Progress } from './protocol/data.ts';
import type { FolderApi } from './protocol/folder.ts';
import type { InspectorApi } from './protocol/inspector.ts';
import type { LessonApi } from './protocol/lesson.ts';
import type { MoveApi, MoveProgress } from './protocol/move.ts';
import type { KeepResult, TimelineApi } from './protocol/timeline.ts';

export type * from './protocol/data.ts';
export type * from './protocol/folder.ts';
export type * from './protocol/inspector.ts';
export type * from './protocol/manifest.ts';
export type * from './protocol/move.ts';
export type * from './protocol/timeline.ts';

/** A guest, by the number that the worker gave it. */
export type GuestId = number;
/** A shell, by its process's number in the guest's agent. */
export type ShellId = number;

export interface TerminalSize {
  columns: number;
  rows: number;
}

export interface StartOptions {
  /** Where the guest's snapshot is: the directory of `guest.json`, as an absolute URL. */
  base: string;
  /** URL of an image to have for the guest's root filesystem. Default: the one that `guest.json` names, if it does. */
  root?: string;
  /** Name of the directory in the browser's own file system that keeps the snapshots: a reload resumes from the newest. Without it nothing is kept, and no snapshot is taken automatically. */
  store?: string;
  /** URL of a file with a snapshot that was exported, to begin with. Default: where the last visit ended, else what `base` has. */
  snapshot?: string;
  /** A link that the visitor has opened names the snapshot: the last visit stays in the timeline. */
  isOfLink?: boolean;
  /** Takes a machine over instead: the code of the tab that has it, or an address as in {@link MoveApi.fromAddress}. */
  from?: string;
  /** Milliseconds since 1970: the machine of snapshots before that runs elsewhere, so they are not gone on from. */
  since?: number;
}

export interface ImageTrouble {
  /** What is wrong, and what to do. */
  message: string;
  /** Milliseconds until it is tried again, for which the guest waits; undefined when it gets an error. */
  retryIn: number | undefined;
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
  /** Its virtio-fs driver: the kernel's own, that of `guest-images/driver`, or, of a bare device, the visitor's own. */
  driver: 'stock' | 'fast' | 'own';
  /** Which folder it has: guests with the same one share it. */
  folder: number;
  shells: ShellInfo[];
  /** Something would wake it: it has ACPI. */
  canSleep: boolean;
  /** It answers nobody until it is woken. */
  isAsleep: boolean;
  /** `booting` after a reset, which it does by itself; `off` when its kernel has halted, or could not be loaded again. */
  power: 'on' | 'booting' | 'off';
  /** It is off because its kernel panicked, or did what the emulator can't. */
  hasCrashed?: boolean;
  /** The shared folder's device is paused before the next request: see {@link InspectorApi.hold}. */
  isHeld: boolean;
  /** Of one whose root filesystem is on a device too: that one. */
  root?: RootInfo;
}

export interface RootInfo {
  tag: string;
  isHeld: boolean;
}

export interface StartResult {
  guests: GuestInfo[];
  /** The guest is one that the page comes with, which nobody has used. */
  isNew: boolean;
  /** No other tab keeps snapshots in this store. */
  hasStore: boolean;
  /** When the snapshot was taken that this was resumed from, in milliseconds since 1970; undefined after a boot. */
  resumed?: number;
  /** Milliseconds from the call until the guest answered. */
  milliseconds: number;
}

/** What takes most of the page's memory, in bytes. Its own programs, and what was fetched of images, come on top. */
export interface MemoryUse {
  /** Of all guests: RAM, and what their emulators need beside it. */
  guests: number;
  /** Files of shared folders. */
  folders: number;
}

export interface WorkerApi {
  /** Brings up the first guest. Once only. */
  start(options: StartOptions, page: PageApi): Promise<StartResult>;
  guest(id: GuestId): GuestApi;
  readonly timeline: TimelineApi;
  readonly moves: MoveApi;
  memory(): MemoryUse;
  /**
   * Another guest that starts from a snapshot, with a folder of its own; or from this moment of a guest, with a folder of
   * its own or the same one. `isPassing`: a reload does not go on with it, whatever was taken of it or beside it.
   */
  fork(
    from: ({ snapshot: string } | { guest: GuestId; folder: 'own' | 'shared' }) & { isPassing?: boolean },
  ): Promise<GuestInfo>;
  /**
   * Takes a guest back to what it began with: all that was changed is thrown away, its files too. The moment that it leaves is kept as a snapshot first,
   * unless `keep` is false.
   */
  reset(guest: GuestId, keep?: boolean): Promise<KeepResult>;
  /** Ends a guest; the last one stays. What it was is kept as a snapshot first, unless `keep` is false. */
  close(guest: GuestId, keep?: boolean): Promise<KeepResult>;
}

/** What the page sees of a device: its files, and what goes through it. */
export interface DeviceApi extends ProxyMarked {
  readonly folder: FolderApi;
  readonly inspector: InspectorApi;
}

/** As a device: that of the shared folder. */
export interface GuestApi extends DeviceApi {
  readonly shells: ShellsApi;
  /** See {@link GuestInfo.root}. Its files are to be looked at: the guest would not notice a change. */
  readonly root: DeviceApi | undefined;
  readonly lesson: LessonApi;
  /** Runs a command to its end, beside the shells, when the guest sees what {@link folder} has changed. A string goes to `/bin/sh -c`. */
  exec(command: string | string[], options: ExecOptions): Promise<ExecResult>;
  /** Lets it go to sleep: suspend to idle. @throws Error with the kernel's reason when it does not. */
  suspend(): Promise<void>;
  wake(): Promise<void>;
  /** Boots it again, when its power is `off`. The folder stays, and all else begins anew. */
  start(): Promise<void>;
}

export interface ShellsApi extends ProxyMarked {
  open(size: TerminalSize): ShellInfo;
  /** Keys and pasted text; settles when the guest has taken them. */
  type(shell: ShellId, text: string): Promise<void>;
  resize(shell: ShellId, size: TerminalSize): void;
  close(shell: ShellId): void;
}

export interface PageApi {
  progress(progress: Progress): void;
  /** What a shell wrote. Settles when the terminal has taken it: until then the worker holds more back. */
  output(guest: GuestId, shell: ShellId, bytes: Uint8Array): void | Promise<void>;
  /** A shell has ended, by itself or with its guest. */
  shellEnded(guest: GuestId, shell: ShellId): void;
  /** A guest has gone to another moment, to sleep, is awake, or boots: its shells are other ones. */
  guestChanged(guest: GuestInfo): void;
  timelineChanged(): void;
  /** What a guest's console has said since the last call: whole lines, and only the last where there are very many. */
  console(guest: GuestId, lines: string[]): void;
  /** How a move goes; undefined when none is under way. */
  moving(progress: MoveProgress | undefined): void;
  /** Something in the shared folder is not what it was, whoever changed it; `isRoot`: in the root filesystem, if somebody has looked at it. At most every 100 ms. */
  filesChanged(guest: GuestId, isRoot: boolean): void;
  /** The content of a root filesystem can't be fetched; `undefined`: it can again. */
  imageTrouble(trouble: ImageTrouble | undefined): void;
  /**
   * Lets a worker of its own serve images over this port. The page starts it: in Firefox (153), a worker that starts another now and then waits for
   * ever. Rejects when it stops; does not settle otherwise.
   */
  serveImages(port: MessagePort): Promise<never>;
  /** Something went wrong that no call is waiting for. */
  problem(message: string): void;
}
