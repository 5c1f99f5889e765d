import { expect } from 'chai';
import type { Inode } from '../../device/filesystems/memory/inode.ts';
import { ensureUserland } from '../../guest-images/userland.ts';
import { Vm } from '../../harness/node/vm.ts';

const ENTRIES = 100_000;
const GIB = 2 ** 30;

/**
 * Reads a directory of many entries once, and makes, removes and renames some between: those that are passed and those that are to come.
 * What is made meanwhile is not among them: a listing ends with what was there when it began. Goes back to where it has been, by what telldir
 * said there.
 */
const READ_ALL = String.raw`
use strict;
my $count = ${ENTRIES};
my (%seen, %gone, %moved, @places);
opendir(my $dir, ".") or die;
for (my $n = 0; ; $n++) {
  my $place = telldir($dir);
  my $name = readdir($dir);
  last unless defined $name;
  push @places, [$place, $name] if $n % 5000 == 7;
  die "$name twice" if $seen{$name}++;
  die "$name is new" if $name =~ /^(new|moved)-/;
  next if $n % 100;
  open(my $new, ">", "new-$n") or die;
  my $old = "file-" . ($n * 7919 % $count);
  if (!$gone{$old} && !$moved{$old}) {
    if ($n % 200) { unlink($old) or die "$old: $!"; $gone{$old} = 1; }
    else { rename($old, "moved-$n") or die "$old: $!"; $moved{$old} = 1; }
  }
}
for (my $n = 0; $n < $count; $n++) {
  die "file-$n not seen" unless $seen{"file-$n"} || $gone{"file-$n"} || $moved{"file-$n"};
}
for (reverse @places) {
  my ($place, $name) = @$_;
  next if $gone{$name} || $moved{$name};
  seekdir($dir, $place);
  my $again = readdir($dir);
  die "$again where $name was" unless $again eq $name;
}
closedir($dir);
opendir($dir, ".") or die;
my $left = grep { !/^\.\.?$/ } readdir($dir);
print "seen ", scalar(keys %seen), " left $left gone ", scalar(keys %gone), " moved ", scalar(keys %moved), " places ", scalar(@places), "\n";
`;

describe('large files and directories in the guest', function () {
  this.timeout(1_800_000);
  let vm: Vm;

  before(async () => {
    vm = await Vm.boot({ shares: [{ tag: 'share', source: await ensureUserland(['perl-base']) }] });
    await vm.mount('share');
    await vm.exec('mkdir -p /mnt/share/dev && mount -o bind /dev /mnt/share/dev');
  });
  after(() => vm?.stop());

  async function inChroot(directory: string, ...command: string[]): Promise<string> {
    const { stdout, stderr, code } = await vm.exec(
      [
        'chroot',
        '/mnt/share',
        '/bin/sh',
        '-c',
        'export LC_ALL=C; cd "$1" && shift && exec "$@"',
        'sh',
        directory,
        ...command,
      ],
      { timeoutMs: 1_700_000 },
    );
    expect(code, stdout + stderr).to.equal(0);
    return stdout;
  }

  /** Free pages once the guest has forgotten what was removed. */
  async function free(): Promise<number> {
    await vm.exec('echo 3 > /proc/sys/vm/drop_caches');
    return vm.share().files.statfs().bfree;
  }

  it('100,000 entries are read once each while others come and go, and telldir leads back', async () => {
    const { volume } = vm.share();
    volume.mkdirSync('/many');
    for (let n = 0; n < ENTRIES; n++) volume.writeFileSync(`/many/file-${n}`, '');
    const told = /^seen (\d+) left (\d+) gone (\d+) moved (\d+) places (\d+)\n$/.exec(
      await inChroot('/many', 'perl', '-e', READ_ALL),
    )!;
    const [seen, left, gone, moved, places] = told.slice(1).map(Number) as [number, number, number, number, number];
    expect(seen, 'with "." and ".."').to.be.within(ENTRIES + 2 - gone - moved, ENTRIES + 2);
    expect(gone).to.be.above(100);
    expect(moved).to.be.above(100);
    expect(places).to.be.above(19);
    expect(left).to.equal(volume.readdirSync('/many').length);
    volume.rmSync('/many', { recursive: true });
  });

  it('1 GiB appended by 4 KiB takes as much memory as it is long', async () => {
    const filesystem = vm.share().files;
    const before = await free();
    await inChroot(
      '/',
      'dd',
      'if=/dev/zero',
      'of=log',
      'bs=4k',
      `count=${GIB / 4096}`,
      'oflag=append',
      'conv=notrunc',
      'status=none',
    );
    expect(vm.share().volume.statSync('/log').size).to.equal(GIB);
    const { content } = filesystem.lookup(filesystem.root, 'log') as Inode;
    const stored = [...content!.chunks()].reduce((sum, { bytes }) => sum + bytes.buffer.byteLength, 0);
    expect(stored).to.be.within(GIB, 1.05 * GIB);
    expect(await inChroot('/', 'sh', '-c', 'tail -c 5 log | od -An -tx1; rm log')).to.equal(' 00 00 00 00 00\n');
    expect(await free()).to.equal(before);
  });

  it('1 TiB of holes costs what is written into it', async () => {
    const before = await free();
    const script = `truncate -s 1T holes; for at in 0 1 100 268435455; do echo "at $at" | dd of=holes bs=4k seek=$at conv=notrunc status=none; done
      stat -c '%s %b' holes; dd if=holes bs=4k skip=268435455 count=1 status=none | head -c 12; cp --sparse=always --reflink=never holes other; stat -c '%s %b' other
      perl -e 'open F, "<", "other" or die; sysseek F, 8192, 3 or die; print sysseek(F, 0, 1), "\\n"; sysseek F, 409600, 4 or die; print sysseek(F, 0, 1), "\\n"'; rm holes other`;
    expect(await inChroot('/', 'sh', '-ec', script)).to.equal(
      `${2 ** 40} 32\nat 268435455${2 ** 40} 32\n409600\n413696\n`,
    );
    expect(await free()).to.equal(before);
  });
});
