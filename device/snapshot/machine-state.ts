import { LockTable } from '../fs/locks.ts';
import { type CheckedMemfsBackendState, MemfsBackend } from '../fs/memfs-backend.ts';
import { FuseSession, type InodeIndex } from '../fuse/session.ts';
import { randomUuid } from '../random-uuid.ts';
import type { StateCarrier, V86Machine } from '../v86/adapter.ts';
import type { Chain } from '../virtio/device.ts';
import { PciTransport } from '../virtio/pci-transport.ts';
import { decodeBlob, encodeBlob } from './blob.ts';
import { SnapshotError } from './errors.ts';
import {
  emptyRestoreReport,
  type FilesystemIdentity,
  identify,
  planLocks,
  type RestorePolicies,
  type RestoreReport,
  renameSessions,
  type SessionNames,
} from './session-only.ts';
import { checkStateVersion, STATE_VERSION, upgradeState } from './upgrades.ts';

/** What the columns of the schema take for an inode and an entry that names it, amply. */
const INODE_BYTES = 256;
/** Of a filesystem that has stayed where it is. */
const ANY_INODE: InodeIndex = { inode: () => undefined };
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
  /** What a restore does with what can't come back, unless it is told otherwise. */
  policies: RestorePolicies = {};
  /** Of the last restore. */
  report: RestoreReport = emptyRestoreReport();

  /** Bytes that the filesystems may hold, what is kept about their inodes included. */
  get capacity(): number {
    return this.#backends.reduce(
      (sum, { space: { maxBytes, maxInodes } }) => sum + maxBytes + maxInodes * INODE_BYTES,
      0,
    );
  }

  save(): Uint8Array {
    const state = this.capture();
    this.judge(state);
    return encodeBlob(STATE_VERSION, state);
  }

  prepare(blob: Uint8Array | undefined): () => void {
    if (!blob) {
      throw new SnapshotError(
        'this snapshot was taken without v86-virtiofs, so it has no session to restore: restore it on an emulator without virtio-fs devices',
      );
    }
    const { version, payload } = decodeBlob(blob, checkStateVersion);
    return this.prepareState(readState(version, payload));
  }

  /**
   * The state as plain data. Bytes of files in it are borrowed, and never change: a later write goes
   * to a copy. `sessionOnly`: filesystems stay where they are, and only their identity is in it.
   */
  capture(sessionOnly = false): SavedMachine {
    const backends = this.#backends;
    const sessions = new Set(this.devices.map(({ session }) => session.name));
    return {
      devices: this.devices.map(({ tag, slot, backend, transport, session }) => ({
        tag,
        slot,
        filesystem: backends.indexOf(backend),
        transport: transport.state(),
        session: session.state(),
      })),
      filesystems: backends.map((backend) => {
        const identity = identify(backend.uuid, backend.locks, sessions);
        return sessionOnly ? identity : { ...backend.state(), locks: identity.locks };
      }),
    };
  }

  /** The content of all files, as {@link capture} gives it. Borrowed, and changed by the next write unless it was captured before. */
  *contents(): Generator<Uint8Array> {
    for (const { inodes } of this.#backends) {
      for (const { content } of inodes.values())
        if (content) for (const chunk of content.chunks()) yield chunk.stored();
    }
  }

  /**
   * Judges a state as a restore in this machine would, but for what the guest changes while it runs on.
   *
   * @throws SnapshotError for one that could not be restored.
   */
  judge(saved: SavedMachine): void {
    const backends = this.#match(saved);
    const indexes = saved.filesystems.map((state, index) =>
      sound(`filesystem ${index + 1}`, () => judgeFilesystem(state, backends[index]!)),
    );
    this.devices.forEach(({ tag, transport: here }, index) => {
      const { transport, session, filesystem } = saved.devices[index]!;
      sound(`device ${JSON.stringify(tag)}`, () => {
        const { missing } = FuseSession.checkState(session, indexes[filesystem] ?? ANY_INODE);
        if (indexes[filesystem] && missing.length)
          throw new SnapshotError(
            `the guest knows inodes that the filesystem does not have: ${missing.slice(0, 10).join(', ')}`,
          );
        PciTransport.checkState(transport, here);
      });
    });
  }

  get #backends(): MemfsBackend[] {
    return [...new Set(this.devices.map(({ backend }) => backend))];
  }

  /** As {@link prepare}, from what {@link readState} or {@link capture} gave. */
  prepareState(saved: SavedMachine, policies = this.policies): () => void {
    const backends = this.#match(saved);
    const report = emptyRestoreReport();
    const names = this.#namesFor(saved, policies);
    const filesystems = saved.filesystems.map((filesystem, index) =>
      sound(`filesystem ${index + 1}`, () => planFilesystem(filesystem, backends[index]!, names, policies, report)),
    );
    const plans = this.devices.map((device, index) => {
      const { transport, session, filesystem } = saved.devices[index]!;
      return sound(`device ${JSON.stringify(device.tag)}`, () => {
        const checked = FuseSession.checkState(session, filesystems[filesystem]!.index);
        const { onMissingInode = 'fail' } = policies;
        if (checked.missing.length && onMissingInode === 'fail') {
          throw new SnapshotError(
            `the filesystem does not have inodes ${checked.missing.slice(0, 10).join(', ')} any more, which the guest knows: bring them back, or restore with onMissingInode "stale"`,
          );
        }
        report.missingInodes.push(...checked.missing.map((ino) => ({ tag: device.tag, ino })));
        return {
          device,
          filesystem,
          transport: PciTransport.checkState(transport, device.transport),
          session: checked,
        };
      });
    });
    return () => {
      const waiters = filesystems.map(({ apply }) => apply());
      for (const { device, filesystem, transport, session } of plans) {
        device.transport.restoreState(transport);
        const renumbered = session.waiters.map(({ unique, waiter }) => ({
          unique,
          waiter: waiters[filesystem]!.get(waiter) ?? waiter,
        }));
        device.session.restore(
          { ...session, session: names.renamed.get(session.session) ?? session.session, waiters: renumbered },
          waitingRequests(device.transport),
        );
      }
      for (const backend of backends) backend.settle();
      this.report = report;
    };
  }

  /**
   * A session has one machine. One that still is on another, on a filesystem that has stayed where it is, gets a new name here unless it moves;
   * and so does one that comes with a copy of its filesystem into another machine, since the first may follow and must not be taken for it.
   */
  #namesFor(saved: SavedMachine, { isMove = false }: RestorePolicies): SessionNames {
    const replaced = new Set(this.devices.filter(({ session }) => session.isHere).map(({ session }) => session.name));
    const renamed = new Map<string, string>();
    saved.devices.forEach(({ session: state, filesystem }, index) => {
      const { session: name } = state as { session: string };
      const { sessionOnly } = (saved.filesystems[filesystem] ?? {}) as Partial<FilesystemIdentity>;
      const isElsewhere =
        !replaced.has(name) && (!sessionOnly || this.devices[index]!.backend.locks.ownerOf(name) !== undefined);
      if (isElsewhere && !isMove) renamed.set(name, randomUuid());
      else replaced.add(name);
    });
    return { replaced, renamed };
  }

  /** The backend for each saved filesystem. @throws SnapshotError when the devices are not those of the snapshot. */
  #match(saved: SavedMachine): MemfsBackend[] {
    const tell = (devices: { tag: string; slot: number }[]) =>
      devices.map(({ tag, slot }) => `${JSON.stringify(tag)} in slot ${slot}`).join(', ') || 'none';
    const [found, here] = [tell(saved.devices), tell([...this.devices])];
    if (found !== here)
      throw new SnapshotError(
        `the virtio-fs devices differ: the snapshot has ${found}; this emulator ${here}; attach the snapshot's`,
      );
    const backends: MemfsBackend[] = [];
    saved.devices.forEach(({ filesystem }, index) => {
      const { tag, backend } = this.devices[index]!;
      if (!(filesystem in saved.filesystems))
        throw new SnapshotError(
          `device ${JSON.stringify(tag)} names filesystem ${filesystem} of ${saved.filesystems.length}`,
        );
      if ((backends[filesystem] ??= backend) !== backend) {
        throw new SnapshotError(
          `device ${JSON.stringify(tag)} shared its filesystem with another in the snapshot: give both the same volume`,
        );
      }
    });
    if (new Set(backends).size !== saved.filesystems.length || this.#backends.length !== saved.filesystems.length) {
      throw new SnapshotError(
        'devices that had filesystems of their own in the snapshot share one here: give each its own volume',
      );
    }
    return backends;
  }
}

