// Tests that each get a guest of their own, from one snapshot, in some milliseconds: node --import tsx --test examples/node/snapshot-tests.ts
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { loadCodec, MemoryStore, SnapshotStore } from 'v86-virtiofs';
import { Vm, VmPool } from 'v86-virtiofs/harness';

let guests: VmPool;
let cwd: string;

before(async () => {
  const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
  cwd = await vm.mount();
  await vm.exec('mkdir -p db && echo 0 > db/count', { cwd }); // whatever takes long to set up
  const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  const { id } = await vm.freeze(store, 'set up');
  await vm.stop();
  guests = new VmPool(store, id, { size: 2 });
});
after(() => guests.close());

test('counts', async () => {
  const vm = await guests.take();
  await vm.exec('echo $(($(cat db/count) + 1)) > db/count', { cwd });
  assert.equal(vm.share().fs.readFileSync('/db/count', 'utf8'), '1\n');
  await guests.release(vm);
});

test('starts from the snapshot, whatever other tests have done', async () => {
  const vm = await guests.take();
  assert.equal(vm.share().fs.readFileSync('/db/count', 'utf8'), '0\n');
  await guests.release(vm);
});
