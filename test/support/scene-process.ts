// A Node process that goes on with a frozen scene: DIRECTORY ID SHARE SCENE EXPECTED, the last three as JSON. It prints what is wrong, as JSON.
import { loadCodec, SnapshotStore } from '../../device/index.ts';
import { DirectoryStore } from '../../harness/node/stores/directory-store.ts';
import { Vm } from '../../harness/node/vm.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { type Expectations, goOn, type Scene } from './scene.mjs';

const [directory, id, share, scene, expected] = process.argv.slice(2) as [string, string, string, string, string];
const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
const vm = await Vm.thaw(store, id, {
  shares: [{ tag: 'share', ...(JSON.parse(share) as Omit<ShareOptions, 'tag'>) }],
});
const wrong = await goOn(vm.agent, JSON.parse(scene) as Scene, vm.share().device, JSON.parse(expected) as Expectations);
await vm.stop();
console.log(JSON.stringify(wrong));
