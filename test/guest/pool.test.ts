import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm } from '../../harness/node/vm.ts';
import { VmPool } from '../../harness/node/vm-pool.ts';

describe('a pool of machines that wait', function () {
  this.timeout(120_000);

  it('gives machines that go on from the snapshot, each with files of its own, until it is closed', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    await vm.mount('share');
    await vm.exec('echo before > /mnt/share/file');
    const { id } = await vm.freeze(store);
    await vm.stop();
    const pool = new VmPool(store, id, { size: 2 });
    await pool.filled();
    const taken = await Promise.all([pool.take(), pool.take(), pool.take()]);
    try {
      for (const [n, machine] of taken.entries())
        expect((await machine.exec(`cat /mnt/share/file; echo ${n} > /mnt/share/file`)).stdout).to.equal('before\n');
      for (const [n, machine] of taken.entries())
        expect(machine.share().fs.readFileSync('/file', 'utf8')).to.equal(`${n}\n`);
    } finally {
      await Promise.all(taken.map((machine) => machine.stop()));
      await pool.close();
    }
    expect(await pool.take().catch((error: Error) => error.message)).to.match(/closed/);
  });
});
