import { MemfsBackend } from '../fs/memfs-backend.ts';
import { FuseSession } from '../fuse/session.ts';
import type { StateCarrier, V86Machine } from '../v86/adapter.ts';
import { PciTransport } from '../virtio/pci-transport.ts';
import type { Chain } from '../virtio/device.ts';
import { decodeBlob, encodeBlob } from './blob.ts';
import { SnapshotError } from './errors.ts';

/** Version of the schema below. */
const VERSION = 1;
/** Of `unique` in `fuse_in_header`. */
const UNIQUE_OFFSET = 8;

/**
 * Everything the virtio-fs devices of one machine carry through a snapshot. Filesystems stand apart
 * because several devices may share one.
 */
export interface SavedMachine {
  devices: { tag: string; slot: number; filesystem: number; transport: unknown; session: unknown }[];
  filesystems: unknown[];
}

/** What a device brings with it; whoever makes devices adds them to {@link MachineState.devices}. */
interface StatefulDevice {
  readonly tag: string;
  readonly slot: number;
  readonly backend: MemfsBackend;
  readonly transport: PciTransport;
  readonly session: FuseSession;
}

/** The virtio-fs devices of one machine, and their way into and out of its snapshots. */
export class MachineState implements StateCarrier {
  static readonly #all = new WeakMap<V86Machine, MachineState>();

  static of(machine: V86Machine): MachineState {
    let state = MachineState.#all.get(machine);
    if (!state) {
      state = new MachineState();
      MachineState.#all.set(machine, state);
      machine.stateCarrier = state;
    }
    return state;
  }

  readonly devices: StatefulDevice[] = [];

  save(): Uint8Array {
    return encodeBlob(VERSION, this.capture());
  }

  prepare(blob: Uint8Array | undefined): () => void {
    if (!blob) {
      throw new SnapshotError('this snapshot was taken without v86-virtiofs, so it has no session to restore: restore it on an emulator without virtio-fs devices');
    }
    return this.prepareState(decodeBlob(VERSION, blob));
  }

  /** The state as plain data. Bytes of files in it are borrowed, and never change: a later write goes to a copy. */
  capture(): SavedMachine {
    const backends = [...new Set(this.devices.map(({ backend }) => backend))];
    return {
      devices: this.devices.map(({ tag, slot, backend, transport, session }) => ({
        tag,
        slot,
        filesystem: backends.indexOf(backend),
        transport: transport.state(),
        session: session.state(),
      })),
      filesystems: backends.map((backend) => backend.state()),
    };
  }

  /** As {@link prepare}, from what {@link capture} gave. */
  prepareState(state: unknown): () => void {
    const saved = checkShape(state);
    const found = saved.devices.map(({ tag, slot }) => `${JSON.stringify(tag)} in slot ${slot}`).join(', ');
    const here = this.devices.map(({ tag, slot }) => `${JSON.stringify(tag)} in slot ${slot}`).join(', ');
    if (found !== here) throw new SnapshotError(`the virtio-fs devices differ: the snapshot has ${found}; this emulator ${here}; attach the snapshot's`);

    const backends: MemfsBackend[] = [];
    const filesystems = saved.filesystems.map((state) => MemfsBackend.checkState(state));
    const plans = saved.devices.map((state, index) => {
      const device = this.devices[index]!;
      const filesystem = filesystems[state.filesystem];
      if (!filesystem) throw new SnapshotError(`device ${JSON.stringify(device.tag)} names filesystem ${state.filesystem} of ${filesystems.length}`);
      if ((backends[state.filesystem] ??= device.backend) !== device.backend) {
        throw new SnapshotError(`device ${JSON.stringify(device.tag)} shared its filesystem with another in the snapshot: give both the same volume`);
      }
      return {
        device,
        transport: PciTransport.checkState(state.transport, device.transport),
        session: FuseSession.checkState(state.session, filesystem),
      };
    });
    if (new Set(backends).size !== filesystems.length || new Set(this.devices.map(({ backend }) => backend)).size !== filesystems.length) {
      throw new SnapshotError('devices that had filesystems of their own in the snapshot share one here: give each its own volume');
    }

    return () => {
      filesystems.forEach((state, index) => backends[index]!.restore(state));
      for (const { device, transport, session } of plans) {
        device.transport.restoreState(transport);
        device.session.restore(session, waitingRequests(device.transport));
      }
      for (const backend of backends) backend.settle();
    };
  }
}

/** Finds the chains that are with the device by the `unique` of their `fuse_in_header`. */
function waitingRequests(transport: PciTransport): (unique: bigint) => Chain | undefined {
  const header = new DataView(new ArrayBuffer(UNIQUE_OFFSET + 8));
  const chains = new Map<bigint, Chain>();
  for (const queue of transport.queues) {
    for (const chain of queue.inFlight) {
      chain.source.read(new Uint8Array(header.buffer), 0, header.byteLength);
      chains.set(header.getBigUint64(UNIQUE_OFFSET, true), chain);
    }
  }
  return (unique) => chains.get(unique);
}

function checkShape(saved: unknown): SavedMachine {
  const { devices, filesystems } = (saved ?? {}) as Partial<SavedMachine>;
  if (!Array.isArray(devices) || !Array.isArray(filesystems)) throw new SnapshotError('the virtio-fs state has no devices or filesystems');
  for (const device of devices) {
    if (typeof device?.tag !== 'string' || !Number.isInteger(device.slot) || !Number.isInteger(device.filesystem)) {
      throw new SnapshotError('the virtio-fs state has a device without tag, slot or filesystem');
    }
  }
  return { devices, filesystems };
}
