import { MachineError } from './errors.ts';
import type { Cpu, IoPort, Rtc, V86Core } from './types.ts';

const MIN_SPEED = 0.1;
const MAX_SPEED = 100;

/**
 * How much later each reading of a clock that stands is, in milliseconds: when v86 reads the same twice it goes on by up to the least difference that it has
 * seen. So that has to be seen early, and not to be finer than a tick of the host's clock; this is a browser's.
 */
const TICK = 0.1;
/** Of the real-time clock. */
const CMOS_DATA = 0x71;

/** Of machines that have one, for what has the processor alone. */
const clocks = new WeakMap<Cpu, GuestClock>();
/** Whose guest runs: v86 asks one function for the time of all. */
let running: GuestClock | undefined;
const dispatched = new WeakSet<object>();

/**
 * The time of one emulator, in milliseconds since whenever: its time stamp counter, timers, waits and real-time clock go by it. It stands until the machine
 * runs. v86 takes it where it is made: see {@link serve}.
 */
export class GuestClock {
  /** Whether it stands while the machine is paused; otherwise it goes on then. It stands in any case between a restore and the start. */
  standsWhilePaused = false;
  #speed = 1;
  #isHeld = true;
  /** The time at {@link #since} of the host's clock. */
  #base: number;
  #since = 0;
  readonly #epoch: number;
  readonly #host: () => number;

  /** `host`: the host's clock, in milliseconds since whenever. */
  constructor(host = () => performance.now()) {
    this.#host = host;
    this.#base = host();
    this.#epoch = Date.now() - this.#base;
  }

  now(): number {
    return this.#isHeld ? this.#base : this.#base + (this.#host() - this.#since) * this.#speed;
  }

  /** Milliseconds since 1970, which the real-time clock goes by: the host's as long as the speed is 1 and the clock has not stood. */
  date(): number {
    return Math.floor(this.#epoch + this.now());
  }

  /** How many milliseconds pass in one of the host's. */
  get speed(): number {
    return this.#speed;
  }

  /** @throws RangeError for what is not from {@link MIN_SPEED} to {@link MAX_SPEED}: v86 runs for a millisecond of the guest's at a time. */
  set speed(speed: number) {
    if (!(speed >= MIN_SPEED && speed <= MAX_SPEED))
      throw new RangeError(
        `a guest's clock can't have the speed ${speed}: give ${MIN_SPEED} to ${MAX_SPEED}, or pause the machine`,
      );
    this.#rebase();
    this.#speed = speed;
  }

  #rebase(): void {
    this.#base = this.now();
    this.#since = this.#host();
  }

  /** To be called when the machine starts to run. */
  release(): void {
    this.#rebase();
    this.#isHeld = false;
  }

  /** To be called when it has stopped. */
  pause(): void {
    if (this.standsWhilePaused) this.hold();
  }

  /** Stands until {@link release}. */
  hold(): void {
    this.#rebase();
    this.#isHeld = true;
  }

  /** For the next one who has the emulator. */
  reset(): void {
    this.hold();
    this.standsWhilePaused = false;
    this.#speed = 1;
  }

  /** The imports of v86's module, which take the time from here. */
  serve({ env, ...others }: WebAssembly.Imports): WebAssembly.Imports {
    return { ...others, env: { ...env, ...this.imports() } };
  }

  protected imports(): WebAssembly.ModuleImports {
    return { microtick: () => this.read() };
  }

  /** The time as the processor reads it. */
  protected read(): number {
    if (this.#isHeld) this.#base += TICK;
    return this.now();
  }

  /** What v86 asks for the time outside its module: PIT, ACPI and RTC. To be called when v86 is ready, before anything else takes the place of its loop. */
  connect(v86: V86Core, cpu: Cpu): void {
    clocks.set(cpu, this);
    dispatch(v86);
    const { acpi } = cpu.devices;
    // It has asked the host's clock when it was made, and does not go back.
    if (acpi) acpi.timer_last_value = 0;
    const { main_loop } = cpu;
    cpu.main_loop = () => {
      const before = running;
      running = this;
      try {
        return this.tick(() => main_loop.call(cpu));
      } finally {
        running = before;
      }
    };
    this.#datedRtc(cpu.devices.rtc, cpu.io.ports[CMOS_DATA]!);
  }

  /** Runs the guest for a while by `run`, which returns as `Cpu.main_loop`. Returns in how many of the host's milliseconds to do it again. */
  protected tick(run: () => number): number {
    return run() / this.#speed;
  }

  /** It takes the time of day from `Date.now`, whatever it is given. */
  #datedRtc(rtc: Rtc, port: IoPort): void {
    rtc.last_update = this.date();
    const { timer } = rtc;
    rtc.timer = (...args) => this.#dated(() => timer.apply(rtc, args));
    const { write8 } = port;
    port.write8 = (value) => this.#dated(() => write8.call(port.device, value));
  }

  #dated<T>(action: () => T): T {
    const { now } = Date;
    Date.now = () => this.date();
    try {
      return action();
    } finally {
      Date.now = now;
    }
  }
}

/** The time of day that a machine's real-time clock goes by, in milliseconds since 1970: the host's where it has no clock of ours. */
export function dateOf(cpu: Cpu): number {
  return clocks.get(cpu)?.date() ?? Date.now();
}

/** @throws MachineError when this v86 keeps its clock elsewhere. */
function dispatch({ constructor: v86 }: V86Core): void {
  if (dispatched.has(v86)) return;
  const { microtick } = v86;
  if (typeof microtick !== 'function')
    throw new MachineError("this version of v86 can't be used: it lacks v86.constructor.microtick");
  v86.microtick = () => (running ? running.now() : microtick());
  dispatched.add(v86);
}
