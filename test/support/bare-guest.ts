import type { Volume } from 'memfs';
import { INIT } from '../../device/conformance/message.ts';
import { attachVirtioFs, MachineSnapshots, type SnapshotStore, type VirtioFsDevice } from '../../device/index.ts';
import { type BareMachine, bareMachine } from './bare-machine.ts';
import { call } from './fuse-call.ts';

export const WRITE_LOCK = 1,
  UNLOCK = 2;

/** A real v86 without a guest, and its device, which the functions below call in the guest's place. */
export interface BareGuest {
  device: VirtioFsDevice;
  snapshots: MachineSnapshots;
  machine: BareMachine;
}

export interface OpenFile {
  nodeid: number;
  fh: number;
}

export async function bareGuest(store: SnapshotStore, volume: Volume): Promise<BareGuest> {
  let device: VirtioFsDevice;
  let snapshots: Promise<MachineSnapshots>;
  const machine = await bareMachine((emulator) => {
    device = attachVirtioFs(emulator, { tag: 'share', volume, locks: 'shared' });
    snapshots = MachineSnapshots.of(emulator, store);
  });
  return { device: device!, snapshots: await snapshots!, machine };
}

/** Opens a file of the root directory, made where it is not there; begins the session when nobody has. */
export function openFile({ device: { session } }: BareGuest, name: string): OpenFile {
  if (!session.negotiated) call(session, 'INIT', 0, INIT);
  const { entry, open } = call(session, 'CREATE', 1, { flags: 2, mode: 0o100644 }, name).out;
  return { nodeid: entry.nodeid, fh: open.fh };
}

/** Locks the first 100 bytes. Returns the answer's error, undefined while it waits; the process has the owner's number. */
export function lockFile(
  { device: { session } }: BareGuest,
  { nodeid, fh }: OpenFile,
  owner: bigint,
  type = WRITE_LOCK,
  operation: 'SETLK' | 'SETLKW' = 'SETLK',
): number | undefined {
  return call(session, operation, nodeid, { fh, owner, lk: { end: 99, type, pid: Number(owner) } }).error;
}

/** The processes that hold locks of the guest's filesystem. */
export function lockHolders({ device }: BareGuest): number[] {
  return [...device.filesystem.locks.locks()].map(({ pid }) => pid);
}
