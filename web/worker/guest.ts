import { proxyMarker } from 'comlink';
import type { V86 } from 'v86';
import {
  attachVirtioFs,
  type FreezeResult,
  loadCodec,
  loadTar,
  MachineSnapshots,
  MemoryFileSystem,
  type MigrationChannel,
  type MigrationOptions,
  type MigrationResult,
  migrateOut,
  type SnapshotStore,
  type Successor,
  type VirtioFsDevice,
} from '../../device/index.ts';
import { V86Machine } from '../../device/v86/adapter.ts';
import { GuestAgent, uartChannel } from '../../harness/machine/agent/guest-agent.ts';
import { type DirectBootImage, directBoot, directReboot } from '../../harness/machine/boot/direct-boot.ts';
import { type GuestEnd, VmError } from '../../harness/machine/errors.ts';
import { watchEnd } from '../../harness/machine/guest-end.ts';
import { renewalFor } from '../../harness/machine/renewal.ts';
import { suspendGuest, wakeGuest } from '../../harness/machine/suspend.ts';
import type { ExecOptions, ExecResult, GuestApi, GuestId, GuestInfo } from '../protocol.ts';
import { createEmulator } from './emulator.ts';
import { Folder, type FolderUser } from './folder.ts';
import { Inspector } from './inspector.ts';
import { LessonSpace } from './lesson-space.ts';
import { checkSame, type MachineSpec } from './machine-spec.ts';
import { type ShellEvents, Shells } from './shells.ts';
import { readSummary, type Summary } from './summary.ts';

/** Bytes of a shared folder: all of it is in the page's memory. */
const FOLDER_SIZE = 512 << 20;
/** Milliseconds for a cold boot, on a phone with other things to do. */
const BOOT_PATIENCE = 180_000;

const folders = new WeakMap<MemoryFileSystem, number>();
let folderCount = 0;

/** Copies of a folder have its uuid too. */
function numberOf(folder: MemoryFileSystem): number {
  if (!folders.has(folder)) folders.set(folder, ++folderCount);
  return folders.get(folder)!;
}

/** What a guest tells, and asks for. */
export interface GuestEvents extends ShellEvents {
  filesChanged(): void;
  /** It is at another moment. Settles when the page knows its shells: what it is told on another way may overtake this. */
  changed(guest: GuestInfo): void | Promise<void>;
  /** All guests there are. */
  guests(): Iterable<FolderUser>;
  /** What a machine like this boots from. @throws Error when the page does not have it. */
  kernelOf(spec: MachineSpec): Promise<DirectBootImage>;
  /** Runs what no snapshot may be taken in between, nor restored. */
  undisturbed<T>(action: () => Promise<T>): Promise<T>;
  problem(message: string): void;
}

interface GuestOptions {
  id: GuestId;
  name: string;
  spec: MachineSpec;
  store: SnapshotStore;
  events: GuestEvents;
  /** Default: a new one. */
  folder?: MemoryFileSystem;
}

/** One machine: v86, its virtio-fs device, and the agent in its guest. */
export class Guest implements GuestApi, FolderUser {
  readonly [proxyMarker] = true;
  readonly id: GuestId;
  readonly name: string;
  readonly spec: MachineSpec;
  readonly device: VirtioFsDevice;
  readonly shells: Shells;
  readonly folder: Folder;
  readonly inspector: Inspector;
  readonly lesson: LessonSpace;
  readonly #emulator: V86;
  readonly #machine: V86Machine;
  readonly #agent: GuestAgent;
  readonly #events: GuestEvents;
  #store: SnapshotStore;
  #snapshots: MachineSnapshots;
  #isAsleep = false;
  #power: GuestInfo['power'] = 'on';
  /** A reboot loads the kernel. */
  #canBoot = false;
  /** Counts the moments that it was put to, and its end: what was begun before is of no use then. */
  #moment = 0;

  private constructor(
    { id, name, spec, store, events }: GuestOptions,
    emulator: V86,
    device: VirtioFsDevice,
    snapshots: MachineSnapshots,
  ) {
    this.id = id;
    this.name = name;
    this.spec = spec;
    this.device = device;
    this.#emulator = emulator;
    this.#events = events;
    this.#store = store;
    this.#snapshots = snapshots;
    this.#agent = new GuestAgent(uartChannel(emulator));
    this.shells = new Shells(this.#agent, spec.mountPoint, events);
    this.inspector = new Inspector(device, events.guests);
    this.folder = new Folder(device, events.guests, events.filesChanged);
    this.lesson = new LessonSpace(this.folder, this.shells, this.#agent, () => this.#power === 'on' && !this.#isAsleep);
    this.#machine = V86Machine.of(emulator);
    watchEnd(this.#machine, (end, fault) => this.#onEnd(end, fault));
  }

  #onEnd(end: GuestEnd, fault?: Error): void {
    const was = this.#power;
    // One that has no kernel yet halts on its way to booting again.
    if (was === 'off' || (was === 'booting' && end !== 'crashed')) return;
    this.#agent.lose(new VmError(end, `${this.name} has ${end}`));
    if (end === 'rebooted') return void this.#bootAgain(true);
    if (end === 'crashed') {
      void this.#emulator.stop();
      if (was === 'on')
        this.#events.problem(
          `${this.name} has crashed${fault ? `: it did what the emulator can't (${fault.message})` : ': its kernel panicked'}. Start it again, or rewind it`,
        );
    }
    if (was === 'on') void this.#setPower('off');
  }

  /** The guest has come back, from whatever way: waits until it answers, with the time of now and a kernel that draws random numbers of its own. */
  async #answer(timeoutMs?: number): Promise<void> {
    await this.#agent.ready(timeoutMs, renewalFor(this.#machine));
  }

