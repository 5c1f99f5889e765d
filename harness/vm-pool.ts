import type { SnapshotStore } from '../device/index.ts';
import { Vm } from './vm.ts';
import type { VmOptions } from './vm-options.ts';

/**
 * Machines that are restored from one snapshot ahead of time and stand still, for those who need one
 * at once, again and again. Each holds the guest's RAM; call {@link close} in the end.
 */
export class VmPool {
  readonly #store: SnapshotStore;
  readonly #id: string;
  readonly #options: VmOptions;
  readonly #ready: Promise<Vm>[] = [];
  #isClosed = false;

  /** `size`: machines that wait. What `Vm.thaw` throws, {@link take} does. */
  constructor(store: SnapshotStore, id: string, { size = 1, ...options }: VmOptions & { size?: number } = {}) {
    this.#store = store;
    this.#id = id;
    this.#options = options;
    for (let n = 0; n < size; n++) this.#add();
  }

  #add(): void {
    const vm = Vm.prepare(this.#store, this.#id, this.#options);
    vm.catch(() => {});
    this.#ready.push(vm);
  }

  /** Settles when as many machines wait as there should be. */
  async filled(): Promise<void> {
    await Promise.all(this.#ready);
  }

  /** A machine that goes on where the snapshot was taken. It is the caller's; another one is made ready. */
  async take(): Promise<Vm> {
    if (this.#isClosed) throw new Error('this pool is closed: make another one');
    const vm = await (this.#ready.shift() ?? Vm.prepare(this.#store, this.#id, this.#options));
    await vm.start();
    this.#add();
    return vm;
  }

  /** Ends the machines that wait. */
  async close(): Promise<void> {
    this.#isClosed = true;
    for (const vm of this.#ready.splice(0)) await vm.then((made) => made.stop(), () => {});
  }
}
