import { expect } from 'chai';
import { MemoryFileSystem, Volume } from '../../device/index.ts';
import { VIRTIO_FS_F_NOTIFICATION } from '../../device/virtio-fs.ts';
import { useGuest } from '../support/guest.ts';

describe('what the host changes, by cache mode', () => {
  const volume = new Volume();
  const guest = useGuest({
    shares: [
      { tag: 'never', volume, cache: 'never' },
      { tag: 'auto', volume },
      { tag: 'always', volume, cache: 'always' },
    ],
  });
  const all = (command: string) => guest.sh(`for mode in never auto always; do cd /mnt/$mode; ${command}; done`);

  /** What a guest still believes in cache `always`, unless its driver takes notifications. */
  const believed = (old: string, now: string) => {
    const { driver_features } = guest.vm.share('always').device.transport.state();
    return driver_features & (1n << BigInt(VIRTIO_FS_F_NOTIFICATION)) ? now : old;
  };

  it('content and size: never at once, auto after a second, always when the guest has forgotten or is told', async () => {
    volume.writeFileSync('/f', 'first');
    expect(await all('cat f; stat -c " %s" f')).to.equal('first 5\n'.repeat(3));
    volume.writeFileSync('/f', 'the second');
    expect(
      await guest.sh('cat /mnt/never/f; stat -c " %s" /mnt/never/f; cat /mnt/always/f; stat -c " %s" /mnt/always/f'),
    ).to.equal(`the second 10\n${believed('first 5', 'the second 10')}\n`);
    expect(await guest.sh('sleep 1.1; cat /mnt/auto/f; stat -c " %s" /mnt/auto/f; cat /mnt/always/f')).to.equal(
      `the second 10\n${believed('first', 'the second')}`,
    );
    expect(await all('echo 3 > /proc/sys/vm/drop_caches; cat f; stat -c " %s" f')).to.equal(
      'the second 10\n'.repeat(3),
    );
  });

  it('names: auto believes for a second what is there, always also what is not', async () => {
    volume.writeFileSync('/old', '');
    const look = 'test -e old && echo old; test -e new && echo new; true';
    expect(await all(look)).to.equal('old\n'.repeat(3));
    volume.renameSync('/old', '/new');
    expect(
      await guest.sh(`cd /mnt/never; ${look}; cd /mnt/auto; test -e new && echo new; cd /mnt/always; ${look}`),
    ).to.equal(`new\nnew\n${believed('old', 'new')}\n`);
    expect(await guest.sh(`sleep 1.1; cd /mnt/auto; ${look}`)).to.equal('new\n');
    expect(await all(`echo 3 > /proc/sys/vm/drop_caches; ${look}`)).to.equal('new\n'.repeat(3));
  });

  it('never: directories of a path at once, their own attributes within two ticks', async () => {
    volume.mkdirSync('/a/b', { recursive: true, mode: 0o755 });
    volume.writeFileSync('/a/b/f', 'one');
    expect(await guest.sh('cd /mnt/never; cat a/b/f; stat -c %a a/b')).to.equal('one755\n');
    volume.renameSync('/a', '/other');
    volume.mkdirSync('/a/b', { recursive: true, mode: 0o700 });
    volume.writeFileSync('/a/b/f', 'two');
    expect(await guest.sh('cd /mnt/never; cat a/b/f; stat -c %a a/b')).to.equal('two700\n');
    volume.chmodSync('/a/b', 0o711);
    expect(await guest.sh('cd /mnt/never/a/b; sleep 0.1; stat -c %a .')).to.equal('711\n');
  });

  it('what one device’s guest writes, another’s reads: by writing through', async () => {
    await guest.sh('cd /mnt/auto; echo through > w; cat /mnt/never/w > /mnt/always/v');
    expect(volume.readFileSync('/v', 'utf8')).to.equal('through\n');
  });

  it('watchers see what the guest does', async () => {
    const events = new Set<string>();
    const watcher = volume.watch('/', {}, (event, name) => void events.add(`${event} ${String(name)}`));
    try {
      await guest.sh('cd /mnt/auto; echo x > watched; mv watched renamed; echo y >> renamed; rm renamed');
      await guest.sh('true');
      expect([...events]).to.include.members(['rename watched', 'rename renamed', 'change renamed']);
    } finally {
      watcher.close();
    }
  });

  it('what the host has open follows the guest', async () => {
    await guest.sh('cd /mnt/auto; echo 12345 > open');
    const fd = volume.openSync('/open', 'r+');
    await guest.sh('cd /mnt/auto; echo 678 >> open; rm open');
    const bytes = Buffer.alloc(20);
    expect(bytes.toString('utf8', 0, volume.readSync(fd, bytes, 0, 20, 0))).to.equal('12345\n678\n');
    volume.closeSync(fd);
  });
});

