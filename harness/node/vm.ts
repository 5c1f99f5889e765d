import type { V86 } from 'v86';
import {
  type FreezeResult,
  loadCodec,
  MemoryStore,
  type MigrationChannel,
  type MigrationOptions,
  type MigrationResult,
  MigrationTarget,
  type RestorePolicies,
  SnapshotStore,
  type Successor,
} from '../../device/index.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import type { ExecOptions, ExecOutput } from '../machine/agent/guest-agent.ts';
import { checkConfig, type MachineConfig, readConfig } from '../machine/config.ts';
import { VmError } from '../machine/errors.ts';
import { PATIENCE } from '../machine/guest-life.ts';
import { Machine } from '../machine/machine.ts';
import { configOf, type Summary } from '../machine/summary.ts';
import { type Expected, type WaitOptions, waitFor } from '../machine/wait-for.ts';
import { bootMachine, makeMachine } from './boot-machine.ts';
import { copyIn, copyOut } from './copy.ts';
import { holdingImages } from './images/image-leases.ts';
import { imageLocation } from './images/share-image.ts';
import { makePlan, optionsFor } from './plan.ts';
import type { ShareOrigins } from './shares/origin.ts';
import type { HostShare } from './shares/share.ts';
import { makeSnapshot, readSnapshot, type Snapshot, toArrayBuffer } from './stores/snapshot-file.ts';
import { compileV86 } from './v86.ts';
import type { VmOptions } from './vm-options.ts';

/** What comes out of {@link Vm.takeOver}. */
export interface MigratedVm extends Successor {
  readonly vm: Vm;
}

/** A moment of one machine, in memory: see {@link Vm.checkpoint}. */
export interface Checkpoint extends AsyncDisposable {
  readonly id: string;
  /** Gives back the memory that it takes; {@link Vm.stop} does so for all. */
  forget(): Promise<void>;
}

/** What snapshots of a {@link Vm} tell. */
interface VmSummary extends Summary {
  shares?: ShareOrigins;
}

/**
 * A machine in Node, whose shares can be copies of host directories and archives: boots or starts from a cached boot, runs
 * commands, freezes and goes on. Call {@link stop} in the end: a running machine keeps the process alive.
 */
export class Vm extends Machine<HostShare> {
  #checkpoints: SnapshotStore | undefined;
  /** Oldest first. */
  readonly #moments: Checkpoint[] = [];

  /** A machine whose guest answers, its shares plugged in but not mounted. */
  static async boot(options: VmOptions = {}): Promise<Vm> {
    return holdingImages(async (images) => {
      const vm = await bootMachine(await makePlan(options, images), (parts) => new Vm(parts));
      options.onProgress?.('');
      return vm;
    });
  }

  /**
   * A machine that goes on where `snapshot` (or the file of that name) was taken. `options` have
   * to describe the same machine, or be silent; the shares' contents come from the snapshot.
   *
   * @throws VmError `snapshot` that says which setting differs.
   */
  static async restore(snapshot: Snapshot | string, options: VmOptions = {}): Promise<Vm> {
    const saved = typeof snapshot === 'string' ? await readSnapshot(snapshot) : snapshot;
    const root = typeof options.root === 'string' ? { source: options.root } : options.root;
    const copies = [root, ...(options.shares ?? []).filter(({ live }) => !live)].flatMap(
      (share) => share?.source ?? [],
    );
    if (!copies.every((source) => imageLocation(source) !== undefined))
      throw new VmError('configuration', "a restored share has the snapshot's contents: leave `source` out");
    const vm = await Vm.like(saved.config, { console: saved.console }, options);
    V86Machine.of(vm.emulator).expectFreshMemory();
    await vm.orStop(() => vm.restore(saved));
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
    await vm.orStop(() => vm.start());
    return vm;
  }

  /** As {@link thaw}, but the machine is paused until {@link start}. */
  static async prepare(
    store: SnapshotStore,
    id: string,
    options: VmOptions = {},
    policies: RestorePolicies = {},
  ): Promise<Vm> {
    const vm = await Vm.like(configOf(store, id), undefined, options);
    await vm.orStop(() => vm.fill(store, id, policies));
    return vm;
  }

