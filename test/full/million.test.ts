import { expect } from 'chai';
import {
  attachVirtioFs,
  loadCodec,
  MachineSnapshots,
  MemoryFileSystem,
  MemoryStore,
  SnapshotStore,
} from '../../device/index.ts';
import { bareMachine } from '../support/bare-machine.ts';
import { checkTree } from '../support/check-tree.ts';

const COUNT = 1_000_000;
const owner = { uid: 0, gid: 0 };
const machineOf = { memory: 16 };

describe('a directory of a million entries', function () {
  this.timeout(600_000);

  it('is made, listed, looked up, frozen, thawed in place and elsewhere, and emptied', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const make = async () => {
      const filesystem = new MemoryFileSystem({ inodes: 2 ** 21 });
      let snapshots: Promise<MachineSnapshots>;
      const machine = await bareMachine((emulator) => {
        attachVirtioFs(emulator, { tag: 'share', filesystem });
        snapshots = MachineSnapshots.of(emulator, store);
      });
      return { filesystem, machine, snapshots: await snapshots! };
    };
    const here = await make();
    const { filesystem, snapshots } = here;
    const dir = filesystem.mkdir(filesystem.root, 'many', { mode: 0o755, ...owner });
    for (let n = 0; n < COUNT; n++) filesystem.mknod(dir, `entry-${n}`, { mode: 0o100644, ...owner });
    expect([...filesystem.opendir(dir).read(0, false, true)]).to.have.length(COUNT + 2);
    const first = await snapshots.freeze({ machine: machineOf });
    for (let n = 0; n < COUNT; n += 1000) {
      filesystem.unlink(dir, `entry-${n}`);
      filesystem.rename(dir, `entry-${n + 1}`, dir, `moved-${n}`, 0, owner);
      filesystem.mknod(dir, `new-${n}`, { mode: 0o100600, ...owner });
    }
    const second = await snapshots.freeze({ machine: machineOf });
    // Each of the thousand changes is in another range.
    filesystem.setattr(filesystem.lookup(dir, 'entry-5')!, { mode: 0o600 });
    const third = await snapshots.freeze({ machine: machineOf });
    expect(store.info(third.id).addedBytes).to.be.below(1 << 20);
    await snapshots.restore(first.id);
    expect(filesystem.entries(dir).map(({ name }) => name)).to.deep.equal(
      Array.from({ length: COUNT }, (_, n) => `entry-${n}`),
    );
    await snapshots.restore(second.id);
    expect(filesystem.lookup(dir, 'entry-5000')).to.equal(undefined);
    expect(filesystem.lookup(dir, 'moved-5000')!.ino).to.be.above(5000);
    const there = await make();
    await there.snapshots.restore(second.id);
    const same = there.filesystem.lookup(there.filesystem.root, 'many')!;
    expect(there.filesystem.entries(same).map(({ name }) => name)).to.deep.equal(
      filesystem.entries(dir).map(({ name }) => name),
    );
    checkTree(there.filesystem, []);
    for (const { name } of filesystem.entries(dir)) filesystem.unlink(dir, name);
    filesystem.rmdir(filesystem.root, 'many');
    checkTree(filesystem, []);
    await snapshots.restore(third.id);
    expect(filesystem.entries(filesystem.lookup(filesystem.root, 'many')!)).to.have.length(COUNT);
    await Promise.all([here.machine.destroy(), there.machine.destroy()]);
  });
});
