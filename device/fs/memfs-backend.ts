import type { Volume } from 'memfs';
import { type CheckedLockTableState, type LockLimits, LockTable, type LockTableState } from './locks.ts';
import { adopt } from './memfs/adopt.ts';
import { connect, disconnectFiles } from './memfs/connect.ts';
import { coreOf } from './memfs/core.ts';
import { Views } from './memfs/views.ts';
import type { TreeOptions } from './tree/inode-table.ts';
import { Tree } from './tree/tree.ts';
import type { CheckedTreeState, TreeState } from './tree/tree-state.ts';

export interface MemfsBackendOptions extends TreeOptions {
  /** Limits of the lock table, for each session. */
  locks?: LockLimits;
}

export interface MemfsBackendState extends TreeState {
  locks: LockTableState;
}

/** A state that {@link MemfsBackend.checkState} has found sound. */
export interface CheckedMemfsBackendState extends CheckedTreeState {
  readonly locks: CheckedLockTableState;
}

/**
 * The filesystem behind a memfs `Volume` that the host goes on using with the ordinary `fs` API.
 * The files are kept in a {@link Tree}; memfs sees them through views, so each side sees the
 * other's changes at once, `fs.watch` included, and inode numbers are the same on both.
 *
 * The host is not bound by guests' permission bits, and meets the quota as ENOSPC.
 */
export class MemfsBackend extends Tree {
  static readonly #all = new WeakMap<object, MemfsBackend>();

  /**
   * The backend of a volume; always the same one, so that several devices share it.
   *
   * @throws TypeError when this is no volume of a memfs that the backend knows, or it holds what no
   * Linux guest could see; RangeError for options that are none, or come too late.
   */
  static of(volume: Volume, options?: MemfsBackendOptions): MemfsBackend {
    let backend = MemfsBackend.#all.get(volume);
    if (backend && options)
      throw new RangeError(
        'this volume has a backend already: give the options where it is made first, and share the backend',
      );
    if (!backend) {
      backend = new MemfsBackend(volume, options);
      MemfsBackend.#all.set(volume, backend);
    }
    return backend;
  }

  readonly volume: Volume;
  readonly locks: LockTable;

  private constructor(volume: Volume, { locks, ...options }: MemfsBackendOptions = {}) {
    super(options);
    this.volume = volume;
    this.locks = new LockTable(locks);
    const core = coreOf(volume);
    const views = new Views(this, core);
    adopt(this, core, views);
    connect(this, core, views);
  }

  override state(): MemfsBackendState {
    return { ...super.state(), locks: this.locks.state() };
  }

  static override checkState(state: unknown): CheckedMemfsBackendState {
    const tree = Tree.checkState(state);
    const locks = LockTable.checkState((state as Partial<MemfsBackendState>).locks);
    for (const { ino } of [...locks.locks, ...locks.waiters.map(({ lock }) => lock)]) {
      if (!tree.has(ino))
        throw new TypeError(`the filesystem state is not sound: a lock is on inode ${ino}, which is not there`);
    }
    return { ...tree, locks };
  }

  /** @throws RangeError when there is more in a state than may be here. */
  override checkFits(state: CheckedMemfsBackendState): void {
    super.checkFits(state);
    const excess = this.locks.excessOf(state.locks);
    if (excess)
      throw new RangeError(
        `the snapshot has ${excess}, which is the limit here: give the volume's backend higher limits for \`locks\``,
      );
  }

  /**
   * {@link Tree.restore}, in the same volume. Locks and those who wait for them come back too. What
   * the host had open is closed (EBADF), and its watchers have to be made anew.
   */
  override restore(state: CheckedMemfsBackendState): void {
    this.checkFits(state);
    disconnectFiles(coreOf(this.volume));
    super.restore(state);
    this.locks.restore(state.locks);
  }
}
