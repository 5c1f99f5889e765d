import type { FileSystem } from '../fs/filesystem.ts';
import { GRANTED, REFUSED } from '../fs/locks.ts';
import { locksOf, uuidOf } from '../fs/shared.ts';
import { FuseSession, type InodeIndex } from '../fuse/session.ts';
import { randomUuid } from '../random-uuid.ts';
import type { StateCarrier, V86Machine } from '../v86/adapter.ts';
import type { DescriptorChain } from '../virtio/descriptor-chain.ts';
import { PciTransport } from '../virtio/pci-transport.ts';
import { decodeBlob, encodeBlob } from './blob.ts';
import { SnapshotError } from './errors.ts';
import { judgeFilesystem, orRefuse, planFilesystem } from './saved-filesystem.ts';
import {
  emptyRestoreReport,
  type FilesystemIdentity,
  identify,
  type RestorePolicies,
  type RestoreReport,
  type SessionNames,
} from './session-only.ts';
import { checkStateVersion, STATE_VERSION, upgradeState } from './upgrades.ts';

/** Of a filesystem that has stayed where it is. */
const ANY_INODE: InodeIndex = { inode: () => undefined };
/** Of `unique` in `fuse_in_header`. */
const UNIQUE_OFFSET = 8;
/** Milliseconds that what is being changed may take before a snapshot. */
const PATIENCE = 10_000;

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
  readonly filesystem: FileSystem;
  readonly transport: PciTransport;
  readonly session: FuseSession;
}

/** The virtio-fs devices of one machine, and their way into and out of its snapshots. */
export class MachineState implements StateCarrier {
  /** That of a machine, until another has its emulator. */
  static of(machine: V86Machine): MachineState {
    const { stateCarrier } = machine;
    if (stateCarrier instanceof MachineState) return stateCarrier;
    const state = new MachineState();
    machine.stateCarrier = state;
    return state;
  }

  readonly devices: StatefulDevice[] = [];
  /** What a restore does with what can't come back, unless it is told otherwise. */
  policies: RestorePolicies = {};
  /** Of the last restore. */
  report: RestoreReport = emptyRestoreReport();

  /** Bytes that the filesystems may hold, what is kept about their inodes included. */
  get capacity(): number {
    return this.#filesystems.reduce((sum, { persistence }) => sum + (persistence?.capacity ?? 0), 0);
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
   * to a copy. `sessionOnly`: filesystems stay where they are, all or these, and only their identity is in it.
   */
  capture(sessionOnly: boolean | readonly FileSystem[] = false): SavedMachine {
    const changing = this.#changing;
    if (changing.length) {
      throw new SnapshotError(
        `${changing.join(', ')} changes a filesystem that has not answered yet: wait until it has, or freeze into a store, which waits`,
      );
    }
    const filesystems = this.#filesystems;
    const sessions = new Set(this.devices.map(({ session }) => session.id));
    return {
      devices: this.devices.map(({ tag, slot, filesystem, transport, session }) => ({
        tag,
        slot,
        filesystem: filesystems.indexOf(filesystem),
        transport: transport.state(),
        session: session.state(),
      })),
      filesystems: filesystems.map((filesystem) => {
        const identity = identify(uuidOf(filesystem), locksOf(filesystem), sessions);
        const { persistence } = filesystem;
        const stays = Array.isArray(sessionOnly) ? sessionOnly.includes(filesystem) : sessionOnly;
        return stays || !persistence ? identity : { ...persistence.state(), locks: identity.locks };
      }),
    };
  }

  /** The states of the filesystems whose files go with snapshots, as {@link capture} gives them. */
  files(): object[] {
    return this.#filesystems.flatMap(({ persistence }) => persistence?.state() ?? []);
  }

  /** What has begun to change a filesystem and is not done, by device and opcode. */
  get #changing(): string[] {
    return this.devices.flatMap(({ tag, session }) => session.changing.map((opcode) => `${tag}: ${opcode}`));
  }