interface FilesystemPlan {
  index: InodeIndex;
  /** Gives the new numbers of waiters that have others now. */
  apply(): Map<number, number>;
}

function planFilesystem(
  state: unknown,
  backend: MemfsBackend,
  names: SessionNames,
  policies: RestorePolicies,
  report: RestoreReport,
): FilesystemPlan {
  const checked = judgeFilesystem(state, backend);
  if (checked) {
    const locks = renameSessions(checked.locks, names);
    return { index: checked, apply: () => (backend.restore({ ...checked, locks }), new Map()) };
  }
  const { locks } = state as FilesystemIdentity;
  return { index: backend, apply: planLocks(backend.locks, LockTable.checkState(locks), names, policies, report) };
}

/** The state, checked; undefined for one of sessions only. */
function judgeFilesystem(state: unknown, backend: MemfsBackend): CheckedMemfsBackendState | undefined {
  const { sessionOnly, uuid, locks } = (state ?? {}) as Partial<FilesystemIdentity>;
  if (sessionOnly) {
    if (uuid !== backend.uuid)
      throw new SnapshotError(
        `the snapshot is of sessions on filesystem ${uuid}, which has stayed where it was; this device has ${backend.uuid}: attach it with the same volume`,
      );
    LockTable.checkState(locks);
    return undefined;
  }
  const checked = MemfsBackend.checkState(state);
  backend.checkFits(checked);
  return checked;
}

/** Whatever a check says is the snapshot's fault. */
function sound<T>(what: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(`the snapshot can't be restored, ${what}: ${(error as Error).message}`, { cause: error });
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

/** A foreign state as one of this release's schema. @throws SnapshotError unless it has devices and filesystems, and is of a version that this release reads. */
export function readState(version: number, state: unknown): SavedMachine {
  return upgradeState(version, checkShape(state));
}

function checkShape(saved: unknown): SavedMachine {
  const { devices, filesystems } = (saved ?? {}) as Partial<SavedMachine>;
  if (!Array.isArray(devices) || !Array.isArray(filesystems))
    throw new SnapshotError('the virtio-fs state has no devices or filesystems');
  for (const device of devices) {
    if (typeof device?.tag !== 'string' || !Number.isInteger(device.slot) || !Number.isInteger(device.filesystem)) {
      throw new SnapshotError('the virtio-fs state has a device without tag, slot or filesystem');
    }
  }
  return { devices, filesystems };
}
