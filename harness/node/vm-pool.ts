import type { SnapshotStore } from '../../device/index.ts';
import { Vm } from './vm.ts';
import type { VmOptions } from './vm-options.ts';

/** Milliseconds until what was taken is replaced: making a machine would take time from the first commands of that one. */
const REFILL_DELAY = 100;

/**
 * Machines that are restored from one snapshot ahead of time and are paused, for those who need one
 * at once, again and again. Each holds the guest's RAM; call {@link close} in the end.
 */
export class VmPool {
  readonly #store: SnapshotStore;
  readonly #id: string;
  readonly #options: VmOptions;
  readonly #size: number;
  readonly #ready: Promise<Vm>[] = [];
  #refill: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  /** `size`: machines that wait. What `Vm.thaw` throws, {@link take} does. */
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
    while (this.#ready.length < this.#size) {
      const vm = Vm.prepare(this.#store, this.#id, this.#options);
      vm.catch(() => {});
      this.#ready.push(vm);
    }
  }

  /** Settles when as many machines wait as there should be. */
  async filled(): Promise<void> {
    if (!this.#isClosed) this.#fill();
    await Promise.all(this.#ready);
  }

  /** A machine that goes on where the snapshot was taken. It is the caller's; another one is made ready a moment later. */
  async take(): Promise<Vm> {
    if (this.#isClosed) throw new Error('this pool is closed: make another one');
    this.#refill ??= setTimeout(() => this.#fill(), REFILL_DELAY);
    const vm = await (this.#ready.shift() ?? Vm.prepare(this.#store, this.#id, this.#options));
    await vm.start();
    return vm;
  }

  /** Ends the machines that wait. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#refill);
    for (const vm of this.#ready.splice(0))
      await vm.then(
        (made) => made.stop(),
        () => {},
      );
  }
}
