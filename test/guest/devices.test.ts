import { expect } from 'chai';
import { Volume } from 'memfs';
import { Vm } from '../../harness/node/vm.ts';
import { useGuest } from '../support/guest.ts';

describe('several devices in one guest', () => {
  const shared = new Volume();
  const longTag = 'ä'.repeat(18);
  const guest = useGuest({
    shares: [
      { tag: 'share', volume: shared },
      { tag: 'second share/with odd characters' },
      { tag: longTag },
      { tag: 'twin', volume: shared },
    ],
    ninep: true,
  });
  const { sh } = guest;

  it('keeps filesystems apart by their tags', async () => {
    for (const [index, { mountPoint }] of guest.vm.shares.slice(0, 3).entries())
      await sh(`echo ${index} > '${mountPoint}/number'`);
    const numbers = guest.vm.shares.slice(0, 3).map(({ fs }) => fs.readFileSync('/number', 'utf8'));
    expect(numbers).to.deep.equal(['0\n', '1\n', '2\n']);
  });

  it('takes a tag of exactly 36 bytes', async () => {
    expect(await sh('grep -c virtiofs /proc/mounts')).to.equal('4\n');
    expect(await sh(`grep '^${longTag} ' /proc/mounts`)).to.match(/virtiofs/);
  });

  it('shows one volume through two devices', async () => {
    await sh('echo both > /mnt/share/both');
    expect(await sh('cat /mnt/twin/both')).to.equal('both\n');
  });

  it('works beside 9p', async () => {
    await sh('mkdir -p /mnt/9p && mount -t 9p -o trans=virtio,version=9p2000.L host9p /mnt/9p');
    await sh(
      'head -c 1000000 /dev/urandom > /mnt/share/data && cp /mnt/share/data /mnt/9p/data && cmp /mnt/share/data /mnt/9p/data',
    );
    await sh(
      '(cat /mnt/9p/data | md5sum > /tmp/a) & (cat /mnt/share/data | md5sum > /tmp/b) & wait; cmp /tmp/a /tmp/b',
    );
  });
});

describe('devices that are on the bus when the guest boots', function () {
  this.timeout(300_000);

  for (const bootMethod of ['bios', 'direct'] as const) {
    it(`are found on the ${bootMethod} road${bootMethod === 'direct' ? ' @long' : ''}`, async () => {
      const vm = await Vm.boot({ shares: [{ tag: 'one' }, { tag: 'two' }], bootMethod, cache: false });
      try {
        await vm.mount('one');
        await vm.mount('two', '/two');
        expect((await vm.exec('echo 1 > /mnt/one/f; echo 2 > /two/f; cat /mnt/one/f /two/f')).stdout).to.equal(
          '1\n2\n',
        );
        expect(vm.share('two').fs.readFileSync('/f', 'utf8')).to.equal('2\n');
      } finally {
        await vm.stop();
      }
    });
  }
});

describe('a guest that reboots', () => {
  it('finds its devices again, with the sessions ended and the files there', async () => {
    const vm = await Vm.boot({ shares: [{ tag: 'share' }] });
    try {
      await vm.mount('share');
      await vm.exec('echo stays > /mnt/share/file; exec 3</mnt/share/file');
      const { session } = vm.share().device;
      const before = session.number;
      expect(before).to.be.greaterThan(0);
      const end = await vm.spawn('reboot -f').exited.catch((error: unknown) => error);
      expect(end).to.have.property('kind', 'rebooted');
      expect(session.number).to.equal(0);
      expect(session.state().handles.handles).to.deep.equal([]);
      await vm.agent.ready(60_000);
      await vm.mount('share');
      expect((await vm.exec('cat /mnt/share/file; cut -d. -f1 /proc/uptime')).stdout).to.match(/^stays\n\d{1,2}\n$/);
      expect(session.number).not.to.be.oneOf([0, before]);
    } finally {
      await vm.stop();
    }
  }).timeout(120_000);
});

describe('a machine with ACPI and every device that v86 has', () => {
  it('runs virtio-fs beside network, console and balloon @long', async () => {
    const vm = await Vm.boot({
      shares: [{ tag: 'share' }],
      ninep: true,
      network: 'virtio',
      bootMethod: 'bios',
      cmdline: 'acpiphp.disable=1',
      v86: { acpi: true, virtio_console: true, virtio_balloon: true },
    });
    try {
      await vm.mount('share');
      await vm.exec('mkdir -p /9p && mount -t 9p -o trans=virtio,version=9p2000.L host9p /9p');
      expect((await vm.exec('ls /sys/bus/virtio/devices | wc -l')).stdout).to.equal('5\n');
      expect(
        (
          await vm.exec(
            'head -c 300000 /dev/urandom > /9p/a; cp /9p/a /mnt/share/b; cmp /9p/a /mnt/share/b && grep -c virtio /proc/interrupts',
          )
        ).stdout,
      ).to.match(/^\d+\n$/);
    } finally {
      await vm.stop();
    }
  }).timeout(180_000);
});
