import type { ByteSink } from '../bytes.ts';
import type { FileSystem, Inode, Watcher } from '../fs/filesystem.ts';
import { encodeName, isFileName } from '../fs/names.ts';
import { OUT_HEADER_SIZE } from './codec.ts';
import {
  FUSE_EXPIRE_ONLY,
  FUSE_NOTIFY_INC_EPOCH,
  FUSE_NOTIFY_INVAL_ENTRY,
  FUSE_NOTIFY_INVAL_INODE,
  FUSE_ROOT_ID,
} from './constants.ts';
import { fuse_notify_inval_entry_out, fuse_notify_inval_inode_out, fuse_out_header } from './layouts.ts';
import type { NodeTable } from './node-table.ts';

/** Bytes of the longest notification: of a name of 255 bytes, and a NUL. Rounded, so that drivers have aligned buffers. */
export const NOTIFICATION_MAX = 304;
/** What waits for room in the guest, by inodes and names. One more, and the guest is told that everything has changed. */
const MAX_WAITING = 1024;
/** `off` of a notification that is of attributes alone (Linux's fuse_reverse_inval_inode). */
const ATTRIBUTES = -1;

/** What waits, as plain data. */
export interface NoticesState {
  everything: boolean;
  /** Inode numbers, and whether content has changed. */
  inodes: { ino: number; content: boolean }[];
  /** Names in directories. */
  entries: { ino: number; name: string }[];
}

/**
 * What a guest has to be told of changes that others have made: of nodes that it knows and names in these. It waits here for room
 * in the guest; what is told of twice meanwhile is told once. When too much waits, it becomes one notification: all that the guest remembers is
 * out of date. So it takes a limited amount of memory, and nothing is ever lost.
 */
export class Notices implements Watcher {
  readonly #filesystem: FileSystem;
  readonly #nodes: NodeTable;
  /** Calls when there is something to tell. */
  onWaiting: (() => void) | undefined;
  /** Whether the driver takes notifications. */
  isOn = false;
  /** What the guest does itself it knows. */
  isMuted = false;
  /** Whether names expire only (FUSE_HAS_EXPIRE_ONLY), rather than be taken out of the guest's cache under the directory's lock. */
  expires = false;
  /** How many changes of others there have been: an answer that was begun before the last of them may be out of date. */
  changes = 0;
  #isListening = false;
  #unwatch: (() => void) | undefined;
  #everything = false;
  readonly #inodes = new Map<number, boolean>();
  readonly #entries = new Map<string, { ino: number; name: string }>();
  readonly #bytes = new Uint8Array(NOTIFICATION_MAX);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #header = fuse_out_header.at(this.#view, 0);
  readonly #inode = fuse_notify_inval_inode_out.at(this.#view, OUT_HEADER_SIZE);
  readonly #entry = fuse_notify_inval_entry_out.at(this.#view, OUT_HEADER_SIZE);

  constructor(filesystem: FileSystem, nodes: NodeTable) {
    this.#filesystem = filesystem;
    this.#nodes = nodes;
  }

  /** Whether the filesystem tells of changes. */
  get canWatch(): boolean {
    return this.#filesystem.watch !== undefined;
  }

  /** Begins to listen, if the driver does, with nothing to tell. */
  begin(): void {
    this.end();
    if (!this.isOn) return;
    this.#isListening = true;
    this.#unwatch = this.#filesystem.watch?.(this);
  }

  /** Forgets what waits, and listens no more. */
  end(): void {
    this.#isListening = false;
    this.#unwatch?.();
    this.#unwatch = undefined;
    this.forget();
  }

  /** Forgets what waits: the guest believes nothing of what it remembers any more. */
  forget(): void {
    this.#everything = false;
    this.#inodes.clear();
    this.#entries.clear();
  }

