import type { Volume } from 'memfs';
import { filesystemOf, volumeOf } from './filesystems/memfs/volume.ts';
import { MemoryFileSystem } from './filesystems/memory/filesystem.ts';
import type { FileSystem } from './fs/filesystem.ts';
import { FuseSession, type FuseSessionOptions } from './fuse/session.ts';
import { MachineState } from './snapshot/machine-state.ts';
import { V86Machine } from './v86/adapter.ts';
import { MachineError } from './v86/errors.ts';
import type { V86Like } from './v86/types.ts';
import { PciTransport, type PciTransportOptions } from './virtio/pci-transport.ts';
import { encodeTag, VirtioFs } from './virtio-fs.ts';

/** Options of {@link attachVirtioFs}: the device itself, its filesystem, and the policy of its sessions. */
export interface VirtioFsOptions<F extends FileSystem = MemoryFileSystem>
  extends Omit<FuseSessionOptions, 'filesystem' | 'deliver'> {
  /** What the guest mounts: `mount -t virtiofs TAG /mnt`. 1 to 36 bytes of UTF-8, one device each. */
  tag: string;
  /** What is shared: one of your own, or a `MemoryFileSystem`. Several devices may share one. Default: what `volume` says. */
  filesystem?: F;
  /** The short way: a memfs `Volume`, which the host goes on using; as `filesystem: filesystemOf(volume)`. Default: a new one. */
  volume?: Volume;
  /** PCI slot (device number on bus 0). Default: the first free one, from 13. */
  slot?: number;
  /** Request queues. Default: 1. */
  requestQueues?: number;
  /** Entries of each virtqueue, a power of two, 8 to 1024; a request carries up to this less 4 pages. Default: 1024. */
  queueSize?: number;
  /**
   * Whether the guest's driver is offered notifications (VIRTIO_FS_F_NOTIFICATION): what it remembers is then taken back when somebody else changes
   * it, see `cache`. Linux' own driver does not take them, and works as without. It takes a filesystem that tells of changes, as one in memory does.
   * Default: true.
   */
  notifications?: boolean;
  /**
   * Whether the guest's driver is offered VIRTIO_FS_F_SESSION_KEEP, without which no driver suspends while the share is mounted. For those who test drivers.
   * Default: true.
   */
  sessionKeep?: boolean;
  /** Which virtio features are offered. Default: all that the transport has. */
  offer?: PciTransportOptions['offer'];
  /**
   * Milliseconds of one turn of the host's event loop that requests may take; the rest is served in later turns. With 0 each request
   * has a turn of its own. Default: 15.
   */
  turnBudget?: number;
}

/** One virtio-fs device on one emulator. */
export class VirtioFsDevice<F extends FileSystem = MemoryFileSystem> {
  readonly tag: string;
  readonly slot: number;
  readonly filesystem: F;
  readonly session: FuseSession;
  /** Settles when the device is on the emulator's PCI bus; rejects when it can't be. */
  readonly ready: Promise<void>;
  readonly #machine: V86Machine;
  #transport: PciTransport | undefined;
  /** Answers that came while the machine was stopped: its memory must not change until it runs again. */
  readonly #late: (() => void)[] = [];

  constructor(
    machine: V86Machine,
    filesystem: F,
    {
      tag,
      slot,
      requestQueues = 1,
      queueSize = 1024,
      offer,
      turnBudget,
      notifications,
      sessionKeep,
      ...sessionOptions
    }: VirtioFsOptions<F>,
  ) {
    this.#machine = machine;
    this.tag = tag;
    this.filesystem = filesystem;
    const { turns } = machine;
    this.session = new FuseSession({
      ...sessionOptions,
      filesystem,
      deliver: (action) => (turns.isRunning() ? action() : void this.#late.push(action)),
    });
    const device = new VirtioFs(this.session, { tag, requestQueues, queueSize, notifications, sessionKeep });
    this.slot = machine.reserveSlot(slot);
    machine.plug(`virtio-fs ${tag}`, this.slot, (setIrq) => {
      this.#transport = new PciTransport({ device, memory: machine.memory, setIrq, offer, turns, turnBudget });
      machine.onReset(() => this.transport.reset('machine'));
      return this.transport;
    });
    machine.onStart(() => {
      for (const answer of this.#late.splice(0)) answer();
      this.#transport?.runQueues();
    });
    machine.onEnd(() => {
      this.#late.length = 0;
      // What it was going to do later must not reach who has the emulator then.
      this.#transport?.reset('machine');
      this.session.close();
    });
    this.ready = machine.ready;
  }

  /** Whether its v86 is like one that this is tested with. Of another one the console is told. Throws {@link MachineError} before {@link ready}. */
  get isTestedV86(): boolean {
    return this.#machine.isTested;
  }

  /** The files of a filesystem in memory, for the host's `fs` API. @throws MachineError for any other filesystem. */
  get volume(): Volume {
    if (this.filesystem instanceof MemoryFileSystem) return volumeOf(this.filesystem);
    throw new MachineError(
      `the filesystem of share ${JSON.stringify(this.tag)} is not one in memory: it has no volume`,
    );
  }

  /** Registers, queues and their statistics. Throws {@link MachineError} before {@link ready}. */
  get transport(): PciTransport {
    if (!this.#transport) throw new MachineError('the emulator is still loading: await `device.ready` first');
    return this.#transport;
  }
}

/**
 * Adds a virtio-fs device to an emulator. Call it right after `new V86(…)`, so that the device is
 * there before the guest or an `initial_state` is. Its state rides in the emulator's snapshots.
 *
 * @throws RangeError for a tag, queue size or count that the guest could not use, or both `filesystem` and `volume`; {@link MachineError}
 * for a tag or slot in use or an emulator that has started already.
 */
export function attachVirtioFs<F extends FileSystem = MemoryFileSystem>(
  emulator: V86Like,
  options: VirtioFsOptions<F>,
): VirtioFsDevice<F> {
  encodeTag(options.tag);
  if (options.filesystem && options.volume)
    throw new RangeError('a share has one filesystem: give `filesystem` or `volume`');
  const machine = V86Machine.of(emulator);
  const state = MachineState.of(machine);
  if (state.devices.some(({ tag }) => tag === options.tag)) {
    throw new MachineError(
      `this emulator has a virtio-fs device with tag ${JSON.stringify(options.tag)} already: give each its own`,
    );
  }
  // Without `filesystem` the type is the default one.
  const inMemory = () => (options.volume ? filesystemOf(options.volume) : new MemoryFileSystem());
  const filesystem = options.filesystem ?? (inMemory() as FileSystem as F);
  const device = new VirtioFsDevice(machine, filesystem, options);
  state.devices.push(device);
  return device;
}
