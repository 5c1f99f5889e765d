import { proxyMarker } from 'comlink';
import {
  attachVirtioFs,
  type FreezeResult,
  loadTar,
  type MachineSnapshots,
  MemoryFileSystem,
  type MigrationChannel,
  type MigrationOptions,
  type MigrationResult,
  type SnapshotStore,
  type Successor,
  type VirtioFsDevice,
} from '../../device/index.ts';
import { joinSignals } from '../../device/join-signals.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import { assemble } from '../../harness/machine/assemble.ts';
import { canSleep, equipmentOf, type MachineConfig } from '../../harness/machine/config.ts';
import type { VmError } from '../../harness/machine/errors.ts';
import { Machine } from '../../harness/machine/machine.ts';
import { Share } from '../../harness/machine/share.ts';
import { called, calledFirst } from '../protocol/format.ts';
import type { ExecOptions, ExecResult, GuestApi, GuestId, GuestInfo } from '../protocol.ts';
import { type BootFiles, cmdlineOf, givePrograms } from './boot-files.ts';
import { Folder, type FolderUser } from './folder.ts';
import { numberOf } from './folder-number.ts';
import { Inspector } from './inspector.ts';
import { LessonSpace } from './lesson-space.ts';
import { checkSame } from './machine-config.ts';
import { RootDevice } from './root-device.ts';
import { type ShellEvents, Shells } from './shells.ts';
import { readSummary, type Summary } from './summary.ts';
import { compileV86 } from './v86-module.ts';

/** Bytes of a shared folder: all of it is in the page's memory. */
const FOLDER_SIZE = 512 << 20;

/** What a guest tells, and asks for. */
export interface GuestEvents extends ShellEvents {
  filesChanged(): void;
  rootChanged(): void;
  /** A line that its console has ended. */
  console(line: string): void;
  /** It is at another moment. Settles when the page knows its shells: what it is told on another way may overtake this. */
  changed(guest: GuestInfo): void | Promise<void>;
  /** All guests there are. */
  guests(): Iterable<FolderUser>;
  /** What a machine like this boots from. @throws Error when the page does not have it. */
  kernelOf(config: MachineConfig): Promise<BootFiles>;
  /** Runs what no snapshot may be taken in between, nor restored. */
  undisturbed<T>(action: () => Promise<T>): Promise<T>;
  problem(message: string): void;
}

interface GuestOptions {
  id: GuestId;
  name: string;
  config: MachineConfig;
  store: SnapshotStore;
  events: GuestEvents;
  /** Default: a new one. */
  folder?: MemoryFileSystem;
  /** Of a machine that has a root filesystem. */
  root?: MemoryFileSystem | undefined;
}

/** One guest of the page: its machine, and what hangs on it. */
export class Guest implements GuestApi, FolderUser {
  readonly [proxyMarker] = true;
  readonly id: GuestId;
  readonly name: string;
  /** A reload does not go on with it. */
  isPassing = false;
  readonly device: VirtioFsDevice;
  readonly shells: Shells;
  readonly folder: Folder;
  readonly inspector: Inspector;
  readonly lesson: LessonSpace;
  /** Of a machine that has a root filesystem. */
  readonly root: RootDevice | undefined;
  readonly #machine: Machine<Share<MemoryFileSystem>>;
  readonly #events: GuestEvents;
  #store: SnapshotStore;
  #snapshots: MachineSnapshots;
  #power: GuestInfo['power'] = 'on';
  #hasCrashed = false;
  /** What the page has told in the snapshot that it goes on from. */
  #told: Summary = readSummary(undefined);
  /** Counts the moments that it was put to, and its end: what was begun before is of no use then. */
  #moment = 0;

  private constructor(
    { id, name, store, events }: GuestOptions,
    machine: Machine<Share<MemoryFileSystem>>,
    snapshots: MachineSnapshots,
  ) {
    this.id = id;
    this.name = name;
    this.device = machine.share().device;
    this.#machine = machine;
    this.#events = events;
    this.#store = store;
    this.#snapshots = snapshots;
    this.shells = new Shells(machine.agent, machine.share().mountPoint, events);
    this.inspector = new Inspector(this.device, events.guests);
    this.folder = new Folder(this.device, events.guests, events.filesChanged);
    const root = machine.shares.find(({ isRoot }) => isRoot);
    this.root = root && new RootDevice(name, root.device, events.rootChanged);
    this.lesson = new LessonSpace(
      this.folder,
      this.shells,
      machine.agent,
      () => this.#power === 'on' && !machine.isAsleep,
    );
    machine.onMoment = (summary) => this.#onMoment(summary);
    machine.life.onEnd((end) => this.#onEnd(end));
  }

  #onEnd({ kind, cause }: VmError): void {
    const was = this.#power;
    // One that has no kernel yet halts on its way to booting again.
    if (was === 'off' || (was === 'booting' && kind !== 'crashed')) return;
    if (kind === 'rebooted') return void this.#bootAgain(true);
    this.#hasCrashed = kind === 'crashed';
    if (was !== 'on') return;
    if (this.#hasCrashed)
      this.#events.problem(
        `${calledFirst(this.name)} has crashed${cause instanceof Error ? `: it did what the emulator can’t (${cause.message})` : ': its kernel panicked'}. Start it again, or rewind it`,
      );
    void this.#setPower('off');
  }

