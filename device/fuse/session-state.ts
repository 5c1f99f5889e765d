import { PAGE_SIZE } from '../bytes.ts';
import { FUSE_KERNEL_MINOR_VERSION, FUSE_KERNEL_VERSION } from './constants.ts';
import type { HandleState, HandleTableState } from './handle-table.ts';
import { IMPLEMENTED, MIN_MINOR, type Negotiated } from './negotiation.ts';
import type { NodeTableState } from './node-table.ts';
import { checkNotices, type NoticesState } from './notices.ts';
import { MAX_PAGES } from './policy.ts';
import type { WaiterState } from './session-locks.ts';

/** All that a session carries through a snapshot. */
export interface SessionState {
  /** Undefined for a session that no INIT has begun. */
  negotiated: Negotiated | undefined;
  /** See `FuseSession.number`. */
  number: number;
  /** See `FuseSession.outlivesReset`. */
  outlivesReset: boolean;
  nodes: NodeTableState;
  handles: HandleTableState;
  /** The session's name in the lock table. */
  session: string;
  /** Requests that wait for a lock. */
  waiters: WaiterState[];
  /** What waits for room in the guest to be told of; left out when that is nothing. */
  notices?: NoticesState | undefined;
}

/** Where a checked state's inodes are looked up: a filesystem, or a filesystem's checked state. */
export interface InodeIndex {
  inode(ino: number): { readonly generation: number } | undefined;
}

export interface CheckedSessionState extends SessionState {
  /** Inodes that the state needs and the filesystem does not have; restored all the same, they answer ESTALE. */
  readonly missing: readonly number[];
}

const NUMBERS = [
  'max_readahead',
  'max_background',
  'congestion_threshold',
  'max_write',
  'time_gran',
  'max_pages',
  'map_alignment',
] as const;
const U32 = 0xffffffff;
/** What no device has ever settled on: messages and replies may be as long. */
const LIMITS: Partial<Record<(typeof NUMBERS)[number], number>> = {
  max_write: MAX_PAGES * PAGE_SIZE,
  max_pages: MAX_PAGES,
};

/** @throws TypeError that names what is wrong. */
export function checkSessionState(state: unknown, filesystem: InodeIndex): CheckedSessionState {
  const { negotiated, number, outlivesReset, nodes, handles, session, waiters, notices } = (state ??
    {}) as Partial<SessionState>;
  if (typeof session !== 'string' || session.length > 100) fail('it has no name');
  if (!isInteger(number, U32)) fail(`its number ${String(number)} is invalid`);
  if (typeof outlivesReset !== 'boolean') fail('it does not say whether it outlives a reset');
  checkNodes(nodes);
  checkHandles(handles);
  if (
    !Array.isArray(waiters) ||
    !waiters.every((waiter) => typeof waiter?.unique === 'bigint' && Number.isInteger(waiter.waiter))
  )
    fail('its list of waiting requests is invalid');
  const missing = new Set<number>();
  const look = (ino: number, generation: number) => {
    if (filesystem.inode(ino)?.generation !== generation) missing.add(ino);
  };
  nodes!.ino.forEach((ino, n) => look(ino, nodes!.generation[n]!));
  for (const { ino, generation } of handles!.handles) look(ino, generation);
  return {
    negotiated: negotiated === undefined || negotiated === null ? undefined : checkNegotiated(negotiated),
    number,
    outlivesReset,
    nodes: nodes!,
    handles: handles!,
    session: session!,
    waiters: waiters!,
    notices: checkNotices(notices),
    missing: [...missing],
  };
}

function checkNegotiated(negotiated: Negotiated): Negotiated {
  const { major, minor, flags } = negotiated;
  if (major !== FUSE_KERNEL_VERSION || !isInteger(minor, FUSE_KERNEL_MINOR_VERSION) || minor < MIN_MINOR) {
    fail(
      `the guest has negotiated FUSE ${major}.${minor}; this server speaks ${FUSE_KERNEL_VERSION}.${MIN_MINOR} to ${FUSE_KERNEL_VERSION}.${FUSE_KERNEL_MINOR_VERSION}`,
    );
  }
  if (typeof flags !== 'bigint') fail('its INIT flags are invalid');
  const unknown = flags & ~IMPLEMENTED;
  if (unknown !== 0n)
    fail(`the guest has negotiated INIT flags 0x${unknown.toString(16)}, which this server does not have`);
  for (const name of NUMBERS)
    if (!isInteger(negotiated[name], LIMITS[name] ?? U32)) fail(`${name} is ${String(negotiated[name])}`);
  return negotiated;
}

function checkNodes(nodes: NodeTableState | undefined): void {
  const { ino, generation, nlookup } = nodes ?? {};
  const isTable =
    ino instanceof Uint32Array &&
    generation instanceof Uint32Array &&
    nlookup instanceof Float64Array &&
    generation.length === ino.length &&
    nlookup.length === ino.length &&
    nlookup.every((value) => isInteger(value, Number.MAX_SAFE_INTEGER));
  if (!isTable) fail('its node table is invalid');
  if (hasTwins(nodes!.ino)) fail('it has the same node twice');
}

/** Every freeze asks that of all that the guest knows: sorting numbers takes a tenth of what a set does. */
function hasTwins(numbers: Uint32Array): boolean {
  const sorted = Uint32Array.from(numbers).sort();
  return sorted.some((each, n) => each === sorted[n - 1]);
}

function checkHandles(table: HandleTableState | undefined): void {
  if (!Array.isArray(table?.handles) || !isInteger(table.next, Number.MAX_SAFE_INTEGER))
    fail('its handle table is invalid');
  const seen = new Set<number>();
  for (const handle of table!.handles as Partial<HandleState>[]) {
    const { fh, kind, ino, generation, flags, position, end } = handle ?? {};
    const numbers = [fh, ino, generation, flags, position, end].every((value) =>
      isInteger(value, Number.MAX_SAFE_INTEGER),
    );
    if (!numbers || (kind !== 'file' && kind !== 'directory')) fail('one of its handles is invalid');
    if (fh! >= table!.next || seen.has(fh!)) fail(`its handle ${fh} occurs twice, or is not below the next one`);
    seen.add(fh!);
  }
}

function isInteger(value: unknown, max: number): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) <= max;
}

function fail(what: string): never {
  throw new TypeError(`the FUSE session's state is invalid: ${what}`);
}
