import CRC32 from 'crc-32';

/** The releases of v86 that v86-virtiofs is tested with: `peerDependencies` of package.json names the same. */
export const FIRST_TESTED = '0.5.373';
export const LAST_TESTED = '0.5.462';

/**
 * Whether a snapshot taken with one release of v86 can be restored in another. The tested ones have the same state: what some of them
 * added (parallel ports) the others ignore, and what one left out (`page_fault`) has no meaning. Of any other release nothing is known.
 *
 * @param a v86's `version`, as in its package.json: `0.5.462+g5f9a90f`.
 */
export function haveSameState(a: string, b: string): boolean {
  return a === b || (isTested(a) && isTested(b));
}

/** CRC-32 of the sorted names that the WebAssembly modules of the tested releases export: from 0.5.373, from 0.5.409, from 0.5.428. */
const TESTED_EXPORTS = new Set([0xdef8998b, 0x8dcc7213, 0x01833bca]);

/** Whether a v86 whose WebAssembly module exports these names is like one of the tested ones: it does not say its version. */
export function isTestedBuild(exports: readonly string[]): boolean {
  return TESTED_EXPORTS.has(CRC32.str(exports.toSorted().join('\n')) >>> 0);
}

/** What is said of one that is not. */
export const UNTESTED = `v86-virtiofs has not been tested with this build of v86, but with v86 ${FIRST_TESTED} to ${LAST_TESTED}. All that it needs is there, so it may work; if a guest misbehaves, install one of these`;

/** Whether it is one of the tested releases. @param version as `a` of {@link haveSameState}. */
export function isTested(version: string): boolean {
  const [, major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)(?:\+.*)?$/.exec(version) ?? [];
  const patchOf = (tested: string) => Number(tested.split('.')[2]);
  return (
    `${major}.${minor}` === '0.5' && Number(patch) >= patchOf(FIRST_TESTED) && Number(patch) <= patchOf(LAST_TESTED)
  );
}
