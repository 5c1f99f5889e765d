import type { SnapshotInfo } from '../../device/index.ts';
import type { SnapshotKind } from '../protocol.ts';
import { KEPT_OUTPUT, type SavedShell } from './shells.ts';

/** What the page keeps in a snapshot besides the machine. */
export interface Summary {
  /** Name of the guest; '' where nobody said. */
  guest: string;
  /** Undefined where the page has not taken it. */
  kind: SnapshotKind | undefined;
  /** Snapshots of the guests that ran then, '' for this one: of those with one folder, one. And the names of the others. */
  together: string[];
  parted: string[];
  /** Snapshots it was taken after that were there then, nearest first. */
  ancestors: string[];
  /** It stays until it is removed. */
  isPinned: boolean;
  shells: SavedShell[];
  isAsleep: boolean;
  /** Its kernel had halted. */
  isOff: boolean;
}

const KINDS: readonly SnapshotKind[] = ['start', 'manual', 'automatic', 'fork', 'rewind', 'close', 'imported'];
/** No guest of a page has more. */
const MAX_SHELLS = 100;
const MAX_GUESTS = 100;

/** Snapshots, and machines that move, come from anywhere: what is not as the page writes it is left out. */
export function readSummary(summary: unknown): Summary {
  const { guest, kind, together, parted, ancestors, isPinned, shells, isAsleep, isOff } = (
    typeof summary === 'object' && summary !== null ? summary : {}
  ) as Record<string, unknown>;
  return {
    guest: typeof guest === 'string' ? guest : '',
    kind: KINDS.find((known) => known === kind),
    together: Array.isArray(together) ? textsOf(together) : [''],
    parted: Array.isArray(parted) ? textsOf(parted) : [],
    ancestors: Array.isArray(ancestors) ? textsOf(ancestors) : [],
    isPinned: isPinned === true,
    shells: Array.isArray(shells) ? shellsOf(shells.slice(0, MAX_SHELLS)) : [],
    isAsleep: isAsleep === true,
    isOff: isOff === true,
  };
}

/** The name of snapshots that guests begin with. */
export const START = 'start';

export function kindOf({ summary, name }: Pick<SnapshotInfo, 'summary' | 'name'>): SnapshotKind {
  return readSummary(summary).kind ?? (name === START ? 'start' : 'imported');
}

/** Of a snapshot that comes in as a file: whatever it was where it was taken, the visitor has brought it here. */
export function importedSummary(summary: unknown): object {
  return {
    ...(typeof summary === 'object' ? summary : {}),
    ...({ kind: 'imported', together: [''], parted: [], ancestors: [], isPinned: false } satisfies Partial<Summary>),
  };
}

function textsOf(values: unknown[]): string[] {
  return values.filter((value) => typeof value === 'string').slice(0, MAX_GUESTS);
}

/** One of each number. */
function shellsOf(values: unknown[]): SavedShell[] {
  const shells = new Map(
    values.filter(isShell).map(({ id, output }) => [id, { id, output: output.subarray(-2 * KEPT_OUTPUT) }]),
  );
  return [...shells.values()];
}

function isShell(value: unknown): value is SavedShell {
  const { id, output } = (value ?? {}) as Record<string, unknown>;
  return Number.isInteger(id) && id === (id as number) >>> 0 && output instanceof Uint8Array;
}
