import { PAGE_SIZE } from '../bytes.ts';
import { EOVERFLOW, FsError } from '../fs/errno.ts';
import type { Attr, Owner } from '../fs/filesystem.ts';

/** Guest ids `guest` to `guest + count - 1` are the filesystem's ids from `host` on. */
export interface IdRange {
  guest: number;
  host: number;
  count: number;
}

type Cache = 'never' | 'auto' | 'always';

export interface PolicyOptions {
  /** Who keeps file locks. `guest` (default): each guest its own; `shared`: this server, for all guests of the filesystem. */
  locks?: 'guest' | 'shared';
  /**
   * How long a guest may believe what it was told.
   * `never`: not at all; every read and write comes here, and Linux before 6.6 maps no file as shared memory. Only of a directory that was just
   * looked up are owner, mode and times believed, for one or two ticks of the guest's clock. `auto`: a second; what others change is seen
   * by then. `always`: for good; for a share that nobody else changes, or a guest whose driver takes notifications: what others change is taken
   * back at once. Default: `always` for such a guest, where the filesystem tells of changes, and `auto` for any other.
   */
  cache?: Cache;
  /** Everything that would change the filesystem is answered EROFS. Default: false. */
  readOnly?: boolean;
  /** Bytes of the largest READ and WRITE, a multiple of 4096 up to 1 MiB. Default: 1 MiB. */
  maxWrite?: number;
  /** Let the guest gather writes in its page cache (FUSE_WRITEBACK_CACHE); for a share that nobody else changes. Default: false. */
  writeback?: boolean;
  /** POSIX ACLs; not together with id maps. Default: false. */
  posixAcl?: boolean;
  /**
   * The guest opens files and directories by itself, so that opening and closing cost no request and nothing is open here.
   * It goes with locks `guest` and a cache only. Default: false.
   */
  stateless?: boolean;
  /**
   * Extended attributes, which Linux asks a file that it has just made for, before the first write. `false`: each kind of request for them is
   * refused once, and a guest asks no more; what is there already stays, unseen. Not together with ACLs. Default: true.
   */
  xattr?: boolean;
  /** Which of the filesystem's owners a guest's user or group is. Ids in no range are refused (EOVERFLOW) or shown as 65534. Default: the same number. */
  uidMap?: readonly IdRange[];
  gidMap?: readonly IdRange[];
}

/** Of one READ or WRITE. */
export const MAX_PAGES = 256;
/** Linux's overflowuid and overflowgid. */
const NOBODY = 65534;
/** Seconds. */
const TIMEOUTS = { never: 0, auto: 1, always: 24 * 60 * 60 };
/** Seconds: more than Linux counts, so that it takes the longest time it has. */
const UNLIMITED = 2 ** 32;

/** What the host has decided about a share. It is never saved: a restored session obeys the device it is in. */
export class Policy {
  readonly locks: 'guest' | 'shared';
  readonly #cache: Cache | undefined;
  readonly readOnly: boolean;
  readonly maxWrite: number;
  readonly maxPages: number;
  readonly writeback: boolean;
  readonly posixAcl: boolean;
  readonly stateless: boolean;
  readonly xattr: boolean;
  /** Whether what the guest was told is taken back when it changes. */
  revokes = false;
  readonly #uids: IdMap;
  readonly #gids: IdMap;

