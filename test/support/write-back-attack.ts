import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { filesystemOf } from '../../device/filesystems/memfs/volume.ts';
import { type MemoryFileSystem, Volume } from '../../device/index.ts';
import { type LoadedTree, loadHostTree } from '../../harness/node/shares/host-tree.ts';
import { writeBack } from '../../harness/node/shares/write-back.ts';
import { changeOnHost, fingerprints } from './host-changes.ts';
import { randomNumbers } from './hostile-driver.ts';
import { Guest } from './random-guest.ts';

/** A round's tree is kept for so many, as their changes add up. */
const ROUNDS_OF_A_TREE = 12;

/**
 * Write-back of a random guest while the host swaps entries before each step, or, without `isSwapping`, whenever
 * another process does it. Both share what is in `root`/share;
 * `root`/outside must stay as it is, and is compared whole after each round.
 */
export function attackWriteBack(
  root: string,
  rounds: number,
  seed: number,
  isSwapping = true,
): { rounds: number; swaps: number; written: number } {
  const next = randomNumbers(seed);
  const share = join(root, 'share');
  const outside = join(root, 'outside');
  for (const dir of [share, outside]) rmSync(dir, { recursive: true, force: true });
  mkdirSync(share);
  mkdirSync(join(outside, 'dir/a/b'), { recursive: true });
  for (const name of ['a', 'b', 'dir/a/c', 'dir/c', 'dir/a/b/d'])
    writeFileSync(join(outside, name), `precious ${name}`, { mode: 0o640 });
  symlinkSync('a', join(outside, 'e'));
  const precious = fingerprints(outside);

  let swaps = 0;
  let written = 0;
  let filesystem!: MemoryFileSystem;
  let tree!: LoadedTree;
  const swap = () => {
    if (changeOnHost(share, outside, next, { hasHardLinks: true })) swaps++;
  };
  const descriptors = readdirSync('/proc/self/fd').length;
  let round = 0;
  for (; round < rounds; round++) {
    if (round % ROUNDS_OF_A_TREE === 0) {
      setUp(root, share, round);
      filesystem = filesystemOf(new Volume());
      tree = loadHostTree(share, filesystem);
    }
    const guest = new Guest(filesystem, next);
    for (let n = next(5); n >= 0; n--) guest.step();
    const eagerness = 1 + next(6);
    written += writeBack(tree, filesystem, {
      owners: next(2) === 0,
      beforeOperation: () => {
        if (isSwapping && next(eagerness) === 0) swap();
      },
    }).written.length;
    const now = fingerprints(outside);
    if (now !== precious)
      throw new Error(`round ${round} of seed ${seed} has changed what is outside:\n${precious}\n${now}`);
  }
  const left = readdirSync('/proc/self/fd').length;
  if (left > descriptors) throw new Error(`${left - descriptors} files are still open`);
  return { rounds: round, swaps, written };
}

/** A new share, in one step: the old one goes where nobody looks for it. */
function setUp(root: string, share: string, round: number): void {
  const fresh = join(root, 'fresh');
  mkdirSync(join(fresh, 'a/b/c'), { recursive: true });
  mkdirSync(join(fresh, 'b/a'), { recursive: true });
  for (const name of ['a/d', 'a/b/d', 'b/c', 'b/a/b', 'c']) writeFileSync(join(fresh, name), name);
  renameSync(share, join(root, `old-${round}`));
  renameSync(fresh, share);
}
