/** Adds snapshots to a store until it is killed, and tells the name of each when it is stored. */
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { openFiles } from '../../harness/node/stores/open-files.ts';
import { addSnapshot } from './small-snapshots.ts';

const store = await SnapshotStore.open(openFiles(process.argv[2]!), loadCodec());
for (let n = 0; ; n++) {
  const name = `${process.pid}-${n}`;
  await addSnapshot(store, name, [crypto.getRandomValues(new Uint8Array(4096 * (1 + (n % 15))))]);
  process.stdout.write(`${name}\n`);
}
