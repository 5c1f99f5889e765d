import type { ProxyMarked } from 'comlink';
import type { GuestId } from '../protocol.ts';
import type { SnapshotView } from './data.ts';

export interface TimelineView {
  /** Newest first. */
  snapshots: SnapshotView[];
  /** Files that can't be read: by what they are removed, and why. */
  damaged: { id: string; reason: string }[];
  /** Whether they stay when the page is left; if not, why. */
  isKept: boolean;
  reason: string;
  /** Bytes of all snapshots together. */
  used: number;
  /** Seconds between automatic snapshots; 0 for none. */
  interval: number;
  /** Guests that were rewound: to which snapshot, and the one that has what was before. */
  undo: { guest: GuestId; to: string; before: string }[];
}

/** Snapshots that nobody asked for, of which only the newest are kept: automatic ones, and those of before a guest was rewound or closed. */
export const KEPT = { automatic: 12, before: 8 };

/** The first {@link MAX_COMPARED} of a list. */
export interface Listed {
  count: number;
  first: string[];
}

/** Entries of each list of a {@link Comparison}. */
export const MAX_COMPARED = 200;

/** What lies between two snapshots, from the first to the second. */
export interface Comparison {
  /** Pages of RAM that differ, of how many. */
  pages: number;
  pageCount: number;
  /** Paths, and locks in words. */
  folders: { added: Listed; removed: Listed; changed: Listed; locked: Listed; unlocked: Listed }[];
  /** Handles of files and directories, in words; and how many inodes the guest knew before and after. */
  sessions: { tag: string; nodes: readonly [number, number]; opened: Listed; closed: Listed }[];
}

export interface KeepResult {
  /** False when the present moment could not be kept: the guest goes on in it. */
  isDone: boolean;
  /** Why. */
  reason: string;
}

/** Every call throws an `Error` that says what is wrong and what to do; the guests go on as if nothing had been asked. */
export interface TimelineApi extends ProxyMarked {
  view(): TimelineView;
  /** Of this moment; the guest goes on. Returns the snapshot's id. */
  take(guest: GuestId, name: string): Promise<string>;
  /**
   * Takes a guest back, or forth, to a snapshot of a machine like it. The moment that it leaves is kept as a snapshot first, unless
   * `keep` is false.
   */
  rewind(guest: GuestId, snapshot: string, keep?: boolean): Promise<KeepResult>;
  rename(snapshot: string, name: string): Promise<void>;
  /** Whether it stays until it is removed: see {@link KEPT}. What has a name does so in any case. */
  pin(snapshot: string, isPinned: boolean): Promise<void>;
  compare(from: string, to: string): Promise<Comparison>;
  remove(snapshot: string): Promise<void>;
  /** One file that stands alone: for another browser, or `v86-virtiofs import`. */
  export(snapshot: string): Promise<{ name: string; blob: Blob }>;
  /** Takes such a file in. Returns the snapshot's id. */
  import(file: Blob): Promise<string>;
  /** Seconds, 0 for no automatic snapshots. */
  setInterval(seconds: number): void;
  /** Removes all snapshots, also those that can't be read. What runs goes on. */
  clear(): Promise<void>;
}
