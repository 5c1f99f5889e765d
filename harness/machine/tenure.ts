import { VmError } from './errors.ts';
import { unlessAborted } from './unless-aborted.ts';

/** For how long a machine is its owner's, and what is being done with it meanwhile. */
export class Tenure {
  readonly #over = new AbortController();
  #underWay = 0;
  /** What changes the guest comes one after the other, each until the guest answers. */
  #turn: Promise<unknown> = Promise.resolve();

  /** Aborted with a VmError `stopped` when it is over. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** @throws VmError `stopped` when it is over. */
  check(): void {
    this.#over.signal.throwIfAborted();
  }

  /** Ends it. Returns what those who wait are told. */
  end(reason: string): VmError {
    const error = new VmError('stopped', reason);
    this.#over.abort(error);
    return error;
  }

  /** Whether something that copies, moves or changes the machine is under way. */
  get isBusy(): boolean {
    return this.#underWay > 0;
  }

  /** Does something for which the machine is needed to its end. @throws VmError `stopped` when it is over. */
  async busyWith<T>(action: () => Promise<T>): Promise<T> {
    this.check();
    this.#underWay++;
    try {
      return await action();
    } finally {
      this.#underWay--;
    }
  }

  /** Does what changes the guest, one after the other. @throws VmError `stopped` as soon as it is over. */
  async inTurn<T>(action: () => Promise<T>): Promise<T> {
    const result = this.busyWith(() =>
      this.#turn.then(() => {
        this.check();
        return action();
      }),
    );
    this.#turn = result.catch(() => {});
    try {
      return await unlessAborted(this.signal, result);
    } catch (error) {
      this.check();
      throw error;
    }
  }
}