  /** A machine that has not run: {@link restore} or {@link boot} brings it to life. */
  static async create(options: GuestOptions): Promise<Guest> {
    const { config, store, events, root, folder = new MemoryFileSystem({ size: FOLDER_SIZE }) } = options;
    const parts = await assemble({
      config,
      wasm: await compileV86(),
      onConsole: (line) => events.console(line),
      makeShares: (emulator) =>
        // The root comes last.
        equipmentOf(config).tags.map((tag) =>
          root && tag === equipmentOf(config).root?.tag
            ? new Share(attachVirtioFs(emulator, { tag, cache: 'always', filesystem: root }), true)
            : new Share(attachVirtioFs(emulator, { tag, locks: 'shared', filesystem: folder })),
        ),
    });
    const machine = new Machine(parts);
    return new Guest(options, machine, await machine.snapshotsIn(store));
  }

  get info(): GuestInfo {
    const { tag, mountPoint } = this.#machine.share();
    return {
      id: this.id,
      name: this.name,
      tag,
      mountPoint,
      memory: this.config.memory,
      driver: equipmentOf(this.config).hasFastDriver ? 'fast' : 'stock',
      folder: numberOf(this.device.filesystem),
      shells: this.shells.list(),
      canSleep: canSleep(equipmentOf(this.config)),
      isAsleep: this.#machine.isAsleep,
      isHeld: this.inspector.isHeld,
      ...(this.root && { root: this.root.info }),
      power: this.#power,
      hasCrashed: this.#power === 'off' && this.#hasCrashed,
    };
  }

  /** Bytes that its emulator has, guest RAM included. */
  get memory(): number {
    return V86Machine.of(this.#machine.emulator).ram.memory.buffer.byteLength;
  }

  get config(): MachineConfig {
    return this.#machine.config;
  }

  /** The snapshot it went on from, or was frozen to, last. */
  get at(): string {
    return this.#snapshots.last;
  }

  /** Locks that others had at the last restore. */
  get lostLocks(): number {
    return this.#snapshots.report.locks.length;
  }

  get isRunning(): boolean {
    return this.#machine.emulator.is_running() && this.#power === 'on';
  }

  /** It may run on the other side of a move that broke in its switch. */
  get isUnsettled(): boolean {
    return this.#machine.state === 'unknown';
  }

  async exec(command: string | string[], { timeout, ...options }: ExecOptions): Promise<ExecResult> {
    if (this.#power !== 'on')
      throw new Error(
        `${called(this.name)} ${this.#power === 'off' ? 'has halted: start it again, or rewind it' : 'boots: wait until it answers'}`,
      );
    await this.folder.settled();
    // What its callers get is a TimeoutError, as of every other function of a browser.
    const { signal, release } = joinSignals([], timeout);
    try {
      return await this.#machine.exec(command, { ...options, signal });
    } finally {
      release();
    }
  }

  /** `withoutFolder`: for a guest that will have the same one. */
  async freeze(name: string, summary: object, withoutFolder: boolean): Promise<FreezeResult> {
    if (this.isUnsettled)
      throw new Error(`${calledFirst(this.name)} may run on the other side of its move: say where it runs first`);
    return this.#machine.freeze(this.#store, name, {
      sessionOnly: withoutFolder && [this.device.filesystem],
      summary: () => ({ ...summary, ...this.#summary }),
    });
  }

  get #summary(): Pick<Summary, 'shells' | 'isOff'> {
    return { shells: this.shells.list(), isOff: this.#power === 'off' };
  }

  /** Goes on from a snapshot, with its shells, and the time of today. The machine has not run yet. */
  async restore(snapshot: string): Promise<void> {
    await this.#machine.fill(this.#store, snapshot, { onLockConflict: 'drop' });
    await this.#machine.goOn();
    await this.#cameBack();
  }

  /** Boots a kernel, with the folder filled from a tar archive and mounted. The machine has not run yet. */
  async boot(files: BootFiles, folder: Uint8Array<ArrayBuffer>): Promise<void> {
    await loadTar(this.device.filesystem, new Blob([folder]).stream());
    givePrograms(this.#machine, files, this.#events.problem)();
    await this.#machine.boot(files, { cmdline: cmdlineOf(this.config) });
    await this.#cameUp();
  }

  /** Of a guest that has booted: mounts its folder. */
  async #cameUp(): Promise<void> {
    await this.#machine.mount();
    this.#onMoment(undefined);
    await this.#cameBack();
  }

  async start(): Promise<void> {
    if (this.#power === 'off') await this.#bootAgain(false);
  }

  /** Snapshots have no kernel: one that goes on from them gets it when it boots. `isReset`: the machine was, and has begun anew if it could. */
  async #bootAgain(isReset: boolean): Promise<void> {
    const moment = this.#moment;
    const isPast = () => moment !== this.#moment;
    this.#hasCrashed = false;
    await this.#setPower('booting');
    await this.#events.undisturbed(async () => {
      if (isPast()) return;
      try {
        const machine = this.#machine;
        const hasBegun = isReset && machine.hasKernel;
        if (!machine.hasKernel) {
          const files = await this.#events.kernelOf(this.config);
          if (isPast()) return;
          givePrograms(machine, files, this.#events.problem);
          machine.bootsAtReset(() => files, { cmdline: cmdlineOf(this.config) });
        }
        await machine.reboot({ isReset: hasBegun });
        await this.#cameUp();
      } catch (error) {
        if (isPast()) return;
        this.#events.problem(`${calledFirst(this.name)} has halted, and can’t boot again: ${(error as Error).message}`);
        await this.#setPower('off');
      }
    });
  }

  async #setPower(power: GuestInfo['power']): Promise<void> {
    this.#power = power;
    await this.#events.changed(this.info);
  }

