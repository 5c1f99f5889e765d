import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { assemble } from '../../harness/machine/assemble.ts';
import type { DirectBootImage } from '../../harness/machine/boot/direct-boot.ts';
import type { MachineConfig } from '../../harness/machine/config.ts';
import { VmError } from '../../harness/machine/errors.ts';
import { Machine } from '../../harness/machine/machine.ts';
import { attachShare, Share } from '../../harness/machine/share.ts';
import { defaultDriver, defaultKernel } from '../../harness/node/image.ts';
import { compileV86, v86Version } from '../../harness/node/v86.ts';
import { Vm } from '../../harness/node/vm.ts';

/** As the page has it: nothing of what Node adds takes part, but for where the kernel comes from. */
describe('a machine alone', function () {
  this.timeout(300_000);
  const made: Machine[] = [];
  let config: MachineConfig;
  let kernel: DirectBootImage;
  let store: SnapshotStore;

  const make = async () => {
    const machine = new Machine(
      await assemble({
        config,
        wasm: await compileV86(),
        makeShares: (emulator) => [new Share(attachShare(emulator, { tag: 'share' }))],
      }),
    );
    made.push(machine);
    return machine;
  };
  const kindOf = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      (error: unknown) => (error instanceof VmError ? error.kind : error),
    );

  before(async () => {
    const driver = defaultDriver(defaultKernel());
    const image = await ensureGuestImage({ kernel: defaultKernel(), driver });
    kernel = { vmlinux: await readFile(image.vmlinux), initrd: await readFile(image.initrd) };
    const minimal = defaultKernel() === 'minimal' ? ['minimal kernel'] : [];
    const fast = driver === 'fast' ? ['fast driver'] : [];
    config = {
      emulator: await v86Version(),
      image: image.id,
      memory: 128,
      devices: [...minimal, ...fast, 'video memory 256', 'virtio-fs share'],
    };
    store = await SnapshotStore.open(new MemoryStore(), loadCodec());
  });
  afterEach(() => Promise.all(made.splice(0).map((machine) => machine.stop())));

  it('boots, halts, is frozen so, and comes back from there', async () => {
    const machine = await make();
    const ends: string[] = [];
    machine.life.onEnd(({ kind }) => ends.push(kind));
    const moments: unknown[] = [];
    machine.onMoment = (summary) => moments.push(summary);
    await machine.boot(kernel);
    const cwd = await machine.mount();
    expect(await machine.exec('echo kept > file; cat file', { cwd })).to.include({ stdout: 'kept\n', code: 0 });
    const before = await machine.freeze(store, 'before', { summary: () => ({ mine: 1 }) });

    expect(await kindOf(machine.exec('halt -f'))).to.equal('halted');
    expect(ends).to.deep.equal(['halted']);
    expect(machine.life.isOff).to.equal(true);
    const { id } = await machine.freeze(store, 'halted');

    // Whoever goes on from there is told at once.
    const other = await make();
    await other.fill(store, id);
    await other.goOn();
    expect(await kindOf(other.exec('true'))).to.equal('halted');
    expect(other.share().volume.readFileSync('/file', 'utf8')).to.equal('kept\n');
    const vm = await Vm.thaw(store, id);
    made.push(vm);
    expect(await kindOf(vm.exec('true'))).to.equal('halted');

    // It has no kernel until it is given one.
    expect(other.hasKernel).to.equal(false);
    other.bootsAtReset(() => kernel);
    await other.reboot();
    expect(await other.exec('cat file', { cwd: await other.mount() })).to.include({ stdout: 'kept\n', code: 0 });

    await machine.thaw(store, before.id);
    expect(moments).to.have.length(1);
    expect(moments[0]).to.include({ mine: 1, isOff: false });
    expect(machine.life.isOff).to.equal(false);
    expect(await machine.exec('cat file', { cwd })).to.include({ stdout: 'kept\n', code: 0 });
  });

  it('is heard of no more when it was stopped', async () => {
    const machine = await make();
    await machine.stop();
    for (const ask of [
      () => machine.exec('true'),
      () => machine.goOn(),
      () => machine.reboot(),
      () => machine.freeze(store),
      () => machine.suspend(),
    ])
      expect(await kindOf(ask())).to.equal('stopped');
  });
});
