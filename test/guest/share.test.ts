import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { readSnapshot, writeSnapshot } from '../../harness/node/stores/snapshot-file.ts';
import { Vm } from '../../harness/node/vm.ts';
import { runShell } from '../support/guest.ts';

describe('a share of a host directory', function () {
  this.timeout(300_000);
  let directory: string;
  let vm: Vm | undefined;
  const host = (path: string) => readFileSync(join(directory, path), 'utf8');
  const sh = (command: string, machine = vm!) => runShell(machine, `${command}; sync`);
  const refusal = (action: Promise<unknown>) =>
    action.then(
      () => 'not refused',
      (error: unknown) => (error instanceof VmError ? error.message : String(error)),
    );

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'share-'));
    mkdirSync(join(directory, 'd'));
    for (const name of ['a', 'd/b', 'd/c']) writeFileSync(join(directory, name), 'host\n');
    vm = await Vm.boot({ shares: [{ tag: 'share', source: directory }] });
    await vm.mount();
  });
  afterEach(async () => {
    await vm?.stop();
    vm = undefined;
    rmSync(directory, { recursive: true });
  });

  it('is written back as often as is wanted', async () => {
    await sh('echo one >> a; mkdir n; echo x > n/x');
    expect(await vm!.share().writeBack()).to.deep.equal([]);
    await sh('echo two >> a; echo y >> n/x; rm d/b; mv d/c d/e');
    expect(await vm!.share().writeBack()).to.deep.equal([]);
    expect([host('a'), host('n/x'), host('d/e'), readdirSync(join(directory, 'd')).join()]).to.deep.equal([
      'host\none\ntwo\n',
      'x\ny\n',
      'host\n',
      'e',
    ]);
    writeFileSync(join(directory, 'a'), 'by the host');
    await sh('echo three >> a; touch -d 1965-05-05 d; ln -s a l');
    expect(await vm!.share().writeBack()).to.deep.equal([{ path: 'a', reason: 'the host has changed it meanwhile' }]);
    expect(readdirSync(directory)).to.have.members(['a', 'd', 'l', 'n']);
    // Two at once, one after the other.
    await sh('echo four > d/e');
    expect(
      (await Promise.all([vm!.share().writeBack(), vm!.share().writeBack()])).map((kept) => kept.length),
    ).to.deep.equal([1, 1]);
    expect(host('d/e')).to.equal('four\n');
  });

  const ways: Record<string, (machine: Vm) => Promise<() => Promise<Vm>>> = {
    'a store': async (machine) => {
      const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
      const { id } = await machine.freeze(store);
      return () => Vm.thaw(store, id);
    },
    'a file': async (machine) => {
      const file = join(directory, '..', `${basename(directory)}.vm`);
      try {
        await writeSnapshot(file, await machine.save());
        const snapshot = await readSnapshot(file);
        return () => Vm.restore(snapshot);
      } finally {
        rmSync(file);
      }
    },
  };
  for (const [what, keep] of Object.entries(ways)) {
    it(`is written back after a restore from ${what}, to where the snapshot says and the program allows`, async () => {
      await sh('echo one >> a');
      const restore = await keep(vm!);
      await vm!.stop();
      writeFileSync(join(directory, 'd/c'), 'the host goes on\n');
      vm = await restore();
      await sh('echo two >> a; echo two >> d/c');
      const share = vm.share();
      expect(await refusal(share.writeBack()))
        .to.contain(`says that it was loaded from ${directory}`)
        .and.to.contain('`to`');
      expect(await refusal(share.writeBack({ to: tmpdir() }))).to.contain(
        `was loaded from ${directory}, not from ${tmpdir()}`,
      );
      expect(host('a')).to.equal('host\n');
      expect(await share.writeBack({ to: directory })).to.deep.equal([
        { path: 'd/c', reason: 'the host has changed it meanwhile' },
      ]);
      expect(host('a')).to.equal('host\none\ntwo\n');
      await sh('echo three >> a');
      expect(await share.writeBack()).to.have.length(1);
      expect(host('a')).to.equal('host\none\ntwo\nthree\n');
      expect(host('d/c')).to.equal('the host goes on\n');
    });
  }

  it('is what it was when the machine goes back, and so is what is written back', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const { id } = await vm!.freeze(store);
    await sh('echo one >> a; echo new > n');
    await vm!.share().writeBack();
    expect([host('a'), host('n')]).to.deep.equal(['host\none\n', 'new\n']);
    await vm!.thaw(store, id);
    expect(await vm!.share().writeBack()).to.deep.equal([]);
    expect(host('a')).to.equal('host\n');
    expect(readdirSync(directory)).to.have.members(['a', 'd']);
  });

  it('without a record of what the host had says so, and what to do', async () => {
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const other = await Vm.boot({ shares: [{ tag: 'share' }] });
    try {
      const { id } = await other.freeze(store);
      expect(await refusal(other.share().writeBack())).to.contain('was not loaded from the host: give it a directory');
      await other.share().load(directory);
      await other.thaw(store, id);
      expect(await refusal(other.share().writeBack())).to.contain(
        'does not say what a host directory had: write it to an archive with `save`',
      );
      expect(host('a')).to.equal('host\n');
      other.share().adoptOrigin({ id: 'x', directory, known: ['not', 'sound'] });
      expect(await refusal(other.share().writeBack({ to: directory }))).to.contain('too many entries');
      expect(readdirSync(directory)).to.have.members(['a', 'd']);
    } finally {
      await other.stop();
    }
  });
});
