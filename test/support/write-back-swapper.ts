import { linkSync, mkdirSync, readdirSync, realpathSync, renameSync, symlinkSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { randomNumbers } from './hostile-driver.ts';

/**
 * Swaps entries of `DIRECTORY/share` until it is killed, and itself never reaches outside: it stands in a directory
 * when it changes what is there, and the kernel says which one that is.
 */
const root = realpathSync(process.argv[2]!);
const share = join(root, 'share');
const outside = join(root, 'outside');
const hasHardLinks = process.argv[3] !== 'without-hard-links';
const next = randomNumbers(99);
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];
const targets = [outside, join(outside, 'dir'), '../outside', '../../outside/dir', '..'];

function step(): void {
  process.chdir(share);
  for (let depth = next(3); depth > 0; depth--) {
    const directories = readdirSync('.', { withFileTypes: true }).filter((entry) => entry.isDirectory());
    if (directories.length) process.chdir(directories[next(directories.length)]!.name);
  }
  if (process.cwd() !== share && !process.cwd().startsWith(`${share}/`)) return;
  const [name, other] = [NAMES[next(NAMES.length)]!, NAMES[next(NAMES.length)]!];
  switch (next(5)) {
    case 0:
      renameSync(name, other);
      symlinkSync(targets[next(targets.length)]!, name);
      break;
    case 1:
      unlinkSync(name);
      renameSync(other, name);
      break;
    case 2:
      renameSync(name, other);
      break;
    case 3:
      if (!hasHardLinks) break;
      linkSync(join(outside, ['a', 'b', 'dir/c', 'e'][next(4)]!), name);
      break;
    case 4:
      mkdirSync(name);
  }
}

process.stdout.write('ready\n');
for (;;) {
  try {
    step();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
  }
}
