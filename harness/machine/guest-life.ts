import type { V86 } from 'v86';
import { V86Machine } from '../../device/v86/adapter.ts';
import type { GuestAgent } from './agent/guest-agent.ts';
import type { ConsoleLog } from './console-log.ts';
import { type GuestEnd, VmError } from './errors.ts';
import { watchEnd } from './guest-end.ts';
import { type RenewalOptions, renewalFor } from './renewal.ts';

/** Milliseconds for a guest to answer, or to run a command. */
export const PATIENCE = 60_000;
/** Milliseconds for a guest to boot: a cold boot takes its time on a loaded machine. */
export const BOOT_PATIENCE = 180_000;

export interface LifeOptions extends RenewalOptions {
  /**
   * Makes the machine deterministic as far as v86 can be, with this seed of its random numbers, 0 to 2^32 - 1: from one snapshot the same commands run the same
   * instructions. Its time is counted in instructions, jumps where the guest waits, and stands while nothing is asked of it. `clock` is `keep` by default then,
   * and can't be `host`. Default: it goes by the host's clock and randomness.
   */
  deterministic?: number;
  /** Called with the VmError `crashed` when the guest's kernel has panicked. */
  onPanic?: (error: VmError) => void;
}

/** A guest that has to be watched, and brought back. */
interface Watched {
  readonly emulator: V86;
  readonly agent: GuestAgent;
  readonly console: ConsoleLog;
}

const WHAT: Record<GuestEnd, string> = {
  crashed: 'the guest has crashed: restore a snapshot of it, or boot another one',
  halted: 'the guest has halted, or turned its power off: restore a snapshot of it, or boot another one',
  rebooted:
    'the guest has rebooted, and what ran in it is gone: wait until it answers again, or restore a snapshot of it',
};

/**
 * Whether a machine's guest lives: notices its end and its changes at once, tells all who wait for it, and greets it when it comes back. One that
 * has crashed or halted is stopped; one that reboots boots again.
 */
export class GuestLife {
  readonly #guest: Watched;
  readonly #machine: V86Machine;
  readonly #options: LifeOptions;
  #end: VmError | undefined;
  #hasFailed = false;
  #ended = new AbortController();
  readonly #listeners: ((end: VmError) => void)[] = [];

  constructor(guest: Watched, options: LifeOptions) {
    this.#guest = guest;
    this.#options = options;
    this.#machine = V86Machine.of(guest.emulator);
    // Whoever restores it may know where the agent's stream continues, and says so afterwards.
    this.#machine.onRestore(() => guest.agent.follow(undefined));
    watchEnd(this.#machine, (end, fault) => this.#onEnd(end, fault));
  }

  /** Aborted with the error when the guest ends; another one after each return. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  /** @throws VmError `crashed`, `halted` or `rebooted`. */
  check(): void {
    if (this.#end?.kind === 'rebooted' && this.#guest.agent.isReady) this.revive();
    if (this.#end) throw this.#end;
  }

  /** Whether no snapshot can be put into this machine any more. */
  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** @throws VmError `crashed` when no snapshot can be put into this machine any more. */
  checkRestorable(): void {
    if (this.#hasFailed) throw this.#end!;
  }

  /** Whether it has halted or crashed: nothing will answer. */
  get isOff(): boolean {
    return this.#end !== undefined && this.#end.kind !== 'rebooted';
  }

  /** Calls `listener` when the guest ends, in the middle of the emulation. */
  onEnd(listener: (end: VmError) => void): void {
    this.#listeners.push(listener);
  }

  /** To be called when the guest is another one: a snapshot was put into its machine. `isOff`: of one that had halted. */
  revive(isOff = false): void {
    this.#end = isOff ? new VmError('halted', WHAT.halted) : undefined;
    this.#ended = new AbortController();
    if (this.#end) this.#ended.abort(this.#end);
  }

  /**
   * The guest has come back, from whatever way: waits until it answers, with its clock set and its kernel reseeded as the options say. Nothing reaches
   * it before that.
   *
   * @throws VmError `crashed`, `halted`, `rebooted`, or `failure` (`timeout` when left out).
   */
  async answer(timeoutMs: number, failure: 'boot' | 'timeout' = 'timeout'): Promise<void> {
    // Nothing will ever answer.
    if (this.#end && this.#end.kind !== 'rebooted') throw this.#end;
    const { agent, console } = this.#guest;
    try {
      await agent.ready(timeoutMs, renewalFor(this.#machine, this.#options));
      this.revive();
    } catch (error) {
      if (error instanceof VmError) throw error;
      const what = failure === 'boot' ? 'the guest did not come up' : 'the guest does not answer';
      throw new VmError(failure, `${what}: ${(error as Error).message}\nIts console ends with\n${console.tail()}`, {
        cause: error,
      });
    }
  }

  /** In the middle of the emulation. */
  #onEnd(kind: GuestEnd, fault: Error | undefined): void {
    this.#hasFailed ||= fault !== undefined;
    if (this.#end && !(this.#end.kind === 'rebooted' && kind !== 'rebooted')) return;
    const { emulator, agent, console } = this.#guest;
    if (kind !== 'rebooted') void emulator.stop();
    // For the reader: that it has panicked is known otherwise.
    const panic = kind === 'crashed' && console.lines.findLast((line) => line.includes('Kernel panic'));
    const what = fault
      ? `the guest did what the emulator can't, such as a triple fault (${fault.message}): boot another one`
      : WHAT[kind];
    const end = new VmError(kind, `${what}${panic ? `\n  | ${panic}` : ''}\nIts console ends with\n${console.tail()}`, {
      cause: fault,
    });
    this.#end = end;
    agent.lose(end);
    this.#ended.abort(end);
    for (const listener of this.#listeners) listener(end);
    const { onPanic } = this.#options;
    if (kind === 'crashed' && onPanic) queueMicrotask(() => onPanic(end));
  }
}
