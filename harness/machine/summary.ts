import type { SnapshotStore } from '../../device/index.ts';
import { readUnheard, type Unheard } from './agent/waiting-output.ts';
import { type MachineConfig, readConfig } from './config.ts';
import { VmError } from './errors.ts';

/** What snapshots, and machines that move, tell of a machine besides its state. Others may have written more there. */
export interface Summary {
  /** The last lines of the guest's console. */
  console?: string[];
  isAsleep?: boolean;
  /** The guest has halted, or crashed. */
  isOff?: boolean;
  /** See `GuestAgent.unheard`. */
  unheard?: Unheard;
  /** It may run on the other side of this migration. */
  unsettled?: string;
}

/** What whoever made a snapshot, or sends a machine, says of it; what is not as {@link Summary} has it is left out. */
export function readSummary(summary: unknown): Omit<Summary, 'unsettled'> & { others: Record<string, unknown> } {
  const {
    console,
    isAsleep,
    isOff,
    unheard,
    unsettled: _,
    ...others
  } = (typeof summary === 'object' && summary !== null ? summary : {}) as Record<string, unknown>;
  return {
    console: Array.isArray(console) ? console.filter((line) => typeof line === 'string') : [],
    isAsleep: isAsleep === true,
    isOff: isOff === true,
    unheard: readUnheard(unheard),
    others,
  };
}

/** The machine that a snapshot was taken of. @throws VmError `unsettled` when it may run elsewhere, `snapshot` when it does not say. */
export function configOf(store: SnapshotStore, id: string): MachineConfig {
  const { machine, summary } = store.info(id);
  if ((summary as Summary | undefined)?.unsettled) {
    throw new VmError(
      'unsettled',
      `the machine of ${id.slice(0, 12)} may run on another side, since its migration broke during the switch: settle that first, with \`v86-virtiofs settle ${id.slice(0, 12)}\``,
    );
  }
  return readConfig(machine);
}
