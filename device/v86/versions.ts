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

function isTested(version: string): boolean {
  const [, major, minor, patch] = /^(\d+)\.(\d+)\.(\d+)(?:\+.*)?$/.exec(version) ?? [];
  const patchOf = (tested: string) => Number(tested.split('.')[2]);
  return (
    `${major}.${minor}` === '0.5' && Number(patch) >= patchOf(FIRST_TESTED) && Number(patch) <= patchOf(LAST_TESTED)
  );
}
