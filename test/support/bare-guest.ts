import type { Volume } from 'memfs';
import { attachVirtioFs, MachineSnapshots, type SnapshotStore, type VirtioFsDevice } from '../../device/index.ts';
import { type BareMachine, bareMachine } from './bare-machine.ts';
import { call } from './fuse-call.ts';

const INIT = 26,
  CREATE = 35;
const SETLK = 32;
export const SETLKW = 33,
  WRITE_LOCK = 1,
  UNLOCK = 2;

/** A real v86 without a guest, and its device, which the functions below call in the guest's place. */
export interface BareGuest {
  device: VirtioFsDevice;
  snapshots: MachineSnapshots;
  machine: BareMachine;
}

export interface OpenFile {
  nodeid: number;
  fh: bigint;
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
  if (!session.negotiated) call(session, INIT, 0, 7, 38, 0x20000, 0xffffffff, 0, ...Array<number>(11).fill(0));
  const { payload } = call(session, CREATE, 1, 2, 0o100644, 0, 0, name);
  return { nodeid: payload.getUint32(0, true), fh: payload.getBigUint64(128, true) };
}

/** Locks the first 100 bytes. Returns the answer's error, undefined while it waits; the process has the owner's number. */
export function lockFile(
  { device: { session } }: BareGuest,
  { nodeid, fh }: OpenFile,
  owner: bigint,
  type = WRITE_LOCK,
  opcode = SETLK,
): number | undefined {
  return call(session, opcode, nodeid, fh, owner, 0n, 99n, type, Number(owner), 0, 0).error;
}

/** The processes that hold locks of the guest's filesystem. */
export function lockHolders({ device }: BareGuest): number[] {
  return [...device.filesystem.locks.locks()].map(({ pid }) => pid);
}