  entryChanged({ ino }: Inode, name: string): void {
    if (this.isMuted) return;
    this.changes++;
    if (this.#everything || !this.#nodes.has(ino) || !isFileName(name)) return;
    this.#entries.set(`${ino}/${name}`, { ino, name });
    this.#added();
  }

  inodeChanged({ ino }: Inode, content: boolean): void {
    if (this.isMuted) return;
    this.changes++;
    if (this.#everything || !this.#nodes.has(ino)) return;
    this.#inodes.set(ino, content || this.#inodes.get(ino) === true);
    this.#added();
  }

  everythingChanged(): void {
    if (!this.#isListening) return;
    this.changes++;
    this.forget();
    this.#everything = true;
    this.#added();
  }

  get isEmpty(): boolean {
    return !this.#everything && this.#inodes.size === 0 && this.#entries.size === 0;
  }

  #added(): void {
    if (this.#inodes.size + this.#entries.size > MAX_WAITING) {
      this.forget();
      this.#everything = true;
    }
    this.onWaiting?.();
  }

  /**
   * Puts the next notification into `sink`, which has room for {@link NOTIFICATION_MAX} bytes. Returns its length, 0 when there is none.
   */
  take(sink: ByteSink): number {
    if (this.#everything) {
      this.#everything = false;
      return this.#send(sink, FUSE_NOTIFY_INC_EPOCH, 0);
    }
    for (const [key, { ino, name }] of this.#entries) {
      this.#entries.delete(key);
      if (!this.#nodes.has(ino)) continue;
      const bytes = encodeName(name);
      const { size } = fuse_notify_inval_entry_out;
      this.#entry.parent = ino;
      this.#entry.namelen = bytes.length;
      this.#entry.flags = this.expires ? FUSE_EXPIRE_ONLY : 0;
      this.#bytes.set(bytes, OUT_HEADER_SIZE + size);
      this.#bytes[OUT_HEADER_SIZE + size + bytes.length] = 0;
      return this.#send(sink, FUSE_NOTIFY_INVAL_ENTRY, size + bytes.length + 1);
    }
    for (const [ino, content] of this.#inodes) {
      this.#inodes.delete(ino);
      if (!this.#nodes.has(ino)) continue;
      this.#inode.ino = ino;
      this.#inode.off = content ? 0 : ATTRIBUTES;
      this.#inode.len = 0;
      return this.#send(sink, FUSE_NOTIFY_INVAL_INODE, fuse_notify_inval_inode_out.size);
    }
    return 0;
  }

  /** fuse.h: `unique` is 0, and `error` says what it is. */
  #send(sink: ByteSink, code: number, payload: number): number {
    const length = OUT_HEADER_SIZE + payload;
    this.#header.len = length;
    this.#header.error = code;
    this.#header.unique = 0n;
    return sink.writeAt(0, this.#bytes, 0, length);
  }

  /** Undefined when nothing waits. */
  state(): NoticesState | undefined {
    if (this.isEmpty) return undefined;
    return {
      everything: this.#everything,
      inodes: [...this.#inodes].map(([ino, content]) => ({ ino, content })),
      entries: [...this.#entries.values()],
    };
  }

  /** Begins to listen, and goes on with what waited. */
  restore(state: NoticesState | undefined): void {
    this.begin();
    if (!state || !this.#isListening) return;
    this.#everything = state.everything;
    for (const { ino, content } of state.inodes) this.#inodes.set(ino, content);
    for (const entry of state.entries) this.#entries.set(`${entry.ino}/${entry.name}`, entry);
    this.#added();
  }
}

/** What waited in a snapshot. @throws TypeError for what could not have. */
export function checkNotices(state: unknown): NoticesState | undefined {
  if (state === undefined || state === null) return undefined;
  const { everything, inodes, entries } = state as Partial<NoticesState>;
  const isIno = (ino: unknown) => Number.isSafeInteger(ino) && (ino as number) >= FUSE_ROOT_ID;
  const isSound =
    typeof everything === 'boolean' &&
    Array.isArray(inodes) &&
    Array.isArray(entries) &&
    inodes.length + entries.length <= MAX_WAITING &&
    inodes.every((row) => isIno(row?.ino) && typeof row.content === 'boolean') &&
    entries.every((row) => isIno(row?.ino) && typeof row.name === 'string' && isFileName(row.name));
  if (!isSound) throw new TypeError("the FUSE session's state is invalid: what the guest has to be told of changes is");
  return { everything, inodes, entries };
}
