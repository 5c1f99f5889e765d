import { type Remote, wrap } from 'comlink';
import type { GuestView } from '../embed/connection.ts';
import type { BareApi, BareResult } from '../protocol/bare.ts';
import { guarded } from '../protocol/guard.ts';

/** A program that drives a bare device, in a worker of its own, and the device to be looked into afterwards. */
export class BareWorker {
  readonly #thread: Worker;
  readonly #api: Remote<BareApi>;
  #stop!: (reason: Error) => void;
  readonly #stopped = new Promise<never>((_, reject) => (this.#stop = reject));
  /** The device as one of a guest, for the inspector. */
  readonly view: GuestView;

  constructor() {
    this.#thread = new Worker(new URL('../worker/bare.js', import.meta.url), { type: 'module', name: 'bare device' });
    this.#thread.addEventListener('error', ({ message }) => this.stop(message || 'its program could not be fetched'));
    this.#stopped.catch(() => {});
    this.#api = wrap<BareApi>(guarded(this.#thread));
    this.view = {
      id: -1,
      name: 'Your device',
      tag: 'bare',
      mountPoint: '',
      memory: 1,
      driver: 'own',
      folder: -1,
      canSleep: false,
      isAsleep: false,
      power: 'on',
      isHeld: false,
      shells: [],
      filesVersion: 0,
      root: undefined,
      api: { inspector: this.#api.inspector } as unknown as GuestView['api'],
    };
  }

  /** Rejects when it was stopped, with the reason. */
  run(program: string): Promise<BareResult> {
    return Promise.race([this.#api.run(program), this.#stopped]);
  }

  /** Ends the program, and the device with it. */
  stop(reason: string): void {
    this.#thread.terminate();
    this.#stop(new Error(reason));
  }
}
