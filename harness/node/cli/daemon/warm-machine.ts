import { loadCodec, MemoryStore, SnapshotStore } from '../../../../device/index.ts';
import { Vm } from '../../vm.ts';
import type { VmOptions } from '../../vm-options.ts';

/** How often a machine runs something before anybody waits for it: what the host's compiler knows by then is fast. */
const REHEARSALS = 3;
const OVER = 'its command has ended';

/**
 * One machine that waits, paused, with its shares mounted and nothing in them, and is taken again and again: each time it is the same one, restored
 * from the same snapshot in this process's memory.
 */
export class WarmMachine {
  readonly #store: SnapshotStore;
  readonly #id: string;
  readonly #options: VmOptions;
  #next: Vm | undefined;

  private constructor(store: SnapshotStore, id: string, options: VmOptions) {
    this.#store = store;
    this.#id = id;
    this.#options = options;
  }

  /** `boot` makes a machine of these options with its shares mounted. @throws what that does. */
  static async make(options: VmOptions, boot: () => Promise<Vm>): Promise<WarmMachine> {
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await boot();
    let id: string;
    try {
      ({ id } = await vm.freeze(store));
    } finally {
      await vm.stop();
    }
    await store.pin(id);
    const machine = new WarmMachine(store, id, options);
    await machine.ready();
    for (let n = 0; n < REHEARSALS; n++) {
      const rehearsal = machine.take();
      await rehearsal.start();
      await rehearsal.exec(['true']);
      await machine.giveBack(rehearsal);
    }
    return machine;
  }

  async ready(): Promise<void> {
    this.#next ??= await Vm.prepare(this.#store, this.#id, this.#options);
  }

  /** It is paused: fill its shares, and `start` it. */
  take(): Vm {
    const vm = this.#next!;
    this.#next = undefined;
    return vm;
  }

  /** Whatever its guest does or has become: settles when another one waits in its place, with nothing of it. */
  async giveBack(vm: Vm): Promise<void> {
    if (!vm.isStopped) this.#next = await Vm.recycle(vm, OVER, this.#store, this.#id, this.#options);
    await this.ready();
  }
}