  /** @throws Error when {@link rewind} can't be. */
  checkRewind(snapshot: string): void {
    this.checkAlone();
    checkSame(this.#store.info(snapshot), this.config);
  }

  /** Goes to a snapshot of a machine like this one, forth or back: see {@link checkRewind}. */
  async rewind(snapshot: string): Promise<void> {
    await this.#machine.thaw(this.#store, snapshot);
    await this.#cameBack();
  }

  /** @throws Error when other guests have its folder. */
  checkAlone(): void {
    const others = this.#companions;
    if (others.length)
      throw new Error(
        `${others.map(({ name }) => calledFirst(name)).join(', ')} has the same folder, which would change under it: close it first`,
      );
  }

  /** Other guests that have its folder. */
  get #companions(): FolderUser[] {
    return [...this.#events.guests()].filter(
      ({ device }) => device !== this.device && device.filesystem === this.device.filesystem,
    );
  }

  /** The machine is at another moment, and its guest has not been heard of yet. */
  #onMoment(summary: unknown): void {
    this.#told = readSummary(summary);
    this.#moment++;
    this.#power = this.#told.isOff ? 'off' : 'on';
    this.#hasCrashed = false;
    this.folder.changed();
    this.inspector.release();
    this.root?.moved();
  }

  /** The machine runs, and its guest answers if it can: what it is to the page. */
  async #cameBack(): Promise<void> {
    const { shells, isOff } = this.#told;
    this.shells.restore(isOff ? [] : shells);
    if (!this.#companions.length) await this.lesson.tidy();
    if (!isOff && !this.#machine.isAsleep) this.#openFirstShell();
    await this.#events.changed(this.info);
  }

  /** Of a guest that answers. */
  #openFirstShell(): void {
    if (!this.shells.list().length) this.shells.open({ columns: 80, rows: 24 });
  }

  async suspend(): Promise<void> {
    if (this.#machine.isAsleep) return;
    if (this.inspector.isHeld || this.root?.isHeld)
      throw new Error(
        `${calledFirst(this.name)}'s device is paused, and a process that waits for it keeps the guest awake: continue first`,
      );
    await this.#machine.suspend();
    await this.#events.changed(this.info);
  }

  async wake(): Promise<void> {
    if (!this.#machine.isAsleep) return;
    const shells = this.shells.detach();
    try {
      await this.#machine.wake();
    } finally {
      this.shells.restore(shells);
    }
    this.#openFirstShell();
    await this.#events.changed(this.info);
  }

  /** Moves it to the other side of a channel. Afterwards it has ended here, for the caller to close. @throws as `Machine.migrate`. */
  moveOut(
    channel: MigrationChannel,
    options: Pick<MigrationOptions, 'token' | 'signal' | 'onProgress'>,
  ): Promise<MigrationResult> {
    return this.#machine.migrate(channel, options, () => this.#summary);
  }

  /** The machine, as one that another moves into: it has not run yet. */
  moveIn(): Successor {
    const { ready, ...successor } = this.#machine.moveIn();
    return {
      ...successor,
      ready: async () => {
        await ready();
        await this.#cameBack();
      },
      destroy: () => this.close(),
    };
  }

  /** Its snapshots go to another store from now on. */
  async moveTo(store: SnapshotStore): Promise<void> {
    this.#snapshots = await this.#machine.snapshotsIn(store);
    this.#store = store;
  }

  /** Calls `listener` when it is gone. */
  onEnd(listener: () => void): void {
    V86Machine.of(this.#machine.emulator).onEnd(listener);
  }

  async close(): Promise<void> {
    this.#moment++;
    this.folder.close();
    this.root?.close();
    await this.#machine.stop();
  }
}
