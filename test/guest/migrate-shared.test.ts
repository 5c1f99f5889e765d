import { expect } from 'chai';
import { loadCodec, MachineSnapshots, MemoryStore, SnapshotStore, Volume } from '../../device/index.ts';
import type { GuestProcess } from '../../harness/machine/agent/guest-agent.ts';
import { Vm } from '../../harness/node/vm.ts';
import { pipe, TOKEN } from '../support/migrations.ts';

const VERIFY =
  'n=0; while :; do n=$((n+1)); echo $n > count.new && mv count.new count && [ $(cat count) = $n ] || { echo $n > failed; exit; }; done';

describe('live migration of guests on a folder that stays where it is', function () {
  this.timeout(240_000);
  let volume: Volume;
  let vms: Vm[] = [];

  async function guest(): Promise<Vm> {
    const vm = await Vm.boot({ shares: [{ tag: 'share', locks: 'shared', volume }] });
    vms.push(vm);
    await vm.mount('share');
    return vm;
  }

  const locker = (vm: Vm, kind: string, how: string): GuestProcess =>
    vm.spawn(['locker', kind, `/mnt/share/${kind}`, how], { cwd: '/mnt/share' });
  const line = (process: GuestProcess): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      process.onStdout = (bytes) => {
        text += new TextDecoder().decode(bytes);
        if (text.endsWith('\n')) resolve(text.trim());
      };
    });
  const tryLock = async (vm: Vm, kind: string): Promise<string> =>
    (await vm.exec(`locker ${kind} /mnt/share/${kind} try < /dev/null`)).stdout.trim();

  async function move(vm: Vm, volumeThere = volume, policies = {}): Promise<Vm> {
    const [here, there] = pipe();
    const target = Vm.takeOver(TOKEN, { shares: [{ tag: 'share', locks: 'shared', volume: volumeThere }] }, policies);
    const [, successor] = await Promise.all([
      vm.migrate(here, { token: TOKEN, sessionOnly: true }),
      target.serve(there),
    ]);
    vms.push(successor!.vm);
    return successor!.vm;
  }

  beforeEach(() => {
    volume = new Volume();
  });
  afterEach(async () => {
    await Promise.all(vms.map((vm) => vm.stop()));
    vms = [];
  });

  it('takes the locks along, and nobody gets between', async () => {
    const [first, other] = [await guest(), await guest()];
    for (const kind of ['posix', 'ofd', 'flock']) expect(await line(locker(first, kind, 'wait'))).to.equal('locked');
    const waiting = ['posix', 'ofd', 'flock'].map((kind) => ({ kind, locked: line(locker(other, kind, 'wait')) }));
    let granted = 0;
    for (const { locked } of waiting) void locked.then(() => granted++);
    first.spawn(['sh', '-c', VERIFY], { cwd: '/mnt/share' }).exited.catch(() => {});
    const moved = await move(first);
    await first.stop();
    const before = Number(volume.readFileSync('/count', 'utf8'));
    expect(
      (await moved.exec(`until [ $(cat /mnt/share/count) -gt ${before} ]; do sleep 0.1; done`)).code,
      'its writer goes on',
    ).to.equal(0);
    expect(volume.existsSync('/failed')).to.equal(false);
    expect(granted, 'the other guest has got none of the locks').to.equal(0);
    for (const kind of ['posix', 'ofd', 'flock']) expect(await tryLock(other, kind)).to.match(/^failed/);
    await moved.exec('killall locker');
    for (const { locked } of waiting) expect(await locked).to.equal('locked');
  });

  it('goes on waiting there @long', async () => {
    const [first, other] = [await guest(), await guest()];
    expect(await line(locker(other, 'posix', 'wait'))).to.equal('locked');
    const { id } = locker(first, 'posix', 'wait');
    await first.exec('sleep 0.2');
    const moved = await move(first);
    const locked = line(moved.agent.attach(id));
    expect(await tryLock(moved, 'posix')).to.match(/^failed/);
    await other.exec('killall locker');
    expect(await locked).to.equal('locked');
    expect(await tryLock(other, 'posix')).to.match(/^failed/);
  });

  it('is refused where the folder is another one, and the guest keeps its lock', async () => {
    const [first, other] = [await guest(), await guest()];
    expect(await line(locker(first, 'flock', 'wait'))).to.equal('locked');
    const error = await move(first, new Volume()).catch((failure: Error) => failure);
    expect(error)
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/has stayed where it was/);
    expect(await tryLock(other, 'flock')).to.match(/^failed/);
    expect((await first.exec('echo here')).stdout).to.equal('here\n');
  });

  it('locks of a stopped guest are free for others', async () => {
    const [first, other] = [await guest(), await guest()];
    expect(await line(locker(first, 'flock', 'wait'))).to.equal('locked');
    expect(await tryLock(other, 'flock')).to.match(/^failed/);
    await first.stop();
    expect(await tryLock(other, 'flock')).to.equal('locked');
  });

  it('a copy beside the guest is another guest: the locks stay with the first', async () => {
    const first = await guest();
    expect(await line(locker(first, 'flock', 'wait'))).to.equal('locked');
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    // Before anything else looks at its memory.
    const snapshots = await MachineSnapshots.of(first.emulator, store);
    const { id } = await snapshots.freeze({ machine: { ...first.config }, sessionOnly: true });
    const shares = [{ tag: 'share', locks: 'shared' as const, volume }];
    const refused = await Vm.thaw(store, id, { shares }).catch((error: Error) => error);
    expect(refused)
      .to.be.instanceOf(Error)
      .with.property('message')
      .that.matches(/another guest .* has a flock lock/);
    const copy = await Vm.thaw(store, id, { shares }, { onLockConflict: 'drop' });
    vms.push(copy);
    await copy.exec('echo from the copy > /mnt/share/copy');
    expect((await first.exec('cat /mnt/share/copy')).stdout).to.equal('from the copy\n');
    await copy.exec('killall locker');
    expect(await tryLock(copy, 'flock')).to.match(/^failed/);
    await first.exec('killall locker');
    expect(await tryLock(copy, 'flock')).to.equal('locked');
  });
});
