// One call of the host's `fs` on one kind of inode, and its outcome: node --import tsx host-calls-worker.ts

import { filesystemOf, volumeOf } from '../../device/filesystems/memfs/volume.ts';
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFSOCK } from '../../device/fs/constants.ts';
import { createFsFromVolume, Volume } from '../../device/index.ts';
import { CALLS, furnish, KINDS, type Kind, outcome, pathOf, SPECIAL, treeOf } from './host-calls.ts';

const TYPES = { fifo: S_IFIFO, socket: S_IFSOCK, char: S_IFCHR, block: S_IFBLK };

/** Tells what is begun before it begins, since it may never end. */
for (const kind of [...KINDS, ...SPECIAL] as Kind[]) {
  for (const [name, call] of Object.entries(CALLS)) {
    const filesystem = filesystemOf(new Volume());
    const fs = createFsFromVolume(volumeOf(filesystem)) as never;
    volumeOf(filesystem).mkdirSync('/top');
    furnish(fs, '/top');
    const top = filesystem.lookup(filesystem.root, 'top')!;
    for (const special of SPECIAL)
      filesystem.mknod(top, special, { mode: TYPES[special] | 0o644, uid: 0, gid: 0, rdev: 0x501 });
    process.send!({ kind, name });
    const said = await outcome(() => call(fs, pathOf('/top', kind), '/top/other'));
    const tree = treeOf(fs, '/top').filter((line) => !SPECIAL.some((special) => line.startsWith(`${special} is`)));
    process.send!({ kind, name, said: `${said}, then ${tree.join(', ')}` });
  }
}
process.disconnect();
