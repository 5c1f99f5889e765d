import { upgradeToRanges } from '../filesystems/memory/upgrade-state.ts';
import { SnapshotError } from './errors.ts';
import type { SavedMachine } from './machine-state.ts';

/** Schema version of the machine state that this release writes. What it reads begins with version 1. */
export const STATE_VERSION = 3;
/** The first one whose filesystems are made of ranges. */
export const FIRST_WITH_RANGES = 3;

type Fields = Record<string, unknown>;

/** Beyond every `off` of a directory's entries. */
const LAST_COOKIE = 2 ** 31;

/**
 * What one version has and the one before it had not, by the part of the state it is in: each function fills in what is missing, in
 * place, with what the older release meant by leaving it out. The state is foreign and not checked yet, except that each part is an
 * object; whatever an upgrade leaves wrong is refused by the checks that follow.
 */
interface Upgrade {
  session?(session: Fields): void;
  transport?(transport: Fields): void;
  /** Also of sessions only: see `sessionOnly`. */
  filesystem?(filesystem: Fields): void;
}

/** They were lists of numbers. */
const NODE_COLUMNS = { ino: Uint32Array, generation: Uint32Array, nlookup: Float64Array } as const;

/** The first one leads from version 1 to version 2, and so on. */
const UPGRADES: readonly Upgrade[] = [
  {
    session({ handles }) {
      const { handles: list } = (handles ?? {}) as Fields;
      if (!Array.isArray(list)) return;
      // Lists of directories went on to whatever was there in the end.
      for (const handle of list as Fields[])
        if (handle) handle['end'] = handle['kind'] === 'directory' ? LAST_COOKIE : 0;
    },
  },
  {
    session({ nodes }) {
      const columns = (nodes ?? {}) as Fields;
      for (const [name, Column] of Object.entries(NODE_COLUMNS))
        if (isU32List(columns[name])) columns[name] = Column.from(columns[name]);
    },
    filesystem(state) {
      if (!state['sessionOnly']) upgradeToRanges(state);
    },
  },
];

/** Makes a state of `version` one of {@link STATE_VERSION}, in place. @throws SnapshotError for a version that is not known, or a state that can't be read so far. */
export function upgradeState(version: number, saved: SavedMachine): SavedMachine {
  checkStateVersion(version);
  for (const { session, transport, filesystem } of UPGRADES.slice(version - 1)) {
    for (const device of saved.devices) {
      session?.(fieldsOf(device.session, 'session'));
      transport?.(fieldsOf(device.transport, 'transport'));
    }
    for (const state of saved.filesystems) orDamaged(() => filesystem?.(fieldsOf(state, 'filesystem')));
  }
  return saved;
}

/** @throws SnapshotError unless this release reads the version. */
export function checkStateVersion(version: number): void {
  if (Number.isInteger(version) && version >= 1 && version <= STATE_VERSION) return;
  throw new SnapshotError(
    `the virtio-fs state has schema version ${version}, and this release reads versions 1 to ${STATE_VERSION}: ${version > STATE_VERSION ? 'restore it with a newer release' : 'take the snapshot again'}`,
  );
}

/** Anything else is left as it is, for the check that follows to refuse. */
function isU32List(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((number) => number >>> 0 === number);
}

function orDamaged(upgrade: () => void): void {
  try {
    upgrade();
  } catch (error) {
    if (error instanceof SnapshotError) throw error;
    throw new SnapshotError(`the snapshot can't be restored: ${(error as Error).message}`, { cause: error });
  }
}

function fieldsOf(part: unknown, what: string): Fields {
  if (typeof part !== 'object' || part === null)
    throw new SnapshotError(`the virtio-fs state has a ${what} without fields`);
  return part as Fields;
}
