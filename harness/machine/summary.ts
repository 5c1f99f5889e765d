import type { SnapshotStore } from '../../device/index.ts';
import type { ShareOrigins } from '../node/shares/origin.ts';
import type { MachineConfig } from '../node/stores/snapshot-file.ts';
import { VmError } from './errors.ts';

/** What snapshots tell of a machine. */
export interface Summary {
  console?: string[];
  isAsleep?: boolean;
  /** It may run on the other side of this migration. */
  unsettled?: string;
  shares?: ShareOrigins;
}

/** The machine that a snapshot was taken of. @throws VmError `unsettled` when it may run elsewhere. */
export function configOf(store: SnapshotStore, id: string): MachineConfig {
  const { machine, summary } = store.info(id);
  if ((summary as Summary | undefined)?.unsettled) {
    throw new VmError(
      'unsettled',
      `the machine of ${id.slice(0, 12)} may run on another side, since its migration broke in the switch: settle that first, with \`v86-virtiofs settle ${id.slice(0, 12)}\``,
    );
  }
  return machine as unknown as MachineConfig;
}
