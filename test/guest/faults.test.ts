import { expect } from 'chai';
import { VIRTIO_CONFIG_S_NEEDS_RESET } from '../../device/virtio/constants.ts';
import { useGuest } from '../support/guest.ts';

describe('faults on purpose, in a guest', function () {
  this.timeout(300_000);
  const guest = useGuest({ shares: [{ tag: 'share', faults: {}, cache: 'never' }] });
  const share = () => guest.vm.share();
  const faults = () => share().device.session.faults!;
  const run = async (command: string) => {
    const { stdout, stderr } = await guest.vm.exec(command, { cwd: '/mnt/share', timeoutMs: 30_000 });
    return stdout + stderr;
  };
  before(() => run('echo 3 > file'));
  afterEach(() => faults().clear());

  it('fail by opcode, path and count, as the guest sees it', async () => {
    await run('echo 1 > file; echo 1 > other');
    faults().add({ opcode: 'WRITE', path: '/file', after: 1, count: 1, fail: 'ENOSPC' });
    const said = await run('for n in 1 2 3; do echo $n > other; echo $n > file && echo wrote $n; done');
    expect(said).to.match(/^wrote 1\nwrote 3\n.*No space left on device\n$/);
    expect(faults().met).to.have.length(1);
    expect(share().fs.readFileSync('/file', 'utf8')).to.equal('3\n');
    faults().add({ opcode: 'OPEN', path: '/file', fail: 'EACCES' });
    expect(await run('cat file; cat other')).to.match(/^3\n.*Permission denied\n$/);
  });

  it('let answers come late and in another order, and nothing is lost', async () => {
    faults().add({ delay: [0, 10], probability: 0.5 });
    await run('mkdir -p d; for n in 1 2 3 4; do (echo $n > d/$n; mv d/$n d/x$n; cat d/x$n) & done; wait');
    faults().clear();
    expect(await run('cat d/x*; ls d')).to.equal('1\n2\n3\n4\nx1\nx2\nx3\nx4\n');
    expect(faults().met.length).to.be.above(5);
  });

  it('drop a request, which is asked again when the machine is taken back', async () => {
    await run('echo there > dropped');
    faults().add({ opcode: 'LOOKUP', path: '/dropped', count: 1, drop: true });
    const { vm } = guest;
    const reader = vm.spawn('cat /mnt/share/dropped > /tmp/read');
    const { length } = faults().met;
    while (faults().met.length === length) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await vm.exec('cat /tmp/read; pidof cat > /dev/null && echo waits')).stdout).to.equal('waits\n');
    const moment = await vm.checkpoint();
    await vm.rewind(moment);
    await vm.agent.attach(reader.id).exited;
    expect((await vm.exec('cat /tmp/read')).stdout).to.equal('there\n');
    await moment.forget();
  });

  /** Starts what reads a file, and resolves when it waits for an answer that is not told of. */
  const startReader = async (isAnswered: () => boolean) => {
    const reader = guest.vm.spawn('cat /mnt/share/file > /tmp/read; echo ended >> /tmp/read');
    while (!isAnswered()) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await guest.vm.exec('cat /tmp/read; pidof cat > /dev/null && echo waits')).stdout).to.equal('waits\n');
    return reader;
  };

  it('lose the answer of what is done', async () => {
    const { vm } = guest;
    const moment = await vm.checkpoint();
    faults().add({ opcode: 'MKDIR', count: 1, lose: true });
    const { length } = faults().met;
    const maker = vm.spawn('mkdir /mnt/share/made');
    while (faults().met.length === length) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(share().fs.readdirSync('/')).to.include('made');
    expect((await vm.exec('pidof mkdir > /dev/null && echo waits')).stdout).to.equal('waits\n');
    const later = await vm.checkpoint();
    await vm.rewind(later);
    expect(await vm.agent.attach(maker.id).exited, 'done once more, it is there already').to.equal(1);
    await vm.rewind(moment);
    expect(share().fs.readdirSync('/')).not.to.include('made');
    for (const each of [moment, later]) await each.forget();
  });

  it('tell wrong lengths of answers, which Linux does not look at', async () => {
    const { length } = faults().met;
    faults().add({ opcode: 'READ', path: '/file', length: 0 });
    faults().add({ length: 16 });
    await run('cat file; ls -l');
    expect(faults().met.length).to.be.above(length + 1);
    expect(await run('cat file')).to.equal('3\n');
  });

  it('stall one queue, whose requests wait until it goes on', async () => {
    const { transport } = share().device;
    const taken = () => transport.statistics.at(-1)!.requests;
    const end = transport.faults.stall(transport.queues.length - 1);
    const before = taken();
    const reader = await startReader(() => true);
    expect(taken()).to.equal(before);
    end();
    expect(await reader.exited).to.equal(0);
    expect((await guest.vm.exec('cat /tmp/read; rm /tmp/read')).stdout).to.equal('3\nended\n');
  });

  it('lose an interrupt, for which the guest waits', async () => {
    const { vm } = guest;
    const moment = await vm.checkpoint();
    const { transport } = share().device;
    faults().add({ opcode: 'OPEN', path: '/file', delay: 50 });
    let lost = 0;
    // What is answered late is waited for by any driver.
    const end = transport.onTrace((event) => {
      if (event.type === 'interrupt' && event.raised) lost++;
    });
    const endLosing = transport.faults.loseInterrupts();
    await startReader(() => lost > 0);
    end();
    endLosing();
    await vm.rewind(moment);
    expect(await run('cat file')).to.equal('3\n');
    await moment.forget();
  });

  it('is no abort by fusectl or umount -f, which Linux has not for virtio-fs: what is under way gets its answer', async () => {
    const { vm } = guest;
    const { length } = faults().met;
    await vm.exec('mount -t fusectl none /sys/fs/fuse/connections', { check: true });
    expect((await vm.exec('ls /sys/fs/fuse/connections; umount /sys/fs/fuse/connections')).stdout).to.equal('');
    faults().add({ opcode: 'READ', path: '/file', delay: 500 });
    const reader = vm.spawn('cat /mnt/share/file > /tmp/read');
    while (faults().met.length === length) await new Promise((resolve) => setTimeout(resolve, 5));
    const { code, stderr } = await vm.exec('umount -f /mnt/share');
    expect([code, stderr]).to.deep.equal([1, "umount: can't unmount /mnt/share: Device or resource busy\n"]);
    expect(await reader.exited).to.equal(0);
    expect((await vm.exec('cat /tmp/read; rm /tmp/read')).stdout).to.equal('3\n');
  });

  it('lose the session, which the guest is told of and can mount anew', async () => {
    share().device.session.end();
    const { vm } = guest;
    expect((await vm.exec('cat /mnt/share/file')).stderr).to.match(/Protocol error/);
    await vm.exec('umount /mnt/share; mount -t virtiofs share /mnt/share', { check: true });
    expect(await run('cat file')).to.equal('3\n');
  });

  it('break the device, which serves nothing until the machine is taken back', async () => {
    const { vm } = guest;
    const moment = await vm.checkpoint();
    const { transport } = share().device;
    const errors: Error[] = [];
    transport.onError((error) => errors.push(error));
    transport.breakDown('for a test');
    expect(transport.deviceStatus & VIRTIO_CONFIG_S_NEEDS_RESET).not.to.equal(0);
    expect(errors.map(String).join()).to.match(/for a test/);
    const waiting = vm.exec('cat /mnt/share/file', { timeoutMs: 500 }).then(
      () => 'answered',
      ({ kind }) => kind as string,
    );
    expect(await waiting).to.equal('timeout');
    await vm.rewind(moment);
    expect(transport.deviceStatus & VIRTIO_CONFIG_S_NEEDS_RESET).to.equal(0);
    expect(await run('cat file')).to.equal('3\n');
  });

  it('take the device out, which the guest is not told of; it finds an empty slot, and a device when there is one again', async () => {
    const { vm } = guest;
    const { transport } = share().device;
    const config = '/sys/bus/pci/devices/0000:00:0d.0';
    const identity = async () => (await vm.exec(`hexdump -n 4 -e '4/1 "%02x"' ${config}/config`)).stdout;
    await run('echo 4 > file');
    expect(await identity()).to.equal('f41a5a10');
    const there = await vm.checkpoint();
    transport.unplug();
    expect(await identity()).to.equal('ffffffff');
    const gone = await vm.checkpoint();
    await vm.rewind(there);
    expect([await identity(), await run('cat file')]).to.deep.equal(['f41a5a10', '4\n']);
    await vm.rewind(gone);
    expect([await identity(), transport.isUnplugged]).to.deep.equal(['ffffffff', true]);
    // Linux waits for the status of the device that it lets go of to become 0.
    const removing = vm.spawn(`echo 1 > ${config}/remove`);
    transport.plugIn();
    expect(await removing.exited).to.equal(0);
    expect((await vm.exec('cat /mnt/share/file')).stderr).to.match(/Transport endpoint is not connected/);
    const again = 'umount /mnt/share; echo 1 > /sys/bus/pci/rescan; mount -t virtiofs share /mnt/share';
    await vm.exec(again, { check: true, cwd: '/' });
    expect(await run('cat file')).to.equal('4\n');
  });
});