  /** @throws RangeError for options that contradict each other or the protocol. */
  constructor(options: PolicyOptions) {
    const {
      locks = 'guest',
      cache,
      readOnly = false,
      maxWrite = MAX_PAGES * PAGE_SIZE,
      writeback = false,
      posixAcl = false,
      stateless = false,
      xattr = true,
    } = options;
    if (locks !== 'guest' && locks !== 'shared')
      throw new RangeError(`locks is ${JSON.stringify(locks)}: choose "guest" or "shared"`);
    if (cache !== undefined && !Object.hasOwn(TIMEOUTS, cache))
      throw new RangeError(`cache is ${JSON.stringify(cache)}: choose "never", "auto" or "always"`);
    if (!(maxWrite >= PAGE_SIZE && maxWrite <= MAX_PAGES * PAGE_SIZE && maxWrite % PAGE_SIZE === 0)) {
      throw new RangeError(`maxWrite is ${maxWrite}: choose a multiple of ${PAGE_SIZE} up to ${MAX_PAGES * PAGE_SIZE}`);
    }
    if (writeback && cache === 'never') throw new RangeError('writeback is a cache: choose cache "auto" or "always"');
    if (stateless && cache === 'never')
      throw new RangeError(
        'what a guest opens by itself it caches: choose cache "auto" or "always" for a stateless share',
      );
    if (stateless && locks === 'shared')
      throw new RangeError('locks are held through open files, and a stateless share has none: choose locks "guest"');
    if (posixAcl && !xattr) throw new RangeError('ACLs are extended attributes: leave out posixAcl, or `xattr: false`');
    if (posixAcl && (options.uidMap || options.gidMap))
      throw new RangeError('the ids in ACLs are not mapped: leave out posixAcl, or uidMap and gidMap');
    this.locks = locks;
    this.#cache = cache;
    this.readOnly = readOnly;
    this.maxWrite = maxWrite;
    this.maxPages = maxWrite / PAGE_SIZE;
    this.writeback = writeback;
    this.posixAcl = posixAcl;
    this.stateless = stateless;
    this.xattr = xattr;
    this.#uids = new IdMap('uidMap', options.uidMap);
    this.#gids = new IdMap('gidMap', options.gidMap);
  }

  get cache(): Cache {
    return this.#cache ?? (this.revokes ? 'always' : 'auto');
  }

  /** How long entries and attributes are valid, in seconds. */
  get timeout(): number {
    const { cache } = this;
    return this.revokes && cache === 'always' ? UNLIMITED : TIMEOUTS[cache];
  }

  /**
   * Nanoseconds more for attributes of directories. Any below a tick is one: Linux looks up each directory of a path, and asks once more
   * for the attributes that came with the answer when it checks permissions, unless they are valid for as long as that.
   */
  get directoryTick(): number {
    return this.#cache === 'never' ? 1 : 0;
  }

  /** The filesystem's id for a guest's. @throws FsError EOVERFLOW. */
  hostUid(uid: number): number {
    return this.#uids.toHost(uid);
  }

  hostGid(gid: number): number {
    return this.#gids.toHost(gid);
  }

  hostOwner({ uid, gid }: Owner): Owner {
    return { uid: this.#uids.toHost(uid), gid: this.#gids.toHost(gid) };
  }

  guestUid({ uid }: Attr): number {
    return this.#uids.toGuest(uid);
  }

  guestGid({ gid }: Attr): number {
    return this.#gids.toGuest(gid);
  }
}

class IdMap {
  readonly #ranges: readonly IdRange[] | undefined;

  constructor(name: string, ranges: readonly IdRange[] | undefined) {
    for (const { guest, host, count } of ranges ?? []) {
      const sound =
        [guest, host, count].every(Number.isInteger) &&
        guest >= 0 &&
        host >= 0 &&
        count > 0 &&
        Math.max(guest, host) + count <= 2 ** 32;
      if (!sound) throw new RangeError(`${name} has an invalid range: guest ${guest}, host ${host}, count ${count}`);
    }
    this.#ranges = ranges;
  }

  toHost(id: number): number {
    if (!this.#ranges) return id;
    for (const { guest, host, count } of this.#ranges)
      if (id >= guest && id < guest + count) return host + (id - guest);
    throw FsError.of(EOVERFLOW);
  }

  toGuest(id: number): number {
    if (!this.#ranges) return id;
    for (const { guest, host, count } of this.#ranges) if (id >= host && id < host + count) return guest + (id - host);
    return NOBODY;
  }
}
