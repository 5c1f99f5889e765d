import type { V86 } from 'v86';
import {
  type FreezeResult,
  loadCodec,
  MachineSnapshots,
  type MigrationChannel,
  type MigrationOptions,
  type MigrationResult,
  MigrationTarget,
  MigrationUnknownError,
  migrateOut,
  type RestorePolicies,
  type SnapshotStore,
  type Successor,
} from '../../device/index.ts';
import { joinSignals } from '../../device/migration/join-signals.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import type { MachineLease } from '../../device/v86/lease.ts';
import type { ExecOptions, ExecOutput, GuestAgent, GuestProcess, SpawnOptions } from '../machine/agent/guest-agent.ts';
import type { ConsoleLog } from '../machine/console-log.ts';
import { VmError } from '../machine/errors.ts';
import type { GuestLife } from '../machine/guest-life.ts';
import { mountShare } from '../machine/mount-share.ts';
import { configOf, type Summary } from '../machine/summary.ts';
import { suspendGuest, wakeGuest } from '../machine/suspend.ts';
import { unlessAborted } from '../machine/unless-aborted.ts';
import { bootMachine } from './boot-machine.ts';
import { assemble, BOOT_PATIENCE, type Machine, PATIENCE } from './machine.ts';
import { makePlan, optionsFor, withShares } from './plan.ts';
import type { ShareOrigins } from './shares/origin.ts';
import type { Share } from './shares/share.ts';
import {
  checkConfig,
  type MachineConfig,
  makeSnapshot,
  readSnapshot,
  type Snapshot,
  toArrayBuffer,
} from './stores/snapshot-file.ts';
import { compileV86 } from './v86.ts';
import type { VmOptions } from './vm-options.ts';

export interface ExecResult {
  stdout: string;
  stderr: string;
  /** Exit code; 128 + the signal's number when a signal ended it. */
  code: number;
}

/** What comes out of {@link Vm.takeOver}. */
export interface MigratedVm extends Successor {
  readonly vm: Vm;
}

/**
 * A Linux guest in v86, with shares: boots or starts from a cached boot, runs commands, freezes
 * and goes on. Call {@link stop} in the end: a running machine keeps the process alive.
 */
export class Vm implements Machine {
  readonly config: MachineConfig;
  readonly shares: readonly Share[];
  /** The last lines of the guest's console. */
  readonly console: ConsoleLog;
  /** v86's own object. */
  readonly emulator: V86;
  /** Runs commands; {@link exec} and {@link spawn} are its usual ways in. */
  readonly agent: GuestAgent;
  /** Notices when the guest ends. */
  readonly life: GuestLife;
  readonly #stopped = new AbortController();
  readonly #lease: MachineLease;
  readonly #stores = new WeakMap<SnapshotStore, Promise<MachineSnapshots>>();
  /** Of the snapshot that it goes on from: what others have written there is passed on. */
  #summary: Omit<Summary, 'console'> = {};
  /** What changes the guest comes one after the other, each until the guest answers. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The last migration whose end was unknown. */
  #unsettled = '';

  private constructor({ config, emulator, shares, console, agent, life }: Machine) {
    this.config = config;
    this.emulator = emulator;
    this.shares = shares;
    this.console = console;
    this.agent = agent;
    this.life = life;
    this.#lease = V86Machine.of(emulator).lease;
  }

  /** A machine whose guest answers, its shares plugged in but not mounted. */
  static async boot(options: VmOptions = {}): Promise<Vm> {
    const machine = await bootMachine(await makePlan(options));
    options.onProgress?.('');
    return new Vm(machine);
  }

  /**
   * A machine that goes on where `snapshot` (or the file of that name) was taken. `options` have
   * to describe the same machine, or be silent; the shares' contents come from the snapshot.
   *
   * @throws VmError `snapshot` that says which setting differs.
   */
  static async restore(snapshot: Snapshot | string, options: VmOptions = {}): Promise<Vm> {
    const saved = typeof snapshot === 'string' ? await readSnapshot(snapshot) : snapshot;
    if (options.shares?.some(({ source }) => source !== undefined)) {
      throw new VmError('configuration', "a restored share has the snapshot's contents: leave `source` out");
    }
    const plan = await makePlan(optionsFor(saved.config, options));
    checkConfig(saved.config, withShares(plan.config, plan.shares));
    const vm = new Vm(await assemble(plan, plan.shares, plan.emulatorOptions));
    vm.console.precede(saved.console);
    V86Machine.of(vm.emulator).expectFreshMemory();
    await vm.#orStop(() => vm.restore(saved));
    return vm;
  }

