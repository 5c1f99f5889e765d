import type { V86 } from 'v86';
import {
  type FreezeOptions,
  type FreezeResult,
  loadCodec,
  MachineSnapshots,
  type MigrationChannel,
  type MigrationOptions,
  type MigrationResult,
  MigrationUnknownError,
  migrateOut,
  type RestorePolicies,
  type SnapshotStore,
  type Successor,
} from '../../device/index.ts';
import { joinSignals } from '../../device/join-signals.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import type { LeaseState, MachineLease } from '../../device/v86/lease.ts';
import { asText } from './agent/exec.ts';
import type {
  ExecOptions,
  ExecOutput,
  ExecResult,
  GuestAgent,
  GuestProcess,
  SpawnOptions,
} from './agent/guest-agent.ts';
import type { MachineParts } from './assemble.ts';
import { type DirectBootImage, type DirectBootOptions, directBoot, directReboot } from './boot/direct-boot.ts';
import type { MachineConfig } from './config.ts';
import type { ConsoleLog } from './console-log.ts';
import { VmError } from './errors.ts';
import { BOOT_PATIENCE, type GuestLife, PATIENCE } from './guest-life.ts';
import { mountShare } from './mount-share.ts';
import { findShare, type Share } from './share.ts';
import { configOf, readSummary, type Summary } from './summary.ts';
import { suspendGuest, wakeGuest } from './suspend.ts';
import { Tenure } from './tenure.ts';
import { unlessAborted } from './unless-aborted.ts';

const NOTHING_MORE = () => ({});
const STOPPED = 'this machine was stopped: boot or restore another one';

/** Milliseconds that a guest may take to take what was sent to its agent, before a snapshot. */
const DELIVERY_PATIENCE = 1000;

/** What a snapshot tells, or a machine that moves, besides the machine's own {@link Summary}. */
type MoreSummary = () => object;

/**
 * A Linux guest in v86, with shares, wherever it runs: it boots, runs commands, sleeps, is frozen, goes to other moments and other places,
 * and comes back from all of these. Call {@link stop} in the end.
 */
export class Machine<S extends Share = Share> implements MachineParts<S> {
  /** What the machine is: see `docs/architecture.md`. */
  readonly config: MachineConfig;
  readonly shares: readonly S[];
  readonly console: ConsoleLog;
  /** v86's own object. */
  readonly emulator: V86;
  /** Runs commands; {@link exec} and {@link spawn} are its usual ways in. */
  readonly agent: GuestAgent;
  readonly life: GuestLife;
  /** Called when the guest is another one, at the moment of a snapshot or from elsewhere, and has not been heard of yet. */
  onMoment: (summary: unknown) => void = () => {};
  readonly #tenure = new Tenure();
  readonly #lease: MachineLease;
  readonly #stores = new WeakMap<SnapshotStore, Promise<MachineSnapshots>>();
  #isAsleep = false;
  /** What others have written into the snapshot that it goes on from, which is passed on. */
  #others: Record<string, unknown> = {};
  /** The last migration whose end was unknown. */
  #unsettled = '';
  #hasKernel = false;

  constructor({ config, emulator, shares, console, agent, life }: MachineParts<S>) {
    this.config = config;
    this.emulator = emulator;
    this.shares = shares;
    this.console = console;
    this.agent = agent;
    this.life = life;
    this.#lease = V86Machine.of(emulator).lease;
  }

  /** Whether the guest sleeps: see {@link suspend}. */
  get isAsleep(): boolean {
    return this.#isAsleep;
  }

  /** Whether it was ended from here: stopped, moved, or given back to a pool. */
  get isStopped(): boolean {
    return this.#tenure.isOver;
  }

  /** Whose it is: with `unknown` it may run on the other side of a migration that broke in its switch. */
  get state(): LeaseState {
    return this.#lease.state;
  }

  /** Whether a reset boots a kernel: snapshots have none. */
  get hasKernel(): boolean {
    return this.#hasKernel;
  }

