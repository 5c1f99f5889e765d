import type { SnapshotStore } from '../../device/index.ts';
import { VmError } from '../machine/errors.ts';
import { Vm } from './vm.ts';
import type { VmOptions } from './vm-options.ts';

/** Milliseconds until what was taken is replaced: making a machine would take time from the first commands of that one. */
const REFILL_DELAY = 100;
/** Bytes of a snapshot that are kept in memory for the machines to come. */
export const MAX_PINNED = 1 << 30;

const GIVEN_BACK = 'this machine was given back to its pool: take another one';

/**
 * Machines that are restored from one snapshot ahead of time and are paused, for those who need one at once, again and again. One that is given
 * back is rewound to the snapshot, which is much faster than to make another. Each holds the guest's RAM, and the pool the snapshot, unpacked; call
 * {@link close} in the end.
 */
export class VmPool {
  readonly #store: SnapshotStore;
  readonly #id: string;
  readonly #options: VmOptions;
  readonly #size: number;
  readonly #waiting: Promise<Vm>[] = [];
  readonly #lent = new WeakSet<Vm>();
  readonly #released = new WeakMap<Vm, Promise<void>>();
  #pin: Promise<() => void> | undefined;
  #refill: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** `size`: machines that wait; up to twice as many once some were given back. What `Vm.thaw` throws, {@link take} does. */
  constructor(store: SnapshotStore, id: string, { size = 1, ...options }: VmOptions & { size?: number } = {}) {
    this.#store = store;
    this.#id = id;
    this.#options = options;
    this.#size = size;
    this.#fill();
  }

  #fill(): void {
    clearTimeout(this.#refill);
    this.#refill = undefined;
    while (this.#waiting.length < this.#size) this.#wait(this.#prepare());
  }

  #wait(vm: Promise<Vm>): void {
    vm.catch(() => {});
    this.#waiting.push(vm);
  }

  async #prepare(): Promise<Vm> {
    await this.#pinned();
    return Vm.prepare(this.#store, this.#id, this.#options);
  }

  async #pinned(): Promise<void> {
    if (this.#isClosed || (!this.#pin && this.#store.pinnedLength(this.#id) > MAX_PINNED)) return;
    this.#pin ??= this.#store.pin(this.#id);
    await this.#pin.catch((error) => {
      this.#pin = undefined;
      throw error;
    });
  }

  /** Settles when as many machines wait as there should be. */
  async filled(): Promise<void> {
    if (!this.#isClosed) this.#fill();
    await Promise.all(this.#waiting);
  }

  /**
   * A machine that goes on where the snapshot was taken. It is the caller's until it is given back (with {@link release}, or at the end of its block
   * with `await using`) or stopped.
   */
  async take(): Promise<Vm> {
    if (this.#isClosed) throw new Error('this pool is closed: make another one');
    this.#refill ??= setTimeout(() => this.#fill(), REFILL_DELAY);
    const vm = await (this.#waiting.shift() ?? this.#prepare());
    await vm.orStop(() => vm.start());
    this.#lent.add(vm);
    Object.defineProperty(vm, Symbol.asyncDispose, { value: () => this.release(vm) });
    return vm;
  }

  /**
   * Gives a machine back, whatever its guest does or has become. Everything that waits for it fails with a VmError `stopped`, and it is of no use any more.
   * Its emulator is rewound to the snapshot, and the next machine there has nothing of it; or it is thrown away, when it can't be rewound. Settles when
   * that is done. A machine that was stopped or given back before is left alone.
   *
   * What was changed inside `vm.emulator`, by other ways than its `add_listener`, stays: stop such a machine instead.
   *
   * @throws VmError `configuration` for a machine that this pool has not given.
   */
  async release(vm: Vm): Promise<void> {
    let released = this.#released.get(vm);
    if (!released) {
      if (!this.#lent.delete(vm))
        throw new VmError('configuration', 'this machine is not from this pool: stop it instead');
      released = this.#takeBack(vm);
      this.#released.set(vm, released);
    }
    return released;
  }

  async #takeBack(vm: Vm): Promise<void> {
    if (vm.isStopped) return;
    if (this.#isClosed || this.#waiting.length >= 2 * this.#size) return vm.stop();
    const next = Vm.recycle(vm, GIVEN_BACK, this.#store, this.#id, this.#options).then(
      (recycled) => recycled ?? this.#prepare(),
    );
    this.#wait(next);
    await next.catch(() => {});
  }

  /** Ends the machines that wait. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#refill);
    for (const vm of this.#waiting.splice(0))
      await vm.then(
        (made) => made.stop(),
        () => {},
      );
    (await this.#pin?.catch(() => {}))?.();
    this.#pin = undefined;
  }

  /** For `await using`: {@link close}. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
