import { copyFileSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { Vm } from '../../harness/index.ts';
import { CommandError } from '../../harness/machine/errors.ts';
import { useCli } from '../support/cli.ts';
import { installKselftest } from '../support/kselftest.ts';
import { useOwnKernel } from '../support/own-kernel.ts';

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

describe('a kernel of the user’s own (long)', function () {
  this.timeout(300_000);
  const { run } = useCli();
  const own = useOwnKernel();

  it('runs the agent beside somebody else’s initial RAM disk, and follows it to another root', async () => {
    const initrd = own.makeInitrd('initrd.gz', { start: INIT, init: INIT }, gzipSync);
    const options = {
      kernel: own.image.kernel,
      initrd,
      modules: own.at('modules'),
      cmdline: 'rdinit=/start more -- words',
    };
    const vm = await Vm.boot({ ...options, shares: [{ tag: 'share', source: own.at('share') }], cache: false });
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
    const initrd = own.makeInitrd('useless.img', {});
    const { code, stderr } = await run([
      'run',
      '--kernel',
      own.image.kernel,
      '--initrd',
      initrd,
      '--no-cache',
      '--',
      'true',
    ]);
    expect(code, stderr).to.equal(121);
    expect(stderr).to.match(/Kernel panic/);
  });

  it('that crashes has failed those tests that have no result', async () => {
    const script = 'echo 1..2; echo ok 1 a; sleep 1; echo c > /proc/sysrq-trigger';
    const crashed = await run(['run', '--kernel', own.image.kernel, '--tap', '--', 'sh', '-c', script]);
    expect(crashed.code).to.equal(121);
    expect(crashed.stdout).to.match(
      /^TAP version 14\nok 1 - a\nnot ok 2 - 1 of 2 tests have a result\n[\s\S]*\nBail out! /,
    );
  });

  it('loads a module from the directory that it is built in, shared live, and what is built there next', async () => {
    mkdirSync(own.at('build'));
    const [path] = (readdirSync(own.at('modules'), { recursive: true }) as string[]).filter((name) =>
      /loop\.ko$/.test(name),
    );
    const module = readFileSync(own.at(`modules/${path}`), 'latin1');
    // As a build does it: another file takes the place of the one that is there.
    const build = (says: string) => {
      expect(says).to.have.length('module loaded'.length);
      writeFileSync(own.at('build/mine.ko.new'), module.replace('module loaded', says), 'latin1');
      renameSync(own.at('build/mine.ko.new'), own.at('build/mine.ko'));
    };
    const load = 'insmod mine.ko && dmesg | grep -o "loop: module.*" && rmmod loop';
    build('module first!');
    const machine = ['--kernel', own.image.kernel, '--modules', own.at('modules')];
    const command = ['run', ...machine, '--share', own.at('build'), '--live', '--', 'sh', '-c', load];
    const first = await run(command);
    expect([first.code, first.stdout], first.stderr).to.deep.equal([0, 'loop: module first!\n']);
    build('module second');
    expect(await run(command)).to.deep.include({ code: 0, stdout: 'loop: module second\n' });
    // In one guest too.
    await using vm = await Vm.boot({
      kernel: own.image.kernel,
      modules: own.at('modules'),
      shares: [{ tag: 'share', source: own.at('build'), live: true }],
    });
    const cwd = await vm.mount();
    expect((await vm.exec(load, { cwd })).stdout).to.equal('loop: module second\n');
    build('module third!');
    expect((await vm.exec(load, { cwd })).stdout).to.equal('loop: module second\nloop: module third!\n');
  });

  it('runs kselftest, as it is installed, from a live share', async () => {
    const mine = `#!/bin/sh
echo TAP version 13
echo 1..2
insmod ../module/mine.ko && rmmod loop && echo ok 1 loads
echo "not ok 2 breaks"
exit 1
`;
    await installKselftest(own.at('selftests'), ['static_keys'], { mine: { 'mine.sh': mine } });
    const [path] = (readdirSync(own.at('modules'), { recursive: true }) as string[]).filter((name) =>
      /loop\.ko$/.test(name),
    );
    mkdirSync(own.at('selftests/module'));
    copyFileSync(own.at(`modules/${path}`), own.at('selftests/module/mine.ko'));
    writeFileSync(own.at('selftests/kselftest-list.txt'), 'mine:mine.sh\nstatic_keys:test_static_keys.sh\n');
    const machine = [
      '--kernel',
      own.image.kernel,
      '--modules',
      own.at('modules'),
      '--share',
      own.at('selftests'),
      '--live',
    ];
    const junit = own.at('kselftest.xml');
    const { code, stdout, stderr } = await run([
      'run',
      ...machine,
      '--tap',
      '--junit',
      junit,
      '--',
      'sh',
      '-c',
      'rm -f /usr/bin/timeout; ./run_kselftest.sh',
    ]);
    expect(code, stdout + stderr).to.equal(1);
    expect(stdout)
      .to.match(/^ {4}ok 1 - loads$/m)
      .and.to.match(/^ {4}not ok 2 - breaks$/m)
      .and.to.match(/^not ok 1 - selftests: mine: mine\.sh$/m)
      .and.to.match(/^ok 2 - selftests: static_keys: test_static_keys\.sh # SKIP/m);
    expect(readFileSync(junit, 'utf8')).to.match(/ tests="3" failures="1" errors="0" skipped="1"/);
  });
});