describe('limits of a share', () => {
  const small = new MemoryFileSystem({ size: 4 << 20, inodes: 40 });
  const guest = useGuest({
    shares: [
      { tag: 'share', filesystem: small },
      { tag: 'read-only', volume: Volume.fromJSON({ '/f': 'text', '/d/g': '' }), readOnly: true },
    ],
  });
  const { sh, shFails } = guest;
  const available = async () => Number(await sh("df -k /mnt/share | awk 'END { print $4 }'"));

  it('size: no space left at the limit, df says so, and it is free again right after', async () => {
    expect(await sh("df -k /mnt/share | awk 'END { print $2 }'")).to.equal('4096\n');
    const before = await available();
    expect(await shFails('dd if=/dev/zero of=big bs=64k count=100')).to.match(/No space left/);
    expect(await available()).to.be.below(64);
    expect(await shFails('for n in $(seq 17); do dd if=/dev/zero of=more$n bs=4k count=1 || exit 1; done')).to.match(
      /No space left/,
    );
    await sh('rm more1; mkdir d && mv big d/big && rm -r d more*');
    expect(await available()).to.equal(before);
  });

  it('size: an unlinked file gives back when it is closed', async () => {
    const before = await available();
    await sh(
      `exec 3> open; head -c 1000000 /dev/zero >&3; rm open; test $(df -k . | awk 'END { print $4 }') -lt ${before - 900}; exec 3>&-; test $(df -k . | awk 'END { print $4 }') -eq ${before}`,
    );
  });

  it('holes cost nothing, and filling one may fail', async () => {
    await sh(
      'truncate -s 1G holes; dd if=/dev/zero of=holes bs=4k seek=10000 count=10 conv=notrunc 2>/dev/null; test $(du -k holes | cut -f1) -eq 40',
    );
    expect(await shFails('dd if=/dev/zero of=holes bs=64k count=100 conv=notrunc')).to.match(/No space left/);
    await sh('rm holes');
  });

  it('inodes: no space left for the one too many, df -i says so', async () => {
    expect(await sh("df -i /mnt/share | awk 'END { print $2 }'")).to.equal('40\n');
    expect(await shFails('for n in $(seq 50); do : > i$n || exit 1; done')).to.match(/No space left/);
    expect(
      await sh("df -i /mnt/share | awk 'END { print $3, $4 }'; ls | wc -l; rm i*; df -i . | awk 'END { print $3 }'"),
    ).to.equal('40 0\n39\n1\n');
  });

  it('read-only: everything can be read and nothing changed', async () => {
    expect(await sh('cd /mnt/read-only; cat f; ls d; cp -a . /tmp/copy; cat /tmp/copy/f')).to.equal('textg\ntext');
    for (const command of [
      'touch new',
      'echo x > f',
      'echo x >> f',
      'mkdir e',
      'rm f',
      'rmdir d',
      'mv f h',
      'ln f h',
      'ln -s f h',
      'chmod 600 f',
      'chown 1 f',
      'touch -d @0 f',
      'mknod p p',
      'truncate -s 0 f',
    ]) {
      expect(await shFails(`cd /mnt/read-only; ${command}`), command).to.match(/Read-only/);
    }
    expect(guest.vm.share('read-only').volume.toJSON()).to.deep.equal({ '/f': 'text', '/d/g': '' });
  });
});

describe('ids that are mapped', () => {
  const volume = Volume.fromJSON({ '/inside': '', '/outside': '' });
  const map = [
    { guest: 0, host: 100_000, count: 1000 },
    { guest: 5000, host: 7, count: 1 },
  ];
  const guest = useGuest({ shares: [{ tag: 'share', volume, uidMap: map, gidMap: map }] });

  it('both ways; those in no range are refused, or nobody’s', async () => {
    volume.chownSync('/inside', 100_012, 7);
    volume.chownSync('/outside', 50, 100_000);
    volume.chownSync('/', 100_000, 100_000);
    expect(
      await guest.sh('stat -c "%u %g" inside outside; touch made; chown 5000:999 made; stat -c "%u %g" made'),
    ).to.equal('12 5000\n65534 0\n5000 999\n');
    expect(volume.statSync('/made')).to.include({ uid: 7, gid: 100_999 });
    expect(await guest.shFails('chown 2000 made')).to.match(/too large/i);
    expect(await guest.shFails('chgrp 1000 made')).to.match(/too large/i);
    expect(volume.statSync('/made')).to.include({ uid: 7, gid: 100_999 });
  });
});

describe('links and copies', () => {
  const guest = useGuest();

  it('one file has 65,000 names and no more', async () => {
    const { volume } = guest.vm.share();
    volume.writeFileSync('/f', '');
    volume.mkdirSync('/names');
    for (let n = 2; n < 65_000; n++) volume.linkSync('/f', `/names/${n}`);
    expect(await guest.sh('ln f last; stat -c %h f names/64999')).to.equal('65000\n65000\n');
    expect(await guest.shFails('ln f more')).to.match(/Too many links/);
    await guest.sh('rm names/2; ln names/3 more');
  });

  it('copy_file_range costs no reads and no writes, and shares what it copies', async () => {
    const { volume, device } = guest.vm.share();
    volume.writeFileSync('/from', Buffer.alloc(8 << 20, 'x'));
    const seen: string[] = [];
    const end = device.session.onTrace(({ opcode }) => seen.push(opcode));
    const steps = [
      'scenario s',
      'open a ../from O_RDONLY',
      'open b to O_CREAT|O_RDWR',
      `copy a 0 b 0 ${8 << 20}`,
      'fstat b',
    ];
    const { stdout } = await guest.vm.exec(['posix', '/mnt/share'], { stdin: `${steps.join('\n')}\n` });
    end();
    expect(stdout.split('\n')[3]).to.equal(String(8 << 20));
    expect(seen).to.include('COPY_FILE_RANGE').and.not.include('READ').and.not.include('WRITE');
    expect(Buffer.compare(volume.readFileSync('/s/to') as Buffer, volume.readFileSync('/from') as Buffer)).to.equal(0);
  });
});
