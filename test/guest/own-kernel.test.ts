import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { useCli } from '../support/cli.ts';
import { useOwnKernel } from '../support/own-kernel.ts';

describe('a kernel of the user’s own', function () {
  this.timeout(300_000);
  const { run } = useCli();
  const own = useOwnKernel();

  it('needs no initial RAM disk: modules come from its build, and go on coming after a freeze and a reboot @long', async () => {
    const machine = ['--kernel', own.image.kernel, '--modules', own.at('modules')];
    const use = 'cat file; modprobe overlay && grep -c overlay /proc/filesystems; : > /mnt/kernel-modules/new';
    const first = await run([
      'freeze',
      '--store',
      own.at('store'),
      '--name',
      'own',
      '--share',
      own.at('share'),
      ...machine,
      '--',
      'sh',
      '-c',
      use,
    ]);
    expect(first.stdout).to.equal('shared\n1\n');
    expect(first.stderr).to.match(/new: Read-only file system/);
    const script = 'ls /mnt/kernel-modules | grep -c overlay; cat file; grep -c overlay /proc/filesystems; reboot -f';
    const again = await run(['restore', '--store', own.at('store'), ...machine, 'own', '--', 'sh', '-c', script]);
    expect([again.stdout, again.code], again.stderr).to.deep.equal(['1\nshared\n1\n', 123]);
    const without = await run([
      'restore',
      '--store',
      own.at('store'),
      '--kernel',
      own.image.kernel,
      'own',
      '--',
      'true',
    ]);
    expect(without.stderr).to.include('live directory of the host it was frozen on');
  });

  it('tells test results as TAP, JSON, and JUnit’s XML', async () => {
    const machine = ['run', '--kernel', own.image.kernel, '--tap', '--', 'sh', '-c'];
    const log =
      'KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: list\n    1..1\n    not ok 1 add\nnot ok 1 list';
    const failed = await run([
      ...machine,
      `printf '%s\\n' '${log}' | while IFS= read -r l; do echo "$l"; done > /dev/kmsg; dmesg`,
    ]);
    expect(failed.stdout)
      .to.include('\nnot ok 1 - list\n')
      .and.to.match(/^1\.\.1$/m);
    expect(failed.code).to.equal(1);
    expect(failed.stderr).to.match(/^v86-virtiofs: 1 of 1 test failed$/m);
    const junit = own.at('results.xml');
    const both = await run([
      'run',
      '--kernel',
      own.image.kernel,
      '--json',
      '--junit',
      junit,
      '--',
      'sh',
      '-c',
      'echo ok 1 a; exit 3',
    ]);
    expect([both.code, JSON.parse(both.stdout)]).to.deep.equal([
      3,
      { tests: [{ name: 'a', outcome: 'passed', reason: '', log: [], subtests: [] }], count: 1, failures: 0, code: 3 },
    ]);
    expect(readFileSync(junit, 'utf8')).to.match(/ tests="1" failures="0"(.|\n)* name="a"\/>\n<\/testsuite>\n/);
    const none = await run([...machine, 'echo fine']);
    expect([none.code, none.stdout]).to.deep.equal([1, 'TAP version 14\n1..0\n']);
  });

  const refused: [string, () => string[], RegExp][] = [
    [
      'modules of another kernel',
      () => ['--kernel', own.image.vmlinux, '--modules', own.at('others')],
      /are those of 1\.2\.3, and the kernel is 6\.1/,
    ],
    [
      'a directory without modules',
      () => ['--kernel', own.image.kernel, '--modules', own.at('share')],
      /make modules_install INSTALL_MOD_PATH=/,
    ],
    [
      'modules for a kernel that has its own',
      () => ['--kernel', 'stock', '--modules', own.at('modules')],
      /the kernel stock has its own modules/,
    ],
    [
      'an initial RAM disk that is none',
      () => ['--kernel', own.image.kernel, '--initrd', own.at('share/file')],
      /file is not an initial RAM disk/,
    ],
  ];
  for (const [name, args, says] of refused)
    it(`${name}: refused`, async () => {
      mkdirSync(own.at('others/lib/modules/1.2.3'), { recursive: true });
      writeFileSync(own.at('others/lib/modules/1.2.3/modules.dep'), '');
      const { code, stderr } = await run(['run', ...args(), '--', 'true']);
      expect(code, stderr).to.equal(125);
      expect(stderr).to.match(says);
    });
});