  /**
   * As {@link prepare}, in the emulator of `vm`, which ends for `reason`: only what differs is written. Undefined when `vm` has ended before, or its
   * emulator is of no use any more, or the next one is to be deterministic: what v86 has compiled would tell.
   */
  static async recycle(
    vm: Vm,
    reason: string,
    store: SnapshotStore,
    id: string,
    options: VmOptions = {},
  ): Promise<Vm | undefined> {
    return holdingImages(async (images) => {
      // Those that it is on are the next one's too.
      images.takeOpen();
      const [emulator] = await Promise.all([vm.vacate(reason), vm.#forgetAll()]);
      if (!emulator) return undefined;
      if (options.deterministic !== undefined) {
        await emulator.destroy();
        return undefined;
      }
      try {
        const next = await Vm.like(configOf(store, id), undefined, options, emulator);
        await next.fill(store, id, {}, vm);
        return next;
      } catch {
        // Whatever it is, a new machine has it too, or not.
        await emulator.destroy();
        return undefined;
      }
    });
  }

  /** A machine like the one described, with nothing in it, that is paused. `summary` is that of a snapshot; `emulator` what one like it has left. */
  static async like(config: MachineConfig, summary: unknown, options: VmOptions = {}, emulator?: V86): Promise<Vm> {
    void compileV86();
    return holdingImages(async (images) => {
      const plan = await makePlan(await optionsFor(config, options, images), images);
      checkConfig(config, plan.config);
      const vm = await makeMachine(plan, (parts) => new Vm(parts), { emulator });
      vm.adopt(summary);
      vm.#checkpoints = options.checkpoints;
      return vm;
    });
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
        const vm = await Vm.like(readConfig(machine), undefined, options);
        return { vm, ...vm.moveIn() };
      },
    });
  }

  /** For `await using`: {@link stop}; of a machine from a pool, `VmPool.release`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Resumes a machine that is paused. @throws VmError `guest` when it sleeps; as {@link ready}. The machine is as it was, or waits for its guest. */
  async start(): Promise<void> {
    if (this.isAsleep) throw new VmError('guest', 'the guest sleeps: wake it');
    await this.goOn();
  }

  /** Waits until a file, a port or a line of its console is there. @throws VmError `timeout`, with the console's last lines; as {@link execBytes}. */
  waitFor(expected: Expected, options?: WaitOptions): Promise<void> {
    return waitFor(this, expected, options);
  }

  /**
   * Copies into the guest: bytes or a host's file to the file `path`, or what is in a host's directory or .tar file into the directory `path`. It goes
   * through the agent, which is slow, packed where the guest has gzip; a share is for more.
   *
   * @throws VmError `share` for what can't be read here, `guest` with what the guest says.
   */
  copyIn(source: string | Uint8Array, path: string): Promise<void> {
    return copyIn(this, source, path);
  }

  /**
   * What is in a file of the guest, up to 1 GiB; with `target` it is written to that file of the host too. A directory is copied to a `target` that
   * ends in .tar. @throws as {@link copyIn}.
   */
  copyOut(path: string, target?: string): Promise<Uint8Array> {
    return copyOut(this, path, target);
  }

  /**
   * Sets the guest's clock and its real-time clock to `time`, in milliseconds since 1970; it goes on from there, also when the machine is paused and
   * resumed with the option `clock: 'keep'`. CLOCK_MONOTONIC stays. @throws VmError `guest`.
   */
  async setClock(time: number): Promise<void> {
    await this.exec(['date', '-u', '-s', `@${Math.floor(time / 1000)}`], { cwd: '/', check: true });
    V86Machine.of(this.emulator).rtc = time;
  }

  /**
   * Has all of the guest's time pass faster or slower, its waits included: `speed` 10 is ten seconds in one of the host's. What it computes takes as long as
   * before, so there is less of that in its time. Shares go by the host's clock. It holds until the machine ends, also when it goes back to a snapshot.
   *
   * @throws RangeError for what is not from 0.1 to 100, and for any of a deterministic machine.
   */
  setClockSpeed(speed: number): void {
    V86Machine.of(this.emulator).clockSpeed = speed;
  }

  /**
   * Stops the guest where it is, until {@link start}: its processor, its timers, and answers to its requests. Its commands go on then. With `clock: 'keep'` its
   * time has stood still; otherwise all of its clocks tell that time has passed.
   */
  async pause(): Promise<void> {
    this.checkAlive();
    await this.emulator.stop();
  }

  /**
   * Marks this moment, files and all, for {@link rewind}. The first mark of a machine that does not come from the store of `VmOptions.checkpoints` takes
   * a second or two, as all of its memory is looked at; others take what has changed.
   *
   * @throws as {@link freeze}.
   */
  async checkpoint(): Promise<Checkpoint> {
    const store = (this.#checkpoints ??= await SnapshotStore.open(new MemoryStore(), loadCodec()));
    const { id } = await this.freeze(store);
    const forget = async () => {
      const at = this.#moments.indexOf(checkpoint);
      if (at < 0) return;
      this.#moments.splice(at, 1);
      await store.remove(id);
    };
    const checkpoint: Checkpoint = { id, forget, [Symbol.asyncDispose]: forget };
    this.#moments.push(checkpoint);
    return checkpoint;
  }

  /**
   * Takes the machine back, or forth, to a moment of its own, the last one that was marked by default: what has happened since never did. That stays to
   * be taken again.
   *
   * @throws VmError `configuration` when it was forgotten, or is another machine's. As {@link thaw}.
   */
  async rewind(checkpoint: Checkpoint | undefined = this.#moments.at(-1)): Promise<void> {
    if (!checkpoint || !this.#moments.includes(checkpoint))
      throw new VmError('configuration', 'this machine has no such moment: mark one with `checkpoint`');
    await this.thaw(this.#checkpoints!, checkpoint.id);
  }

  /** Also forgets what {@link checkpoint} has marked. */
  override async stop(): Promise<void> {
    await Promise.all([super.stop(), this.#forgetAll()]);
  }

  async #forgetAll(): Promise<void> {
    await Promise.all([...this.#moments].map((checkpoint) => checkpoint.forget()));
  }

  protected override summarize(): VmSummary {
    return { ...super.summarize(), shares: this.#origins };
  }

  protected override adopt(summary: unknown): void {
    super.adopt(summary);
    const { shares } = (summary ?? {}) as VmSummary;
    for (const share of this.shares)
      share.adoptOrigin(shares && Object.hasOwn(shares, share.tag) ? shares[share.tag] : undefined);
  }

  get #origins(): ShareOrigins {
    return Object.fromEntries(this.shares.flatMap((share) => (share.origin ? [[share.tag, share.origin]] : [])));
  }

  /**
   * Runs a command to its end. A string goes to the guest's shell, an array is run as it is.
   *
   * @throws VmError `timeout`, after `options.timeoutMs` or 60 s, with the console's last lines: the command is killed. VmError `crashed`, `halted`
   * or `rebooted` as soon as the guest is, `stopped` when the machine was stopped. MachineStateError when it may run elsewhere.
   */
  override execBytes(command: string | string[], options: ExecOptions = {}): Promise<ExecOutput> {
    return super.execBytes(command, { ...options, timeoutMs: options.timeoutMs ?? PATIENCE });
  }

  /** The whole machine as it is now, shares included. The guest goes on. @throws VmError `unsettled` when it may run elsewhere, which these files do not tell. */
  async save(): Promise<Snapshot> {
    this.checkAlive();
    if (this.state === 'unknown')
      throw new VmError(
        'unsettled',
        'this machine may run on the other side: freeze it into a store, where that is noted',
      );
    return this.busyWith(async () => {
      await this.delivered();
      const resume = await V86Machine.of(this.emulator).lease.hold();
      try {
        const state = new Uint8Array(await this.emulator.save_state());
        return makeSnapshot(this.config, this.console.lines, state, {
          shares: this.#origins,
          unheard: this.agent.unheard(),
        });
      } finally {
        resume();
      }
    });
  }

  /**
   * Takes the machine back, or forth, to a snapshot of one like it. What ran in the guest
   * meanwhile never was; processes of the snapshot are found with `agent.list` and `agent.attach`.
   *
   * @throws VmError `snapshot` that says which setting differs; the machine is as before.
   */
  restore(snapshot: Snapshot): Promise<void> {
    return this.comeBack(async () => {
      checkConfig(snapshot.config, this.config);
      await this.emulator.restore_state(toArrayBuffer(snapshot.bytes));
      return { shares: snapshot.shares, unheard: snapshot.unheard };
    });
  }

  override async freeze(store: SnapshotStore, name?: string): Promise<FreezeResult> {
    this.checkAlive();
    return super.freeze(store, name);
  }

  override async migrate(
    channel: MigrationChannel,
    options: Omit<MigrationOptions, 'machine' | 'summary' | 'codec'>,
  ): Promise<MigrationResult> {
    this.checkAlive();
    return super.migrate(channel, options);
  }

  /**
   * Takes the machine to a snapshot of one like it, forth or back. Returns for how many milliseconds it was paused.
   *
   * @throws VmError `snapshot` that says which setting differs; VmError, SnapshotError or MachineStateError; the machine goes on as if nothing had
   * been asked.
   */
  override async thaw(store: SnapshotStore, id: string, policies: RestorePolicies = {}): Promise<number> {
    checkConfig(configOf(store, id), this.config);
    return super.thaw(store, id, policies);
  }
}
