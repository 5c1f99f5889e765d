import { proxyMarker } from 'comlink';
import type { V86 } from 'v86';
import { attachVirtioFs, MachineSnapshots, MemfsBackend, Volume, type SnapshotStore, type VirtioFsDevice } from '../../device/index.ts';
import type { Emulator } from '../../device/v86/types.ts';
import { GuestAgent, uartChannel, type UartBus } from '../../harness/guest-agent.ts';
import type { GuestApi, GuestId, GuestInfo, GuestManifest } from '../protocol.ts';
import { createEmulator } from './emulator.ts';
import { Folder, type FolderUser } from './folder.ts';
import { Shells, type SavedShell, type ShellEvents } from './shells.ts';

/** Bytes of a shared folder: all of it is in the page's memory. */
const FOLDER_SIZE = 512 << 20;

/** What the page keeps in a snapshot besides the machine. */
interface Summary {
  shells?: SavedShell[];
}

/** What a guest tells, and asks for. */
export interface GuestEvents extends ShellEvents {
  filesChanged(): void;
  /** All guests there are. */
  guests(): Iterable<FolderUser>;
}

/** One machine: v86, its virtio-fs device, and the agent in its guest. */
export class Guest implements GuestApi, FolderUser {
  readonly [proxyMarker] = true;
  readonly id: GuestId;
  readonly name: string;
  readonly manifest: GuestManifest;
  readonly device: VirtioFsDevice;
  readonly shells: Shells;
  readonly folder: Folder;
  readonly #emulator: V86;
  readonly #agent: GuestAgent;
  readonly #store: SnapshotStore;
  readonly #snapshots: MachineSnapshots;

  private constructor(parts: { id: GuestId; name: string; manifest: GuestManifest; emulator: V86; device: VirtioFsDevice; store: SnapshotStore; snapshots: MachineSnapshots; events: GuestEvents }) {
    this.id = parts.id;
    this.name = parts.name;
    this.manifest = parts.manifest;
    this.device = parts.device;
    this.#emulator = parts.emulator;
    this.#store = parts.store;
    this.#snapshots = parts.snapshots;
    this.#agent = new GuestAgent(uartChannel(parts.emulator as unknown as UartBus));
    this.shells = new Shells(this.#agent, parts.manifest.mountPoint, parts.events);
    this.folder = new Folder(parts.device, parts.events.guests, parts.events.filesChanged);
  }

  /** A machine like that of `manifest`, that has not run: {@link restore} brings it to life. */
  static async create({ id, name, manifest, store, events }: { id: GuestId; name: string; manifest: GuestManifest; store: SnapshotStore; events: GuestEvents }): Promise<Guest> {
    let device: VirtioFsDevice;
    let snapshots: Promise<MachineSnapshots>;
    const emulator = await createEmulator(manifest.memory, (made) => {
      device = attachVirtioFs(made, { tag: manifest.tag, locks: 'shared', volume: MemfsBackend.of(new Volume(), { size: FOLDER_SIZE }) });
      snapshots = MachineSnapshots.of(made as unknown as Emulator, store);
    });
    return new Guest({ id, name, manifest, emulator, device: device!, store, snapshots: await snapshots!, events });
  }

  get info(): GuestInfo {
    const { id, name, manifest: { tag, mountPoint, memory } } = this;
    return { id, name, tag, mountPoint, memory, shells: this.shells.list() };
  }

  /** Goes on where a snapshot was taken, with its shells, and the time of today. */
  async restore(snapshot: string): Promise<void> {
    await this.#snapshots.restore(snapshot);
    this.folder.changed();
    await this.#emulator.run();
    await this.#agent.ready();
    this.shells.restore((this.#store.info(snapshot).summary as Summary).shells ?? []);
    await this.#agent.exec(['date', '-u', '-s', `@${Math.round(Date.now() / 1000)}`]);
  }
}
