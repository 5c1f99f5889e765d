import { expect } from 'chai';
import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import { Vm, VmError, type VmOptions } from '../../harness/index.ts';
import { PANIC } from '../support/panic.ts';

/** A failure of this kind that shows the console, and not the end of a time limit. */
async function expectEnd(kind: string, work: Promise<unknown>): Promise<VmError> {
  const error = await work.then(
    (result) => `it came to an end: ${JSON.stringify(result)}`,
    (caught: Error) => caught,
  );
  expect(error).to.be.instanceOf(VmError);
  expect(error).to.have.property('kind', kind);
  expect(error).to.have.property('message').that.contains('Its console ends with');
  return error as VmError;
}

const FOREVER = 'exec sleep 100000';

describe('a guest that ends by itself', function () {
  this.timeout(300_000);
  let snapshots: SnapshotStore;
  let base: string;
  let vm: Vm | undefined;
  const thaw = async (options?: VmOptions) => (vm = await Vm.thaw(snapshots, base, options));

  before(async () => {
    snapshots = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const first = await Vm.boot({ shares: [{ tag: 'share' }] });
    await first.mount('share');
    await first.exec('echo kept > /mnt/share/file');
    base = (await first.freeze(snapshots)).id;
    await first.stop();
  });
  afterEach(() => vm?.stop());

  for (const [name, command, kind, said] of [
    ['panics', PANIC, 'crashed', /Kernel panic - not syncing/],
    ['halts', 'halt -f', 'halted', /System halted/],
    ['turns its power off', 'poweroff -f', 'halted', /System halted/],
    ['halts in good order', 'halt', 'halted', /System halted/],
    ['reboots', 'reboot -f', 'rebooted', /Restarting system/],
    ['does what the emulator cannot', 'echo triple > /sys/kernel/reboot/type; reboot -f', 'crashed', /triple fault/],
  ] as const) {
    it(`${name}: all that wait for it are told at once`, async () => {
      const machine = await thaw();
      const shell = machine.spawn(['/bin/sh', '-l'], { pty: { columns: 80, rows: 24 } });
      const waiting = [machine.exec(FOREVER), machine.spawn(FOREVER).exited, shell.exited, machine.exec(command)];
      for (const work of waiting) expect((await expectEnd(kind, work)).message).to.match(said);
      if (kind === 'rebooted') return;
      for (const ask of [
        () => machine.exec('true'),
        async () => machine.spawn('true'),
        () => machine.freeze(snapshots),
        () => machine.save(),
        () => machine.mount('share'),
        () => machine.suspend(),
        () => machine.ready(),
      ]) {
        await expectEnd(kind, ask());
      }
      while (machine.emulator.is_running()) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  }

  it('goes on from a snapshot after a panic, and after halting @long', async () => {
    const machine = await thaw();
    for (const [command, kind] of [
      [PANIC, 'crashed'],
      ['halt -f', 'halted'],
      ['reboot -f', 'rebooted'],
    ] as const) {
      await expectEnd(kind, machine.exec(command));
      await machine.thaw(snapshots, base);
      expect((await machine.exec('cat /mnt/share/file')).stdout).to.equal('kept\n');
    }
  });

  it('can be used again when it has rebooted, and not before', async () => {
    const machine = await thaw();
    await expectEnd('rebooted', machine.exec('reboot -f'));
    await expectEnd('rebooted', machine.exec('true'));
    await machine.ready();
    await machine.mount('share');
    expect((await machine.exec('cat /mnt/share/file')).stdout).to.equal('kept\n');
  });

  it('tells of a panic, and of nothing else @long', async () => {
    const panics: VmError[] = [];
    const machine = await thaw({ onPanic: (error) => void panics.push(error) });
    await expectEnd(
      'rebooted',
      machine.exec('echo "Kernel panic - not syncing: so they say" > /dev/console; reboot -f'),
    );
    await machine.ready();
    expect(panics).to.deep.equal([]);
    const error = await expectEnd('crashed', machine.exec(PANIC));
    expect(panics).to.deep.equal([error]);
  });

  it('is told of when it is asked for the first time', async () => {
    const first = await thaw();
    await first.exec('(sleep 0.5; halt -f) >/dev/null 2>&1 &');
    const { id } = await first.freeze(snapshots);
    await first.stop();
    // It halts while its machine is made, when it answers, or a moment later.
    await expectEnd(
      'halted',
      Vm.thaw(snapshots, id).then((machine) => ((vm = machine), machine.exec(FOREVER))),
    );
  });

  it('is told of while it boots', async () => {
    const panics: VmError[] = [];
    const boot = Vm.boot({ cmdline: 'rdinit=/bin/false', cache: false, onPanic: (error) => void panics.push(error) });
    expect((await expectEnd('crashed', boot)).message).to.contain('Attempted to kill init');
    expect(panics).to.have.length(1);
  });
});
