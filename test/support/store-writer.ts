/** Adds snapshots to the store in a directory until it is killed, and tells the name of each when it is stored. */
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { addSnapshot } from './small-snapshots.ts';

const store = await SnapshotStore.open(new DirectoryStore(process.argv[2]!), loadCodec());
for (let n = 0; ; n++) {
  const name = `${process.pid}-${n}`;
  await addSnapshot(store, name, [crypto.getRandomValues(new Uint8Array(4096 * (1 + (n % 15))))]);
  process.stdout.write(`${name}\n`);
}
