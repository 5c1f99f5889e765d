import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { isHostError, reasonOf } from '../shares/host-directory.ts';
import type { ShareOptions } from '../vm-options.ts';
import { LiveDirectory } from './live-directory.ts';

/** The directory of a live share. @throws VmError `share` when it can't be shared. */
export function openLive(path: string, setIds?: boolean): LiveDirectory {
  try {
    return LiveDirectory.open(path, { setIds });
  } catch (error) {
    if (!isHostError(error)) throw error;
    const why = error.code === 'ENOTDIR' || error.code === 'ENOENT' ? 'it is not a directory' : reasonOf(error);
    throw new VmError('share', `can't share ${printable(path)} live: ${why}`, { cause: error });
  }
}

/** What tells the live directories of shares from all others, by tag. @throws VmError as {@link openLive}. */
export function liveUuids(shares: readonly ShareOptions[]): Map<string, string> {
  const uuids = new Map<string, string>();
  for (const { tag, live, source, filesystem } of shares) {
    if (filesystem instanceof LiveDirectory) uuids.set(tag, filesystem.uuid);
    else if (live) uuids.set(tag, uuidOfPath(source!));
  }
  return uuids;
}

function uuidOfPath(path: string): string {
  const directory = openLive(path);
  directory.end();
  return directory.uuid;
}

/**
 * Which of `directories` a machine's live shares are of, by tag. `wanted`: their uuids.
 *
 * @throws VmError `configuration` for a share whose directory is missing, or a directory that no share is of: nothing is shared by a snapshot's word alone.
 */
export function matchLive(
  wanted: ReadonlyMap<string, string>,
  directories: readonly string[] = [],
): Map<string, string> {
  const paths = new Map(directories.map((path) => [uuidOfPath(path), path]));
  for (const [tag, uuid] of wanted) {
    if (paths.has(uuid)) continue;
    const share = `the share ${printable(JSON.stringify(tag))} of this guest is a live directory of the host it was frozen on`;
    throw new VmError(
      'configuration',
      directories.length
        ? `${share}, and not ${printable(directories.join(' or '))}: name that very directory with --live DIR (\`live\`)`
        : `${share}: name it with --live DIR (\`live\`)`,
    );
  }
  const shared = new Set(wanted.values());
  for (const [uuid, path] of paths)
    if (!shared.has(uuid))
      throw new VmError(
        'configuration',
        `no share of this guest is of the live directory ${printable(path)}: leave it out`,
      );
  return new Map([...wanted].map(([tag, uuid]) => [tag, paths.get(uuid)!]));
}