  /**
   * Settles when nothing has begun to change a filesystem and is not done, for {@link capture} in the same turn; no more is begun until what
   * it gives is called, which lets the devices go on. The machine has to run, and where nothing is being changed, there is nothing to wait for.
   *
   * @throws SnapshotError when it takes longer than `patience` milliseconds, that says what.
   */
  async still(patience = PATIENCE): Promise<() => void> {
    const held = this.devices.map(({ transport }) => transport);
    const resume = () => {
      for (const transport of held) transport.release(resume);
    };
    for (const transport of held) transport.hold(resume);
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const what = this.#changing.join(', ');
        reject(
          new SnapshotError(
            `${what} has not been answered by its filesystem for ${patience / 1000} s: try again when it has`,
          ),
        );
      }, patience);
    });
    try {
      await Promise.race([Promise.all(this.devices.map(({ session }) => session.settled())), late]);
      return resume;
    } catch (error) {
      resume();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether {@link still} has to be waited for. */
  get isChanging(): boolean {
    return this.#changing.length > 0;
  }

  /**
   * Judges a state as a restore in this machine would, but for what the guest changes while it runs on.
   *
   * @throws SnapshotError for one that could not be restored.
   */
  judge(saved: SavedMachine): void {
    const here = this.#match(saved);
    const indexes = saved.filesystems.map((state, index) =>
      orRefuse(`filesystem ${index + 1}`, () => judgeFilesystem(state, here[index]!)),
    );
    this.devices.forEach(({ tag, transport: own }, index) => {
      const { transport, session, filesystem } = saved.devices[index]!;
      orRefuse(`device ${JSON.stringify(tag)}`, () => {
        const { missing } = FuseSession.checkState(session, indexes[filesystem]?.files ?? ANY_INODE);
        if (indexes[filesystem] && missing.length)
          throw new SnapshotError(
            `the guest knows inodes that the filesystem does not have: ${missing.slice(0, 10).join(', ')}`,
          );
        PciTransport.checkState(transport, own);
      });
    });
  }

  get #filesystems(): FileSystem[] {
    return [...new Set(this.devices.map(({ filesystem }) => filesystem))];
  }

  /** As {@link prepare}, from what {@link readState} or {@link capture} gave. */
  prepareState(saved: SavedMachine, policies = this.policies): () => void {
    const here = this.#match(saved);
    const report = emptyRestoreReport();
    const names = this.#namesFor(saved, policies);
    const filesystems = saved.filesystems.map((filesystem, index) =>
      orRefuse(`filesystem ${index + 1}`, () => planFilesystem(filesystem, here[index]!, names, policies, report)),
    );
    const plans = this.devices.map((device, index) => {
      const { transport, session, filesystem } = saved.devices[index]!;
      return orRefuse(`device ${JSON.stringify(device.tag)}`, () => {
        const checked = recalling(device, () => FuseSession.checkState(session, filesystems[filesystem]!.index));
        const { onMissingInode = device.filesystem.persistence ? 'fail' : 'stale' } = policies;
        if (checked.missing.length && onMissingInode === 'fail') {
          throw new SnapshotError(
            `the filesystem does not have inodes ${checked.missing.slice(0, 10).join(', ')} any more, which the guest knows: bring them back, or restore with onMissingInode "stale"`,
          );
        }
        for (const ino of checked.missing) report.missingInodes.push({ tag: device.tag, ino });
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
        // Any other number is somebody else's.
        const renumbered = session.waiters.map(({ unique, waiter }) => ({
          unique,
          waiter: waiters[filesystem]!.get(waiter) ?? (waiter === GRANTED ? GRANTED : REFUSED),
        }));
        const requests = requestsIn(device.transport);
        const name = names.restored.get(session.session)!;
        recalling(device, () =>
          device.session.restore(
            { ...session, session: name, waiters: renumbered },
            (unique) => requests.get(unique)?.chain,
            filesystems[filesystem]!.hasStayed,
          ),
        );
        // What did not wait for a lock had waited for the filesystem, and is asked for again; and so are buffers for notifications.
        for (const { unique } of renumbered) requests.delete(unique);
        for (const { queueIndex, chain } of [...requests.values(), ...buffersIn(device.transport)])
          device.transport.askAgain(queueIndex, chain);
      }
      for (const { persistence } of here) persistence?.settle();
      this.report = report;
    };
  }

  /**
   * A session has one machine. One that still is on another, on a filesystem that has stayed where it is, gets a new name here unless it moves;
   * and so does one that comes with a copy of its filesystem into another machine, since the first may follow and must not be taken for it.
   */
  #namesFor(saved: SavedMachine, { isMove = false }: RestorePolicies): SessionNames {
    const replaced = new Set(this.devices.filter(({ session }) => session.isHere).map(({ session }) => session.id));
    const restored = new Map<string, string>();
    saved.devices.forEach(({ session: state, filesystem }, index) => {
      const { session: name } = state as { session: string };
      const { sessionOnly } = (saved.filesystems[filesystem] ?? {}) as Partial<FilesystemIdentity>;
      const isElsewhere =
        !replaced.has(name) && (!sessionOnly || locksOf(this.devices[index]!.filesystem).ownerOf(name) !== undefined);
      const isRenamed = isElsewhere && !isMove;
      restored.set(name, isRenamed ? randomUuid() : name);
      if (!isRenamed) replaced.add(name);
    });
    return { replaced, restored };
  }

  /** The filesystem for each saved filesystem. @throws SnapshotError when the devices are not those of the snapshot. */
  #match(saved: SavedMachine): FileSystem[] {
    const tell = (devices: { tag: string; slot: number }[]) =>
      devices.map(({ tag, slot }) => `${JSON.stringify(tag)} in slot ${slot}`).join(', ') || 'none';
    const [found, here] = [tell(saved.devices), tell([...this.devices])];
    if (found !== here)
      throw new SnapshotError(
        `the virtio-fs devices differ: the snapshot has ${found}; this emulator ${here}; attach the snapshot's`,
      );
    const filesystems: FileSystem[] = [];
    saved.devices.forEach(({ filesystem }, index) => {
      const { tag, filesystem: here } = this.devices[index]!;
      if (!(filesystem in saved.filesystems))
        throw new SnapshotError(
          `device ${JSON.stringify(tag)} names filesystem ${filesystem} of ${saved.filesystems.length}`,
        );
      if ((filesystems[filesystem] ??= here) !== here) {
        throw new SnapshotError(
          `device ${JSON.stringify(tag)} shared its filesystem with another in the snapshot: give both the same volume`,
        );
      }
    });
    if (
      new Set(filesystems).size !== saved.filesystems.length ||
      this.#filesystems.length !== saved.filesystems.length
    ) {
      throw new SnapshotError(
        'devices that had filesystems of their own in the snapshot share one here: give each its own volume',
      );
    }
    return filesystems;
  }
}

