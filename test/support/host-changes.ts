import {
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { listing } from './random-guest.ts';

/** What guests and hosts call entries when they attack a share. */
export const NAMES = ['a', 'b', 'c', 'd', 'e', 'f'];

/** Everything about a tree: but when it was read, and how many names files have, which the host itself gives them. */
export function fingerprints(directory: string): string {
  const lines = ['.', ...listing(directory)].sort().map((path) => {
    const { mode, uid, gid, size, mtimeNs, ino } = lstatSync(join(directory, path), { bigint: true });
    const type = Number(mode) & 0o170000;
    const content =
      type === 0o100000
        ? readFileSync(join(directory, path), 'utf8')
        : type === 0o120000
          ? readlinkSync(join(directory, path))
          : '';
    return [path, ino, mode.toString(8), uid, gid, size, mtimeNs, content].join(' ');
  });
  return lines.join('\n');
}

/** Directories of the share that are reached through none but directories. */
export function directoriesOf(directory: string, depth = 0): string[] {
  const below =
    depth < 4
      ? readdirSync(directory, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .flatMap(({ name }) => directoriesOf(join(directory, name), depth + 1))
      : [];
  return [directory, ...below];
}

/**
 * One change by a program of the host inside the directory `share`, whose links lead to `outside`; with `hasHardLinks` its files may have
 * names there too. Returns whether there was one.
 */
export function changeOnHost(
  share: string,
  outside: string,
  next: (below: number) => number,
  { hasHardLinks = false } = {},
): boolean {
  const directories = directoriesOf(share);
  const at = () => join(directories[next(directories.length)]!, NAMES[next(NAMES.length)]!);
  const [path, other] = [at(), at()];
  const targets = [outside, join(outside, 'dir'), '../outside', '../../outside/dir', '..', '.'];
  try {
    switch (next(hasHardLinks ? 7 : 6)) {
      case 0:
      case 1:
        // A directory steps aside for a link.
        if (!lstatSync(path).isDirectory()) return false;
        renameSync(path, other);
        symlinkSync(targets[next(targets.length)]!, path);
        break;
      case 2:
        // And comes back.
        if (!lstatSync(path).isSymbolicLink()) return false;
        unlinkSync(path);
        renameSync(other, path);
        break;
      case 3:
        renameSync(path, other);
        break;
      case 4:
        rmSync(path, { recursive: true, force: true });
        if (next(2)) symlinkSync(targets[next(targets.length)]!, path);
        else writeFileSync(path, `host ${next(100)}`);
        break;
      case 5:
        mkdirSync(path);
        break;
      case 6:
        linkSync(join(outside, ['a', 'b', 'dir/c', 'e'][next(4)]!), path);
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
    return false;
  }
}