  /**
   * Boots a machine that has not run: `kernel`, or what its BIOS finds. Returns when the guest answers; its shares are not mounted.
   *
   * @throws VmError `boot`, DirectBootError.
   */
  async boot(
    kernel?: DirectBootImage,
    { timeoutMs = BOOT_PATIENCE, ...options }: DirectBootOptions & { timeoutMs?: number } = {},
  ): Promise<void> {
    this.#tenure.check();
    if (kernel) directBoot(this.emulator, kernel, options);
    this.#hasKernel ||= kernel !== undefined;
    await this.emulator.run();
    await this.life.answer(timeoutMs, 'boot');
  }

  /** Gives a machine that came from a snapshot what it boots at a reset. `kernel` is called then: see `directReboot`. */
  bootsAtReset(kernel: () => DirectBootImage, options?: DirectBootOptions): void {
    this.#tenure.check();
    directReboot(this.emulator, kernel, options);
    this.#hasKernel = true;
  }

  /** Boots it again, with a reset unless the guest has made one itself. Returns when the guest answers. @throws VmError `boot`. */
  reboot({ isReset = false, timeoutMs = BOOT_PATIENCE } = {}): Promise<void> {
    return this.#tenure.inTurn(async () => {
      if (!isReset) this.emulator.restart();
      if (this.life.isOff) this.life.revive();
      await this.emulator.run();
      await this.life.answer(timeoutMs, 'boot');
    });
  }

  /**
   * Waits until a guest that reboots answers again: what is asked of it before fails with VmError `rebooted`. Its shares are to be mounted anew.
   *
   * @throws VmError
   */
  ready(timeoutMs = BOOT_PATIENCE): Promise<void> {
    return this.#tenure.inTurn(() => this.life.answer(timeoutMs));
  }

  /**
   * Resumes a machine that is paused. Returns when the guest answers, unless it sleeps or has halted. If its session has lasted, it goes on in that, and
   * commands that were under way stay attached. @throws VmError.
   */
  goOn(): Promise<void> {
    return this.#tenure.inTurn(() => (this.agent.isReady ? this.emulator.run() : this.#goOn()));
  }

  async #goOn(): Promise<void> {
    await this.emulator.run();
    if (!this.#isAsleep && !this.life.isOff) await this.life.answer(PATIENCE);
  }

  /** The share with this tag, or the first one. Throws {@link VmError} `configuration` when there is none. */
  share(tag?: string): S {
    return findShare(this.shares, tag);
  }

  /** Mounts a share in the guest, at `path` or its own mount point, which is made. Returns the path. */
  async mount(tag?: string, path?: string): Promise<string> {
    return mountShare(this, this.share(tag), path);
  }

  /** As {@link execBytes}, with its output as text. */
  async exec(command: string | string[], options?: ExecOptions): Promise<ExecResult> {
    return asText(await this.execBytes(command, options));
  }

  /**
   * Runs a command to its end. A string goes to the guest's shell, an array is run as it is.
   *
   * @throws VmError `timeout`, after `options.timeoutMs`, with the console's last lines: the command is killed. VmError `crashed`, `halted`
   * or `rebooted` as soon as the guest is, `stopped` when the machine was stopped. MachineStateError when it may run elsewhere.
   */
  async execBytes(command: string | string[], options: ExecOptions = {}): Promise<ExecOutput> {
    const { timeoutMs, signal, ...rest } = options;
    this.checkAlive();
    if (this.#lease.state === 'switching') await this.#lease.decided();
    this.checkAlive();
    this.#lease.check('run a command in');
    const timeout = joinSignals([], timeoutMs);
    const abort = joinSignals([timeout.signal, this.#tenure.signal, this.life.signal, signal]);
    try {
      return await unlessAborted(abort.signal, this.agent.exec(command, { ...rest, signal: abort.signal }));
    } catch (error) {
      this.#tenure.check();
      if (!timeout.signal.aborted) throw error;
      const name = Array.isArray(command) ? command.join(' ') : command;
      throw new VmError(
        'timeout',
        `the guest's command did not end within ${timeoutMs! / 1000} s: ${name}\nIts console ends with\n${this.console.tail()}`,
        { cause: error },
      );
    } finally {
      timeout.release();
      abort.release();
    }
  }

  /** Starts a command. It lives in the guest: snapshots keep it, and `agent.attach` finds it again. */
  spawn(command: string | string[], options: SpawnOptions = {}): GuestProcess {
    this.checkAlive();
    this.#lease.check('run a command in');
    return this.agent.spawn(command, options);
  }

  /**
   * Lets the guest go to sleep: suspend to idle. It takes ACPI and a driver that can suspend. Returns when it sleeps; until
   * {@link wake} no command is answered. A sleeping machine can be frozen, moved and thawed as any other.
   *
   * @throws VmError `guest` with the kernel's reason when it does not; MachineStateError while it is migrated.
   */
  suspend(): Promise<void> {
    return this.#tenure.inTurn(() =>
      this.#lease.inTurn('suspend', async () => {
        if (this.#isAsleep) return;
        this.life.check();
        await suspendGuest(this);
        this.#isAsleep = true;
      }),
    );
  }

  /** Wakes a guest that sleeps, by a byte on its first serial port; one that was prepared from a snapshot is let go on first. */
  wake(): Promise<void> {
    return this.#tenure.inTurn(() =>
      this.#lease.inTurn('wake', async () => {
        await this.emulator.run();
        await wakeGuest(this, (timeoutMs) => this.life.answer(timeoutMs));
        this.#isAsleep = false;
      }),
    );
  }

  /**
   * Freezes the machine into a store, as what has changed since it was there last. The guest stands
   * still for some 20 ms; the rest is done while it runs. A machine that may run elsewhere can be frozen too; such a
   * snapshot is not thawed before that is settled.
   */
  async freeze(
    store: SnapshotStore,
    name?: string,
    { sessionOnly, summary = NOTHING_MORE }: Pick<FreezeOptions, 'sessionOnly'> & { summary?: MoreSummary } = {},
  ): Promise<FreezeResult> {
    return this.busyWith(async () => {
      await this.delivered();
      return (await this.snapshotsIn(store)).freeze({
        name,
        machine: this.config,
        summary: () => ({ ...this.summarize(), ...summary() }),
        sessionOnly,
      });
    });
  }

  /** Settles when the guest has what was sent to its agent, such as commands that were just spawned: no snapshot has what is on its way. */
  protected async delivered(): Promise<void> {
    if (!this.emulator.is_running()) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, DELIVERY_PATIENCE)));
    await Promise.race([this.agent.settled(), late]);
    clearTimeout(timer);
  }

  /**
   * Takes a machine that has not run to a snapshot of one like it, where it is paused until {@link goOn}. `before`: the one that has left it its emulator,
   * where only what differs is written.
   *
   * @throws VmError `unsettled`, SnapshotError.
   */
  async fill(store: SnapshotStore, id: string, policies: RestorePolicies = {}, before?: Machine): Promise<void> {
    configOf(store, id);
    if (before) this.#stores.set(store, before.snapshotsIn(store));
    await (await this.snapshotsIn(store)).restore(id, { ...policies, isFresh: !before });
    this.adopt(store.info(id).summary);
  }

  /**
   * Takes the machine to a snapshot of one like it, forth or back. Returns for how many milliseconds
   * it was paused.
   *
   * @throws VmError, SnapshotError or MachineStateError; the machine goes on as if nothing had been asked.
   */
  async thaw(store: SnapshotStore, id: string, policies: RestorePolicies = {}): Promise<number> {
    let standstill = 0;
    await this.comeBack(async () => {
      configOf(store, id);
      standstill = await (await this.snapshotsIn(store)).restore(id, policies);
      return { ...(store.info(id).summary as object | undefined), console: [] };
    });
    return standstill;
  }

  /** Goes on from where `restore` takes the machine. It returns a {@link Summary}, of whose console these lines go before its own. */
  protected comeBack(restore: () => Promise<unknown>): Promise<void> {
    return this.#tenure.inTurn(async () => {
      this.life.checkRestorable();
      this.adopt(await restore());
      await this.#goOn();
    });
  }

  /** Its way into a store and back. */
  snapshotsIn(store: SnapshotStore): Promise<MachineSnapshots> {
    let snapshots = this.#stores.get(store);
    if (!snapshots) this.#stores.set(store, (snapshots = MachineSnapshots.of(this.emulator, store)));
    return snapshots;
  }

  /** What snapshots tell of it. */
  protected summarize(): Summary {
    const unheard = this.agent.unheard();
    return {
      ...this.#others,
      isAsleep: this.#isAsleep,
      isOff: this.life.isOff,
      ...(unheard && { unheard }),
      ...(this.#lease.state === 'unknown' && { unsettled: this.#unsettled }),
      console: this.console.lines,
    };
  }

  /** The guest is another one now; takes over what is told of it by `summary`, which may be anything. */
  protected adopt(summary: unknown): void {
    const { console = [], isAsleep = false, isOff, unheard, others } = readSummary(summary);
    this.agent.follow(unheard);
    this.console.precede(console);
    this.#others = others;
    this.#isAsleep = isAsleep;
    this.life.revive(isOff);
    this.onMoment(summary);
  }

  /**
   * Moves the machine to the other side of `channel` while its guest runs: see {@link moveIn}. When it runs there this one is stopped.
   *
   * @throws MigrationError when nothing came of it, and the machine runs on here; MigrationUnknownError when it is paused, because it may run there,
   * until that is settled; MachineStateError when it is being migrated already.
   */
  async migrate(
    channel: MigrationChannel,
    options: Omit<MigrationOptions, 'machine' | 'summary' | 'codec'>,
    summary: MoreSummary = NOTHING_MORE,
  ): Promise<MigrationResult> {
    return this.busyWith(() => this.#migrate(channel, options, summary));
  }

  async #migrate(
    channel: MigrationChannel,
    options: Omit<MigrationOptions, 'machine' | 'summary' | 'codec'>,
    summary: MoreSummary,
  ): Promise<MigrationResult> {
    const { signal, release } = joinSignals([this.life.isOff ? undefined : this.life.signal, options.signal]);
    try {
      const result = await migrateOut(this.emulator, channel, {
        ...options,
        signal,
        machine: this.config,
        summary: () => ({ ...this.summarize(), ...summary() }),
        codec: loadCodec(),
      });
      await this.stop();
      return result;
    } catch (error) {
      if (error instanceof MigrationUnknownError) this.#unsettled = error.id;
      else if (!this.#tenure.isOver) this.life.check();
      throw error;
    } finally {
      release();
    }
  }

  /** This machine, which has not run, as one that another moves into. */
  moveIn(): Successor {
    return {
      emulator: this.emulator,
      start: (summary) => {
        this.adopt(summary);
        return this.emulator.run();
      },
      ready: () => this.#goOn(),
      destroy: () => this.stop(),
    };
  }

  /** Ends the machine. Whatever still waits for it is told so; a migration that has not come to its switch is given up. */
  async stop(): Promise<void> {
    if (this.#tenure.isOver) return;
    this.#end(STOPPED);
    await this.emulator.destroy();
  }

  /**
   * Ends the machine as {@link stop} does, for `reason`, but leaves its emulator to another one: see `AssemblyOptions.emulator`. Undefined when that is
   * of no use any more: it has failed, the machine may run elsewhere, or something that was under way still has it. Then it is destroyed.
   */
  async vacate(reason: string): Promise<V86 | undefined> {
    this.#tenure.check();
    const isFree = !this.life.hasFailed && !this.#tenure.isBusy && this.#lease.state === 'ours';
    this.#end(reason);
    try {
      if (isFree) {
        await V86Machine.of(this.emulator).vacate();
        return this.emulator;
      }
    } catch {
      // It has become somebody's meanwhile.
    }
    await this.emulator.destroy();
    return undefined;
  }

  #end(reason: string): void {
    this.agent.lose(this.#tenure.end(reason));
  }

  /** Ends a machine that nobody will ever have, because `action` fails. */
  async orStop<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Does something for which the machine is needed to its end: see {@link vacate}. */
  protected busyWith<T>(action: () => Promise<T>): Promise<T> {
    return this.#tenure.busyWith(action);
  }

  /** @throws VmError `stopped`, `crashed`, `halted` or `rebooted`. */
  protected checkAlive(): void {
    this.#tenure.check();
    this.life.check();
  }
}