/** Does what asks the filesystem of a device for inodes that it may have to look for. */
function recalling<T>({ filesystem }: StatefulDevice, action: () => T): T {
  return filesystem.recall ? filesystem.recall(action) : action();
}

interface WaitingChain {
  queueIndex: number;
  chain: DescriptorChain;
}

/** The chains that are with the device and that nothing was written in. */
function buffersIn({ queues }: PciTransport): WaitingChain[] {
  return queues.flatMap(({ index, inFlight }) =>
    [...inFlight].filter(({ remaining }) => remaining === 0).map((chain) => ({ queueIndex: index, chain })),
  );
}

/** The requests that are with the device, by the `unique` of their `fuse_in_header`, ready to be read from the beginning. */
function requestsIn(transport: PciTransport): Map<bigint, WaitingChain> {
  const header = new DataView(new ArrayBuffer(UNIQUE_OFFSET + 8));
  const requests = new Map<bigint, WaitingChain>();
  for (const { index, inFlight } of transport.queues) {
    for (const chain of inFlight) {
      if (chain.remaining === 0) continue;
      chain.read(new Uint8Array(header.buffer), 0, header.byteLength);
      chain.rewind();
      requests.set(header.getBigUint64(UNIQUE_OFFSET, true), { queueIndex: index, chain });
    }
  }
  return requests;
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