  /** A new machine that goes on where a snapshot of a store was taken: as {@link restore}. Several may go on from one. */
  static async thaw(
    store: SnapshotStore,
    id: string,
    options: VmOptions = {},
    policies: RestorePolicies = {},
  ): Promise<Vm> {
    const vm = await Vm.prepare(store, id, options, policies);
    await vm.start();
    return vm;
  }

  /** As {@link thaw}, but the machine stands still until {@link start}. */
  static async prepare(
    store: SnapshotStore,
    id: string,
    options: VmOptions = {},
    policies: RestorePolicies = {},
  ): Promise<Vm> {
    const vm = await Vm.like(configOf(store, id), store.info(id).summary, options);
    await vm.#orStop(async () => (await vm.#snapshots(store)).restore(id, { ...policies, isFresh: true }));
    return vm;
  }

  /** A machine like the one described, with nothing in it, that stands still. `summary` is that of a snapshot. */
  static async like(config: MachineConfig, summary: unknown, options: VmOptions = {}): Promise<Vm> {
    void compileV86();
    const plan = await makePlan(optionsFor(config, options));
    checkConfig(config, withShares(plan.config, plan.shares));
    const vm = new Vm(await assemble(plan, plan.shares, plan.emulatorOptions));
    vm.#adopt(summary);
    return vm;
  }

