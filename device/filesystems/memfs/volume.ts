import { Volume } from 'memfs';
import { MemoryFileSystem, type MemoryFileSystemOptions, partsOf } from '../memory/filesystem.ts';
import { adopt } from './adopt.ts';
import { connect } from './connect.ts';
import { type Core, coreOf } from './core.ts';
import { fetchFirst } from './fetch-first.ts';
import { Views } from './views.ts';

const filesystems = new WeakMap<Volume, MemoryFileSystem>();
const volumes = new WeakMap<MemoryFileSystem, Volume>();

/**
 * The filesystem behind a memfs `Volume` that the host goes on using with the ordinary `fs` API; always the same one, so that several
 * devices share it. The files are kept in the {@link MemoryFileSystem}; memfs sees them through views, so each side sees the other's
 * changes at once, and inode numbers are the same on both. `fs.watch` tells of both, as soon as what is being done has been done, so that whoever is
 * told may change files.
 *
 * The host is not bound by guests' permission bits, and meets the quota as ENOSPC. A restore closes what it has open (EBADF), and its
 * watchers have to be made anew.
 *
 * @throws TypeError when this is no volume of a memfs that is known here, or it holds what no Linux guest could see; RangeError for
 * invalid options, or options that come too late.
 */
export function filesystemOf(volume: Volume, options?: MemoryFileSystemOptions): MemoryFileSystem {
  let filesystem = filesystems.get(volume);
  if (filesystem && options)
    throw new RangeError(
      'this volume has a filesystem already: give the options where it is asked for first, and share the filesystem',
    );
  if (!filesystem) {
    filesystem = new MemoryFileSystem(options);
    const core = coreOf(volume);
    const parts = partsOf(filesystem);
    const views = new Views(parts, core);
    adopt(parts.table, core, views);
    join(volume, filesystem, core, views);
  }
  return filesystem;
}

/** The volume that shows this filesystem to the host, as {@link filesystemOf} says: the one that it is behind, or a new one. */
export function volumeOf(filesystem: MemoryFileSystem): Volume {
  let volume = volumes.get(filesystem);
  if (!volume) {
    volume = new Volume();
    const core = coreOf(volume);
    const parts = partsOf(filesystem);
    const views = new Views(parts, core);
    views.adoptLink(core.root, filesystem.root);
    views.adoptNode(core.root.getNode(), filesystem.root);
    join(volume, filesystem, core, views);
  }
  return volume;
}

function join(volume: Volume, filesystem: MemoryFileSystem, core: Core, views: Views): void {
  const parts = partsOf(filesystem);
  connect(parts, core, views);
  if (parts.table.space.fetched) fetchFirst(volume, core, views);
  filesystems.set(volume, filesystem);
  volumes.set(filesystem, volume);
}
