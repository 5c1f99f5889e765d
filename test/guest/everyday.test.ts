import { expect } from 'chai';
import { useGuest } from '../support/guest.ts';

describe('everyday commands in the guest', () => {
  const guest = useGuest();
  const { sh, shFails } = guest;
  const fs = () => guest.vm.share().fs;

  it('mounts, and says so in /proc/mounts', async () => {
    expect(await sh('grep " /mnt/share " /proc/mounts')).to.match(/^share \/mnt\/share virtiofs rw/);
  });

  it('reads what the host writes', async () => {
    fs().writeFileSync('/from-host', 'héllo\n');
    expect(await sh('cat from-host')).to.equal('héllo\n');
  });

  it('writes what the host reads', async () => {
    await sh('printf "one\\ntwo\\n" > from-guest');
    expect(fs().readFileSync('/from-guest', 'utf8')).to.equal('one\ntwo\n');
  });

  it('sees the host change, truncate, rename and remove', async () => {
    fs().writeFileSync('/changing', 'first version');
    expect(await sh('cat changing')).to.equal('first version');
    fs().writeFileSync('/changing', 'second');
    fs().utimesSync('/changing', 2e9, 2e9);
    await sh('sleep 1.2');
    expect(await sh('cat changing; stat -c %Y:%s changing')).to.equal('second2000000000:6\n');
    fs().renameSync('/changing', '/changed');
    await sh('sleep 1.2');
    expect(await shFails('cat changing')).to.contain('No such file');
    expect(await sh('cat changed')).to.equal('second');
    fs().unlinkSync('/changed');
    await sh('sleep 1.2');
    expect(await shFails('cat changed')).to.contain('No such file');
  });

  it('ls -lR shows a whole tree', async () => {
    fs().mkdirSync('/tree/a/b', { recursive: true });
    fs().writeFileSync('/tree/a/one', '12345');
    fs().writeFileSync('/tree/a/b/two', '');
    fs().chmodSync('/tree/a/one', 0o640);
    const listing = await sh('ls -lR tree');
    expect(listing)
      .to.match(/^-rw-r----- +1 .* 5 .* one$/m)
      .and.to.match(/^tree\/a\/b:$/m)
      .and.to.match(/two$/m);
  });

  it('cp -a keeps contents, modes, times and links', async () => {
    await sh(`mkdir -p orig/sub && head -c 300000 /dev/urandom > orig/sub/data && echo '#!/bin/sh' > orig/run && chmod 4755 orig/run
      ln orig/run orig/hard && ln -s sub/data orig/soft && chown 12:34 orig/sub/data && touch -d '2001-02-03 04:05:06' orig/sub/data orig/sub`);
    await sh('cp -a orig copy');
    const list = (dir: string) =>
      sh(`cd ${dir} && find . | sort | while read f; do stat -c '%n %f %u %g %s %h' "$f"; done`);
    expect((await list('copy')).replace(/^\. .*\n/, '')).to.equal((await list('orig')).replace(/^\. .*\n/, ''));
    expect(await sh('stat -c %Y copy/sub/data copy/sub')).to.equal('981173106\n981173106\n');
    await sh('cmp orig/sub/data copy/sub/data && cmp copy/soft orig/soft');
    expect(await sh('readlink copy/soft')).to.equal('sub/data\n');
  });

  it('mv renames files and directories, over others too', async () => {
    await sh('mkdir -p mv/x mv/y && echo 1 > mv/a && echo 2 > mv/b && mv mv/a mv/b && mv mv/b mv/x/c && mv mv/x mv/y');
    expect(await sh('find mv | sort; cat mv/y/x/c')).to.equal('mv\nmv/y\nmv/y/x\nmv/y/x/c\n1\n');
    expect(fs().readFileSync('/mv/y/x/c', 'utf8')).to.equal('1\n');
  });

  it('rm -r removes a tree', async () => {
    await sh('mkdir -p gone/a/b/c && touch gone/1 gone/a/2 gone/a/b/3 && rm -r gone');
    expect(fs().existsSync('/gone')).to.equal(false);
    await sh('mkdir full && touch full/x');
    expect(await shFails('rmdir full')).to.match(/not empty/i);
  });

  it('ln counts links, and a link outlives the first name', async () => {
    await sh('echo linked > l1 && ln l1 l2');
    expect(await sh('stat -c "%h %i" l1 l2 | uniq | wc -l')).to.equal('1\n');
    expect(await sh('rm l1 && cat l2 && stat -c %h l2')).to.equal('linked\n1\n');
  });

  it('ln -s makes links of any length, dangling ones too', async () => {
    const long = `${'x/'.repeat(1500)}end`;
    await sh(`ln -s ${long} longlink && ln -s nowhere dangling`);
    expect(await sh('readlink longlink')).to.equal(`${long}\n`);
    expect(await shFails('cat dangling')).to.contain('No such file');
    expect(fs().readlinkSync('/dangling')).to.equal('nowhere');
  });

  it('chmod and chown change what the host sees', async () => {
    await sh('touch owned && chmod 1751 owned && chown 1000:2000 owned');
    const { mode, uid, gid } = fs().statSync('/owned');
    expect({ mode: mode & 0o7777, uid, gid }).to.deep.equal({ mode: 0o1751, uid: 1000, gid: 2000 });
  });

  it('touch sets times, past and future', async () => {
    await sh("touch -d '1969-12-31 00:00:00' old && touch -d '2037-12-31 00:00:00' new");
    expect(await sh('stat -c %Y old new')).to.equal('-86400\n2145830400\n');
    expect(fs().statSync('/old').mtimeMs).to.equal(-86_400_000);
  });

  it('dd writes and reads blocks, in the middle of files and past their end', async () => {
    await sh(
      'dd if=/dev/urandom of=big bs=1M count=8 2>/dev/null && dd if=/dev/zero of=big bs=4k seek=100 count=3 conv=notrunc 2>/dev/null',
    );
    const size = fs().statSync('/big').size;
    expect(size).to.equal(8 * 1024 * 1024);
    const sums = await sh(
      'md5sum < big; dd if=big bs=64k 2>/dev/null | md5sum; dd if=big bs=3 skip=100000 count=1000 2>/dev/null | md5sum',
    );
    const [whole, blocks] = sums.split('\n');
    expect(blocks).to.equal(whole);
    await sh('dd if=/dev/zero of=sparse bs=1 seek=100M count=1 2>/dev/null');
    expect(fs().statSync('/sparse').size).to.equal(100 * 1024 * 1024 + 1);
  });

  it('df shows the share', async () => {
    expect(await sh('df /mnt/share | tail -1')).to.match(/^share +\d+ +\d+ +\d+ +\d+% \/mnt\/share/);
  });

  it('keeps names of every kind of byte', async () => {
    await sh(
      `touch "$(printf 'sp ace\\nline\\377\\200')" 'ünï' && mkdir names && cd names && touch a-$(head -c 250 /dev/zero | tr '\\0' x)`,
    );
    expect(await sh('ls | grep -c ünï')).to.equal('1\n');
    expect(await sh('for f in sp*; do printf "%s" "$f" | od -An -tx1; done')).to.match(
      /73 70 20 61 63 65 0a 6c 69 6e 65 ff 80/,
    );
    expect(await shFails('touch $(head -c 256 /dev/zero | tr "\\0" x)')).to.match(/too long/);
  });

  it('unmounts and mounts again', async () => {
    await sh('echo stays > stays');
    await guest.vm.exec('umount /mnt/share');
    expect((await guest.vm.exec('ls /mnt/share')).stdout).to.equal('');
    await guest.vm.mount('share');
    expect(await sh('cat stays')).to.equal('stays\n');
  });
});
