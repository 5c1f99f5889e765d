import type { Timespec } from '../../device/fs/filesystem.ts';

const SECOND = 1_000_000_000n;

/** Of nanoseconds since 1970, which are negative before. */
export function timespec(nanoseconds: bigint): Timespec {
  const nsec = ((nanoseconds % SECOND) + SECOND) % SECOND;
  return { sec: Number((nanoseconds - nsec) / SECOND), nsec: Number(nsec) };
}