  /** Takes over what is known of the machine that this one goes on as. */
  #adopt(summary: unknown): void {
    const { console = [], unsettled: _, shares, ...others } = (summary ?? {}) as Summary;
    this.console.precede(console);
    this.#adoptOrigins(shares);
    this.#summary = others;
  }

  #adoptOrigins(origins: ShareOrigins | undefined): void {
    for (const share of this.shares)
      share.adoptOrigin(origins && Object.hasOwn(origins, share.tag) ? origins[share.tag] : undefined);
  }

  get #origins(): ShareOrigins {
    return Object.fromEntries(this.shares.flatMap((share) => (share.origin ? [[share.tag, share.origin]] : [])));
  }

  /** Whether the guest sleeps: see {@link suspend}. */
  get isAsleep(): boolean {
    return this.#summary.isAsleep ?? false;
  }

  /**
   * Lets the guest go to sleep: suspend to idle. Needs the options `driver: 'suspend'` and `acpi`. Returns when it sleeps; until
   * {@link wake} no command is answered. A sleeping machine can be frozen, moved and thawed as any other.
   *
   * @throws VmError `guest` with the kernel's reason when it does not; MachineStateError while it is migrated.
   */
  suspend(): Promise<void> {
    return this.#inTurn(() =>
      this.#lease.inTurn('suspend', async () => {
        if (this.isAsleep) return;
        this.life.check();
        await suspendGuest(this);
        this.#summary.isAsleep = true;
      }),
    );
  }

  /** Wakes a guest that sleeps, by a byte on its first serial port; one that was prepared from a snapshot is let go on first. */
  wake(): Promise<void> {
    return this.#inTurn(() =>
      this.#lease.inTurn('wake', async () => {
        await this.emulator.run();
        await wakeGuest(this, (timeoutMs) => this.life.answer(timeoutMs));
        this.#summary.isAsleep = false;
      }),
    );
  }

  /** Lets a machine that stands still go on. */
  async start(): Promise<void> {
    await this.#orStop(() =>
      this.#inTurn(async () => {
        await this.emulator.run();
        await this.#answer();
      }),
    );
  }

  /**
   * Waits until a guest that reboots answers again: what is asked of it before fails with VmError `rebooted`. Its shares are to be mounted anew.
   *
   * @throws VmError
   */
  ready(timeoutMs = BOOT_PATIENCE): Promise<void> {
    return this.#inTurn(() => this.life.answer(timeoutMs));
  }

  /** Ends a machine that nobody will ever have, because `action` fails. */
  async #orStop(action: () => Promise<unknown>): Promise<void> {
    try {
      await action();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** The share with this tag, or the first one. Throws {@link VmError} `configuration` when there is none. */
  share(tag?: string): Share {
    const share = tag === undefined ? this.shares[0] : this.shares.find((candidate) => candidate.tag === tag);
    if (share) return share;
    const tags = this.shares.map((candidate) => JSON.stringify(candidate.tag)).join(', ') || 'none';
    throw new VmError('configuration', `this machine has no share ${JSON.stringify(tag) ?? ''}: it has ${tags}`);
  }

  /** Mounts a share in the guest, at `path` or its own mount point, which is made. Returns the path. */
  async mount(tag?: string, path?: string): Promise<string> {
    return mountShare(this, this.share(tag), path);
  }

  /** As {@link execBytes}, with its output as text. */
  async exec(command: string | string[], options: ExecOptions = {}): Promise<ExecResult> {
    const { stdout, stderr, code } = await this.execBytes(command, options);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { stdout: text(stdout), stderr: text(stderr), code };
  }

  /**
   * Runs a command to its end. A string goes to the guest's shell, an array is run as it is.
   *
   * @throws VmError `timeout`, after 60 s or `options.timeoutMs`, with the console's last lines:
   * the command is killed. VmError `crashed`, `halted` or `rebooted` as soon as the guest is, `stopped` when the machine was stopped.
   * MachineStateError when it may run elsewhere.
   */
  async execBytes(command: string | string[], options: ExecOptions = {}): Promise<ExecOutput> {
    const { timeoutMs = PATIENCE, signal, ...rest } = options;
    this.#checkAlive();
    if (this.#lease.state === 'switching') await this.#lease.decided();
    this.#checkAlive();
    this.#lease.check('run a command in');
    const timeout = joinSignals([], timeoutMs);
    const abort = joinSignals([timeout.signal, this.#stopped.signal, this.life.signal, signal]);
    const name = Array.isArray(command) ? command.join(' ') : command;
    try {
      return await unlessAborted(abort.signal, this.agent.exec(command, { ...rest, signal: abort.signal }));
    } catch (error) {
      this.#checkRunning();
      if (!timeout.signal.aborted) throw error;
      throw new VmError(
        'timeout',
        `the guest's command did not end within ${timeoutMs / 1000} s: ${name}\nIts console ends with\n${this.console.tail()}`,
        { cause: error },
      );
    } finally {
      timeout.release();
      abort.release();
    }
  }

  /** Starts a command. It lives in the guest: snapshots keep it, and `agent.attach` finds it again. */
  spawn(command: string | string[], options: SpawnOptions = {}): GuestProcess {
    this.#checkAlive();
    this.#lease.check('run a command in');
    return this.agent.spawn(command, options);
  }

  /** The whole machine as it is now, shares included. The guest goes on. @throws VmError `unsettled` when it may run elsewhere, which these files do not tell. */
  async save(): Promise<Snapshot> {
    this.#checkAlive();
    if (this.#lease.state === 'unknown')
      throw new VmError(
        'unsettled',
        'this machine may run on the other side: freeze it into a store, where that is noted',
      );
    const state = await this.emulator.save_state();
    return makeSnapshot(this.config, this.console.lines, new Uint8Array(state), this.#origins);
  }

  /**
   * Takes the machine back, or forth, to a snapshot of one like it. What ran in the guest
   * meanwhile never was; processes of the snapshot are found with `agent.list` and `agent.attach`.
   *
   * @throws VmError `snapshot` that says which setting differs; the machine is as before.
   */
  restore(snapshot: Snapshot): Promise<void> {
    return this.#inTurn(async () => {
      this.life.checkRestorable();
      checkConfig(snapshot.config, this.config);
      await this.emulator.restore_state(toArrayBuffer(snapshot.bytes));
      this.life.revive();
      this.#adoptOrigins(snapshot.shares);
      this.#summary = {};
      await this.emulator.run();
      await this.#answer();
    });
  }

  /**
   * Freezes the machine into a store, as what has changed since it was there last. The guest stands
   * still for some 20 ms; the rest is done while it runs. A machine that may run elsewhere can be frozen too; such a
   * snapshot is not thawed before that is settled.
   */
  async freeze(store: SnapshotStore, name?: string): Promise<FreezeResult> {
    this.#checkAlive();
    return (await this.#snapshots(store)).freeze({ name, machine: this.#machine, summary: () => this.#summarize() });
  }

  get #machine(): Record<string, string | number | string[]> {
    const { emulator, image, memory, devices } = this.config;
    return { emulator, image, memory, devices };
  }

  #summarize(): Summary {
    return {
      ...this.#summary,
      ...(this.#lease.state === 'unknown' && { unsettled: this.#unsettled }),
      shares: this.#origins,
      console: this.console.lines,
    };
  }

  /**
   * Moves the machine to the other side of `channel` while its guest runs: see {@link takeOver}. When it runs there this one is stopped.
   *
   * @throws MigrationError when nothing came of it, and the machine runs on here; MigrationUnknownError when it stands still, because it may run there,
   * until that is settled; MachineStateError when it is being migrated already.
   */
  async migrate(
    channel: MigrationChannel,
    options: Omit<MigrationOptions, 'machine' | 'summary' | 'codec'>,
  ): Promise<MigrationResult> {
    this.#checkAlive();
    const { signal, release } = joinSignals([this.life.signal, options.signal]);
    try {
      const result = await migrateOut(this.emulator, channel, {
        ...options,
        signal,
        machine: this.#machine,
        summary: () => this.#summarize(),
        codec: loadCodec(),
      });
      await this.stop();
      return result;
    } catch (error) {
      if (error instanceof MigrationUnknownError) this.#unsettled = error.id;
      else if (!this.#stopped.signal.aborted) this.life.check();
      throw error;
    } finally {
      release();
    }
  }

  /**
   * Takes machines over that {@link migrate} sends: serve it a channel. The machines run, and are the caller's. One that was sent `sessionOnly`
   * finds its files in the volumes of `options.shares`, and `policies` say what becomes of what it can't have there.
   */
  static takeOver(token: string, options: VmOptions = {}, policies: RestorePolicies = {}): MigrationTarget<MigratedVm> {
    return new MigrationTarget<MigratedVm>({
      token,
      policies,
      codec: loadCodec(),
      make: async ({ machine }) => {
        const vm = await Vm.like(machine as unknown as MachineConfig, undefined, options);
        return {
          vm,
          emulator: vm.emulator,
          start: (summary) => {
            vm.#adopt(summary);
            return vm.emulator.run();
          },
          ready: async () => {
            if (!vm.isAsleep) await vm.#answer();
          },
          destroy: () => vm.stop(),
        };
      },
    });
  }

  /**
   * Takes the machine to a snapshot of one like it, forth or back. Returns for how many milliseconds
   * it stood still.
   *
   * @throws VmError, SnapshotError or MachineStateError; the machine goes on as if nothing had been asked.
   */
  thaw(store: SnapshotStore, id: string, policies: RestorePolicies = {}): Promise<number> {
    return this.#inTurn(async () => {
      this.life.checkRestorable();
      checkConfig(configOf(store, id), this.config);
      const standstill = await (await this.#snapshots(store)).restore(id, policies);
      this.life.revive();
      this.#adopt({ ...(store.info(id).summary as Summary), console: [] });
      await this.emulator.run();
      if (!this.isAsleep) await this.#answer();
      return standstill;
    });
  }

  #snapshots(store: SnapshotStore): Promise<MachineSnapshots> {
    let snapshots = this.#stores.get(store);
    if (!snapshots) this.#stores.set(store, (snapshots = MachineSnapshots.of(this.emulator, store)));
    return snapshots;
  }

  /** Ends the machine. Whatever still waits for it is told so; a migration that has not come to its switch is given up. */
  async stop(): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#stopped.abort();
    await this.emulator.destroy();
  }

  async #answer(): Promise<void> {
    if (this.isAsleep) throw new VmError('guest', 'the guest sleeps: wake it');
    await this.life.answer(PATIENCE);
  }

  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    this.#checkRunning();
    const result = this.#turn.then(() => {
      this.#checkRunning();
      return action();
    });
    this.#turn = result.catch(() => {});
    try {
      return await unlessAborted(this.#stopped.signal, result);
    } catch (error) {
      this.#checkRunning();
      throw error;
    }
  }

  #checkAlive(): void {
    this.#checkRunning();
    this.life.check();
  }

  #checkRunning(): void {
    if (this.#stopped.signal.aborted)
      throw new VmError('stopped', 'this machine was stopped: boot or restore another one');
  }
}
