import { join } from 'node:path';
import { ReadRecorder, repackImage } from '../../device/image/profile.ts';
import { MemoryFileSystem, type SnapshotStore } from '../../device/index.ts';
import { openImageAt } from '../../harness/node/images/open.ts';
import { imageDirectory } from '../../harness/node/images/write-image.ts';
import { Vm } from '../../harness/node/vm.ts';

/** What visitors type first. */
const FIRST = 'ls -l; cat README.txt; ls /; uname -a; date; id; clear';
const DONE = 'first-42';

/** Puts in front of an image, in `directory`, what a guest reads that begins with the snapshot, until a visitor has typed something in its shell. */
export async function putInFront(
  directory: string,
  image: string,
  start: { store: SnapshotStore; id: string; shell: number },
): Promise<void> {
  const open = await openImageAt(join(directory, image));
  try {
    const recorder = new ReadRecorder(open.origin);
    const root = { filesystem: new MemoryFileSystem({ origin: recorder }) };
    const vm = await Vm.thaw(start.store, start.id, { root });
    try {
      const shell = vm.agent.attach(start.shell);
      let output = '';
      const done = new Promise<void>((resolve, reject) => {
        shell.onStdout = (bytes) => {
          output += Buffer.from(bytes).toString('latin1');
          if (output.includes(DONE)) resolve();
        };
        shell.exited.then(() => reject(new Error("the guest's shell has ended")), reject);
      });
      await shell.write(`${FIRST}; echo first-$((6*7))\n`);
      await done;
    } finally {
      await vm.stop();
    }
    await repackImage(open, recorder.chunks, imageDirectory(directory), image);
  } finally {
    open.origin.close();
  }
}
