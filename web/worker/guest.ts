import { proxyMarker } from 'comlink';
import type { V86 } from 'v86';
import {
  attachVirtioFs, MachineSnapshots, MemfsBackend, Volume, type FreezeResult, type SnapshotStore, type VirtioFsDevice,
} from '../../device/index.ts';
import type { Emulator } from '../../device/v86/types.ts';
import { GuestAgent, uartChannel, type UartBus } from '../../harness/guest-agent.ts';
import type { ExecOptions, ExecResult, GuestApi, GuestId, GuestInfo } from '../protocol.ts';
import { createEmulator } from './emulator.ts';
import { Folder, type FolderUser } from './folder.ts';
import { Inspector } from './inspector.ts';
import { checkSame, type MachineSpec } from './machine-spec.ts';
import { Shells, type SavedShell, type ShellEvents } from './shells.ts';

/** Bytes of a shared folder: all of it is in the page's memory. */
const FOLDER_SIZE = 512 << 20;

const folders = new WeakMap<MemfsBackend, number>();
let folderCount = 0;

/** Copies of a folder have its uuid too. */
function numberOf(folder: MemfsBackend): number {
  if (!folders.has(folder)) folders.set(folder, ++folderCount);
  return folders.get(folder)!;
}

/** What a guest tells, and asks for. */
export interface GuestEvents extends ShellEvents {
  filesChanged(): void;
  /** It is at another moment. */
  changed(guest: GuestInfo): void;
  /** All guests there are. */
  guests(): Iterable<FolderUser>;
}

interface GuestOptions {
  id: GuestId;
  name: string;
  spec: MachineSpec;
  store: SnapshotStore;
  events: GuestEvents;
  /** Default: a new one. */
  folder?: MemfsBackend;
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
  readonly #emulator: V86;
  readonly #agent: GuestAgent;
  readonly #events: GuestEvents;
  #store: SnapshotStore;
  #snapshots: MachineSnapshots;

  private constructor({ id, name, spec, store, events }: GuestOptions, emulator: V86, device: VirtioFsDevice, snapshots: MachineSnapshots) {
    this.id = id;
    this.name = name;
    this.spec = spec;
    this.device = device;
    this.#emulator = emulator;
    this.#events = events;
    this.#store = store;
    this.#snapshots = snapshots;
    this.#agent = new GuestAgent(uartChannel(emulator as unknown as UartBus));
    this.shells = new Shells(this.#agent, spec.mountPoint, events);
    this.inspector = new Inspector(device, events.guests);
    this.folder = new Folder(device, events.guests, events.filesChanged);
  }

  /** A machine that has not run: {@link restore} brings it to life. */
  static async create(options: GuestOptions): Promise<Guest> {
    const { spec, store, folder = MemfsBackend.of(new Volume(), { size: FOLDER_SIZE }) } = options;
    let device: VirtioFsDevice;
    let snapshots: Promise<MachineSnapshots>;
    const emulator = await createEmulator(spec, (made) => {
      device = attachVirtioFs(made, { tag: spec.tag, locks: 'shared', volume: folder });
      snapshots = MachineSnapshots.of(made as unknown as Emulator, store);
    });
    return new Guest(options, emulator, device!, await snapshots!);
  }

  get info(): GuestInfo {
    const { id, name, spec: { tag, mountPoint, memory } } = this;
    return { id, name, tag, mountPoint, memory, folder: numberOf(this.device.backend), shells: this.shells.list() };
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
    return this.#emulator.is_running();
  }

  async exec(command: string | string[], { timeout, ...options }: ExecOptions): Promise<ExecResult> {
    await this.folder.settled();
    const { stdout, stderr, code } = await this.#agent.exec(command, { ...options, timeoutMs: timeout });
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    return { stdout: text(stdout), stderr: text(stderr), code };
  }

  freeze(name: string, summary: object, sessionOnly: boolean): Promise<FreezeResult> {
    return this.#snapshots.freeze({ name, machine: this.spec.machine, summary: { ...summary, shells: this.shells.list() }, sessionOnly });
  }

  /** Goes on from a snapshot, with its shells, and the time of today. The machine has not run yet. */
  async restore(snapshot: string): Promise<void> {
    await this.#snapshots.restore(snapshot, { isFresh: true, onLockConflict: 'drop' });
    await this.#goOn(snapshot);
  }

  /** Goes to a snapshot of a machine like this one, forth or back. */
  async rewind(snapshot: string): Promise<void> {
    const others = [...this.#events.guests()].filter(({ device }) => device !== this.device && device.backend === this.device.backend);
    if (others.length) throw new Error(`${others.map(({ name }) => name).join(', ')} has the same folder, which would change under it: close it first`);
    checkSame(this.#store.info(snapshot), this.spec);
    await this.#snapshots.restore(snapshot);
    await this.#goOn(snapshot);
  }

  async #goOn(snapshot: string): Promise<void> {
    this.folder.changed();
    this.inspector.release();
    await this.#emulator.run();
    await this.#agent.ready();
    const { shells = [] } = (this.#store.info(snapshot).summary ?? {}) as { shells?: SavedShell[] };
    this.shells.restore(shells);
    if (!shells.length) this.shells.open({ columns: 80, rows: 24 });
    this.#events.changed(this.info);
    await this.#agent.exec(['date', '-u', '-s', `@${Math.round(Date.now() / 1000)}`]);
  }

  /** Its snapshots go to another store from now on. */
  async moveTo(store: SnapshotStore): Promise<void> {
    this.#snapshots = await MachineSnapshots.of(this.#emulator as unknown as Emulator, store);
    this.#store = store;
  }

  async close(): Promise<void> {
    await this.#emulator.destroy();
  }
}