  /** A machine that has not run: {@link restore} or {@link boot} brings it to life. */
  static async create(options: GuestOptions): Promise<Guest> {
    const { spec, store, folder = new MemoryFileSystem({ size: FOLDER_SIZE }) } = options;
    let device: VirtioFsDevice;
    let snapshots: Promise<MachineSnapshots>;
    const emulator = await createEmulator(spec, (made) => {
      device = attachVirtioFs(made, { tag: spec.tag, locks: 'shared', filesystem: folder });
      snapshots = MachineSnapshots.of(made, store);
    });
    return new Guest(options, emulator, device!, await snapshots!);
  }

  get info(): GuestInfo {
    const {
      id,
      name,
      spec: { tag, mountPoint, memory },
    } = this;
    return {
      id,
      name,
      tag,
      mountPoint,
      memory,
      folder: numberOf(this.device.filesystem),
      shells: this.shells.list(),
      isAsleep: this.#isAsleep,
      isHeld: this.inspector.isHeld,
      power: this.#power,
    };
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
    return this.#emulator.is_running() && this.#power === 'on';
  }

  /** It may run on the other side of a move that broke in its switch. */
  get isUnsettled(): boolean {
    return this.#machine.lease.state === 'unknown';
  }

  async exec(command: string | string[], { timeout, ...options }: ExecOptions): Promise<ExecResult> {
    if (this.#power !== 'on')
      throw new Error(
        `${this.name} ${this.#power === 'off' ? 'has stopped: start it again, or rewind it' : 'boots: wait until it answers'}`,
      );
    await this.folder.settled();
    await this.#machine.lease.decided();
    this.#machine.lease.check('run a command in');
    const { stdout, stderr, code } = await this.#agent.exec(command, { ...options, timeoutMs: timeout });
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { stdout: text(stdout), stderr: text(stderr), code };
  }

  async freeze(name: string, summary: object, sessionOnly: boolean): Promise<FreezeResult> {
    if (this.isUnsettled)
      throw new Error(`${this.name} may run on the other side of its move: say first where it runs`);
    return this.#snapshots.freeze({
      name,
      machine: this.spec.machine,
      summary: () => ({ ...summary, ...this.#summary }),
      sessionOnly,
    });
  }

  get #summary(): Pick<Summary, 'shells' | 'isAsleep' | 'isOff'> {
    return { shells: this.shells.list(), isAsleep: this.#isAsleep, isOff: this.#power === 'off' };
  }

  /** Goes on from a snapshot, with its shells, and the time of today. The machine has not run yet. */
  async restore(snapshot: string): Promise<void> {
    await this.#snapshots.restore(snapshot, { isFresh: true, onLockConflict: 'drop' });
    await this.#emulator.run();
    await this.#goOn(this.#store.info(snapshot).summary);
  }

  /** Boots a kernel, with the folder filled from a tar archive and mounted. The machine has not run yet. */
  async boot(kernel: DirectBootImage, folder: Uint8Array<ArrayBuffer>): Promise<void> {
    await loadTar(this.device.filesystem, new Blob([folder]).stream());
    directBoot(this.#emulator, kernel);
    this.#canBoot = true;
    await this.#emulator.run();
    await this.#comeUp();
  }

  /** Of a guest that boots: mounts its folder. */
  async #comeUp(): Promise<void> {
    const { tag, mountPoint } = this.spec;
    await this.#answer(BOOT_PATIENCE);
    const { code, stderr } = await this.#agent.exec([
      '/bin/sh',
      '-c',
      'mkdir -p "$2" && mount -t virtiofs "$1" "$2"',
      'sh',
      tag,
      mountPoint,
    ]);
    if (code !== 0) throw new Error(`the guest could not mount its folder: ${new TextDecoder().decode(stderr).trim()}`);
    await this.#goOn(undefined);
  }

  async start(): Promise<void> {
    if (this.#power === 'off') await this.#bootAgain(false);
  }

  /** Snapshots have no kernel: one that goes on from them gets it when it boots. `isReset`: the machine was, and has begun anew if it could. */
  async #bootAgain(isReset: boolean): Promise<void> {
    const moment = this.#moment;
    const isPast = () => moment !== this.#moment;
    await this.#setPower('booting');
    await this.#events.undisturbed(async () => {
      if (isPast()) return;
      try {
        if (!this.#canBoot) {
          const kernel = await this.#events.kernelOf(this.spec);
          if (isPast()) return;
          directReboot(this.#emulator, () => kernel);
        }
        if (!this.#canBoot || !isReset) this.#emulator.restart();
        this.#canBoot = true;
        await this.#emulator.run();
        await this.#comeUp();
      } catch (error) {
        if (isPast()) return;
        this.#events.problem(`${this.name} has stopped, and can't boot again: ${(error as Error).message}`);
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
    checkSame(this.#store.info(snapshot), this.spec);
  }

  /** Goes to a snapshot of a machine like this one, forth or back: see {@link checkRewind}. */
  async rewind(snapshot: string): Promise<void> {
    await this.#snapshots.restore(snapshot);
    await this.#emulator.run();
    await this.#goOn(this.#store.info(snapshot).summary);
  }

  /** @throws Error when other guests have its folder. */
  checkAlone(): void {
    const others = this.#companions;
    if (others.length)
      throw new Error(
        `${others.map(({ name }) => name).join(', ')} has the same folder, which would change under it: close it first`,
      );
  }

  /** Other guests that have its folder. */
  get #companions(): FolderUser[] {
    return [...this.#events.guests()].filter(
      ({ device }) => device !== this.device && device.filesystem === this.device.filesystem,
    );
  }

  /** Of the machine, which runs: what it is to the page. */
  async #goOn(summary: unknown): Promise<void> {
    const { shells, isAsleep, isOff } = readSummary(summary);
    const answers = !isAsleep && !isOff;
    this.#moment++;
    this.#power = isOff ? 'off' : 'on';
    this.folder.changed();
    this.inspector.release();
    this.#isAsleep = isAsleep;
    if (answers) await this.#answer();
    this.shells.restore(isOff ? [] : shells);
    if (!this.#companions.length) await this.lesson.tidy();
    if (answers) this.#openFirstShell();
    await this.#events.changed(this.info);
  }

  /** Of a guest that answers. */
  #openFirstShell(): void {
    if (!this.shells.list().length) this.shells.open({ columns: 80, rows: 24 });
  }

  async suspend(): Promise<void> {
    if (this.#isAsleep) return;
    if (this.inspector.isHeld)
      throw new Error(`${this.name}'s device is paused, and who waits for it keeps the guest awake: continue first`);
    await this.#machine.lease.inTurn('suspend', async () => {
      await suspendGuest({ emulator: this.#emulator, agent: this.#agent });
      this.#isAsleep = true;
    });
    await this.#events.changed(this.info);
  }

  async wake(): Promise<void> {
    if (!this.#isAsleep) return;
    const shells = this.shells.detach();
    try {
      await this.#machine.lease.inTurn('wake', () =>
        wakeGuest({ emulator: this.#emulator }, (timeoutMs) => this.#answer(timeoutMs)),
      );
    } catch (error) {
      this.shells.restore(shells);
      throw error;
    }
    this.#isAsleep = false;
    this.shells.restore(shells);
    this.#openFirstShell();
    await this.#events.changed(this.info);
  }

  /** Moves it to the other side of a channel. Afterwards it stands still here, for the caller to close. @throws as `migrateOut`. */
  moveOut(
    channel: MigrationChannel,
    options: Pick<MigrationOptions, 'token' | 'signal' | 'onProgress'>,
  ): Promise<MigrationResult> {
    return migrateOut(this.#emulator, channel, {
      ...options,
      machine: this.spec.machine,
      summary: () => this.#summary,
      codec: loadCodec(),
    });
  }

  /** The machine, as one that another moves into: it has not run yet. */
  moveIn(): Successor {
    let came: unknown;
    return {
      emulator: this.#emulator,
      start: (summary) => {
        came = summary;
        return this.#emulator.run();
      },
      ready: () => this.#goOn(came),
      destroy: () => this.close(),
    };
  }

  /** Its snapshots go to another store from now on. */
  async moveTo(store: SnapshotStore): Promise<void> {
    this.#snapshots = await MachineSnapshots.of(this.#emulator, store);
    this.#store = store;
  }

  /** Calls `listener` when it is gone. */
  onEnd(listener: () => void): void {
    this.#machine.onEnd(listener);
  }

  async close(): Promise<void> {
    this.#moment++;
    this.folder.close();
    await this.#emulator.destroy();
  }
}
