import { GuestClock } from './clock.ts';
import type { Cpu, V86Core } from './types.ts';

/** About what v86 runs in a millisecond where it is fast. */
const INSTRUCTIONS_PER_MS = 100_000;
/** Between two readings, in milliseconds. */
const NANOSECOND = 1e-6;
/** Milliseconds that pass at least between two slices: a timer that is due in none is not due yet. */
const LEAST = 0.001;
/** Milliseconds of the host's until it is looked again whether the guest may run, unless something wakes it. */
const PARKED = 100;
/** At once, and yet a wait: v86 uses no timer for less than a millisecond. */
const AT_ONCE = 0.5;
/** 2001-09-09, for a machine that nobody has told the time. */
const EPOCH = 1e12;

/**
 * A clock that counts the guest's instructions, and jumps to its next timer when it waits: the same guest with the same input does the same. The processor draws
 * its random numbers from a seed, and time stands while {@link mayRun} says so, and while v86 compiles.
 */
export class CountedClock extends GuestClock {
  /** Asked before each slice: whether the guest has something to do that somebody waits for. */
  mayRun: () => boolean = () => true;
  /** Numbers from 0 to 2^32 - 1, the same ones for the same seed. */
  readonly random: () => number;
  readonly #timers = new Set<{ at: number; action: () => void }>();
  #v86: V86Core | undefined;
  #cpu: Cpu | undefined;
  #counted = 0;
  #last = 0;
  #jumped = 1;
  #compiling = 0;

  /** @throws RangeError for a seed that is no integer from 0 to 2^32 - 1. */
  constructor(seed: number) {
    super();
    if (seed !== seed >>> 0)
      throw new RangeError(`${seed} is no seed of a deterministic machine: give a whole number from 0 to 4294967295`);
    this.random = randomFrom(seed);
  }

  override now(): number {
    const counter = this.#cpu ? this.#cpu.instruction_counter[0]! >>> 0 : 0;
    this.#counted += (counter - this.#last) >>> 0;
    this.#last = counter;
    return this.#counted / INSTRUCTIONS_PER_MS + this.#jumped;
  }

  protected override read(): number {
    this.#jumped += NANOSECOND;
    return this.now();
  }

  override date(): number {
    return EPOCH + Math.floor(this.now());
  }

  override get speed(): number {
    return 1;
  }

  /** @throws RangeError: it goes by what the guest does. */
  override set speed(_: number) {
    throw new RangeError('a deterministic machine goes as fast as it can: leave its speed alone');
  }

  protected override imports(): WebAssembly.ModuleImports {
    return { ...super.imports(), get_rand_int: () => this.random() | 0 };
  }

  override connect(v86: V86Core, cpu: Cpu): void {
    super.connect(v86, cpu);
    this.#v86 = v86;
    this.#cpu = cpu;
    const { reset_cpu, codegen_finalize, codegen_finalize_finished } = cpu;
    cpu.reset_cpu = () => {
      this.now();
      // It begins again.
      this.#last = 0;
      reset_cpu.call(cpu);
    };
    // When compiled code takes the place of interpreted one, interrupts come elsewhere.
    cpu.codegen_finalize = (...args) => {
      this.#compiling++;
      codegen_finalize.apply(cpu, args);
    };
    cpu.codegen_finalize_finished = (...args) => {
      codegen_finalize_finished.apply(cpu, args);
      this.#compiling--;
      this.wake();
    };
  }

  /** To be called when {@link mayRun} may say something else. */
  wake(): void {
    if (this.#v86?.running && this.#v86.idle) this.#v86.next_tick(0);
  }

  protected override tick(run: () => number): number {
    if (this.#compiling || !this.mayRun()) return PARKED;
    const delay = run();
    this.#jumped += Math.max(delay, LEAST);
    const now = this.now();
    for (const timer of this.#timers) {
      if (timer.at > now) continue;
      this.#timers.delete(timer);
      timer.action();
    }
    return Math.min(delay, AT_ONCE);
  }

  /** Calls `action` when so much of the guest's time has passed, between two slices. Returns what keeps it from that. */
  later(milliseconds: number, action: () => void): () => void {
    const timer = { at: this.now() + milliseconds, action };
    this.#timers.add(timer);
    return () => void this.#timers.delete(timer);
  }
}

/** Mulberry32, by Tommy Ettinger. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}
