import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { ensureGuestImage, type GuestImage } from '../../guest-images/build.ts';
import { CpioArchive } from '../../guest-images/cpio.ts';
import { readCpio } from '../../guest-images/read-cpio.ts';
import { Vm } from '../../harness/index.ts';
import { CommandError } from '../../harness/machine/errors.ts';
import { useCli } from '../support/cli.ts';

/** Goes to another root, as an initial RAM disk does that has found it, and empties the one that it has come from. */
const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /new
/bin/busybox mount -t tmpfs none /new
/bin/busybox mkdir -p /new/bin /new/dev /new/proc /new/sys /new/mnt /new/tmp /new/root
/bin/busybox cp /bin/busybox /new/bin
for name in sh mount mkdir cat ls tty umount rm; do /bin/busybox ln -s busybox /new/bin/$name; done
for name in dev proc sys; do /bin/busybox mount --move /$name /new/$name; done
echo "$0 $@" > /new/started
exec /bin/busybox switch_root /new /bin/busybox sh -c 'while :; do sleep 1000; done'
`;

/** With Debian's kernel, whose drivers are modules, in the role of one that a user has built. */
describe('a kernel of the user’s own', function () {
  this.timeout(300_000);
  const { run } = useCli();
  let image: GuestImage;
  let place: string;
  const at = (name: string) => join(place, name);
  const makeInitrd = (name: string, files: Record<string, string>, pack: (bytes: Buffer) => Uint8Array) => {
    const busybox = [...readCpio(readFileSync(image.plainInitrd))].find(({ path }) => path === 'bin/busybox')!;
    const archive = new CpioArchive();
    for (const directory of ['bin', 'dev', 'proc', 'sys']) archive.directory(directory);
    archive.characterDevice('dev/console', 5, 1, 0o600);
    archive.file('bin/busybox', busybox.content, 0o755);
    for (const [path, content] of Object.entries(files)) archive.file(path, content, 0o755);
    writeFileSync(at(name), pack(archive.toBuffer()));
    return at(name);
  };

  before(async () => {
    image = await ensureGuestImage({ kernel: 'stock', driver: 'stock' });
    place = mkdtempSync(join(tmpdir(), 'own-kernel-'));
    // As `make modules_install` leaves them, some compressed.
    for (const { path, content } of readCpio(readFileSync(image.initrd))) {
      if (!/^lib\/modules\/[^/]+\/./.test(path)) continue;
      const isPacked = /\/(fuse|virtio)\.ko$/.test(path);
      mkdirSync(dirname(at(join('modules', path))), { recursive: true });
      writeFileSync(at(join('modules', isPacked ? `${path}.gz` : path)), isPacked ? gzipSync(content) : content);
    }
    mkdirSync(at('share'));
    writeFileSync(at('share/file'), 'shared\n');
  });
  after(() => rmSync(place, { recursive: true, force: true }));

  it('needs no initial RAM disk: modules come from its build, and go on coming after a freeze and a reboot', async () => {
    const own = ['--kernel', image.kernel, '--modules', at('modules')];
    const use = 'cat file; modprobe overlay && grep -c overlay /proc/filesystems; : > /mnt/kernel-modules/new';
    const first = await run([
      'freeze',
      '--store',
      at('store'),
      '--name',
      'own',
      '--share',
      at('share'),
      ...own,
      '--',
      'sh',
      '-c',
      use,
    ]);
    expect(first.stdout).to.equal('shared\n1\n');
    expect(first.stderr).to.match(/new: Read-only file system/);
    const script = 'ls /mnt/kernel-modules | grep -c overlay; cat file; grep -c overlay /proc/filesystems; reboot -f';
    const again = await run(['restore', '--store', at('store'), ...own, 'own', '--', 'sh', '-c', script]);
    expect([again.stdout, again.code], again.stderr).to.deep.equal(['1\nshared\n1\n', 123]);
    const without = await run(['restore', '--store', at('store'), '--kernel', image.kernel, 'own', '--', 'true']);
    expect(without.stderr).to.include('live directory of the host it was frozen on');
  });

  it('runs the agent beside somebody else’s initial RAM disk, and follows it to another root', async () => {
    const initrd = makeInitrd('initrd.gz', { start: INIT, init: INIT }, gzipSync);
    const options = { kernel: image.kernel, initrd, modules: at('modules'), cmdline: 'rdinit=/start more -- words' };
    const vm = await Vm.boot({ ...options, shares: [{ tag: 'share', source: at('share') }], cache: false });
    try {
      // Until it has gone to its root, there is no shell.
      const look = () =>
        vm.exec('cat /started').catch((error: unknown) => {
          if (!(error instanceof CommandError)) throw error;
        });
      for (let found = await look(); found?.code !== 0; ) found = await look();
      expect((await vm.exec('cat /started; ls -a /')).stdout)
        .to.match(/^\/start words\n/)
        .and.to.match(/^\.\n\.\.\nbin\ndev\n/m)
        .and.not.to.include('.v86-virtiofs');
      const cwd = await vm.mount();
      expect((await vm.exec('cat file', { cwd })).stdout).to.equal('shared\n');
      const terminal = vm.spawn(['tty'], { pty: { columns: 80, rows: 25 } });
      let said = '';
      terminal.onStdout = (data) => {
        said += Buffer.from(data).toString();
      };
      expect([await terminal.exited, said.trim()]).to.deep.equal([0, '/dev/pts/0']);
    } finally {
      await vm.stop();
    }
  });

  it('that panics before anything runs ends the command with its own code', async () => {
    const initrd = makeInitrd('useless.img', {}, (bytes) => bytes);
    const { code, stderr } = await run([
      'run',
      '--kernel',
      image.kernel,
      '--initrd',
      initrd,
      '--no-cache',
      '--',
      'true',
    ]);
    expect(code, stderr).to.equal(121);
    expect(stderr).to.match(/Kernel panic/);
  });

  it('tells test results as TAP, and those that a crash has kept from coming', async () => {
    const own = ['run', '--kernel', image.kernel, '--tap', '--', 'sh', '-c'];
    const log =
      'KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: list\n    1..1\n    not ok 1 add\nnot ok 1 list';
    const failed = await run([
      ...own,
      `printf '%s\\n' '${log}' | while IFS= read -r l; do echo "$l"; done > /dev/kmsg; dmesg`,
    ]);
    expect(failed.stdout)
      .to.include('\nnot ok 1 - list\n')
      .and.to.match(/^1\.\.1$/m);
    expect([failed.code, failed.stderr]).to.deep.equal([1, 'v86-virtiofs: 1 of 1 test failed\n']);
    const none = await run([...own, 'echo fine']);
    expect([none.code, none.stdout]).to.deep.equal([1, 'TAP version 14\n1..0\n']);
    const crashed = await run([...own, 'echo 1..2; echo ok 1 a; sleep 1; echo c > /proc/sysrq-trigger']);
    expect(crashed.code).to.equal(121);
    expect(crashed.stdout).to.match(
      /^TAP version 14\nok 1 - a\nnot ok 2 - 1 of 2 tests have a result\n[\s\S]*\nBail out! /,
    );
  });

  const refused: [string, () => string[], RegExp][] = [
    [
      'modules of another kernel',
      () => ['--kernel', image.vmlinux, '--modules', at('others')],
      /are those of 1\.2\.3, and the kernel is 6\.1/,
    ],
    [
      'a directory without modules',
      () => ['--kernel', image.kernel, '--modules', at('share')],
      /make modules_install INSTALL_MOD_PATH=/,
    ],
    [
      'modules for a kernel that has its own',
      () => ['--kernel', 'stock', '--modules', at('modules')],
      /the kernel stock has its own modules/,
    ],
    [
      'an initial RAM disk that is none',
      () => ['--kernel', image.kernel, '--initrd', at('share/file')],
      /file is not an initial RAM disk/,
    ],
  ];
  for (const [name, args, says] of refused)
    it(`${name}: refused`, async () => {
      mkdirSync(at('others/lib/modules/1.2.3'), { recursive: true });
      writeFileSync(at('others/lib/modules/1.2.3/modules.dep'), '');
      const { code, stderr } = await run(['run', ...args(), '--', 'true']);
      expect([code, stderr]).to.satisfy(([found]: [number]) => found === 125);
      expect(stderr).to.match(says);
    });
});
