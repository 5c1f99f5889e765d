import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadTar, MemoryFileSystem } from '../../device/index.ts';
import { type ExecOptions, Vm, VmError } from '../../harness/index.ts';
import { copyIn } from '../../harness/node/copy.ts';
import { useGuest } from '../support/guest.ts';

const failure = (work: Promise<unknown>): Promise<VmError> =>
  work.then(
    (result) => expect.fail(`it came to an end: ${JSON.stringify(result)}`),
    (error: VmError) => error,
  );

describe('a machine in Node', function () {
  this.timeout(300_000);
  const guest = useGuest();
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'copies-'));
  });
  after(() => rm(directory, { recursive: true }));

  it('is waited for until a file, a port, or a line is there', async () => {
    const { vm } = guest;
    const later = (command: string) => vm.spawn(`sleep 0.1; ${command}`);
    later('touch "/tmp/a file"');
    await vm.waitFor({ file: '/tmp/a file' });
    later('exec nc -l -p 8086');
    await vm.waitFor({ port: 8086 });
    expect((await vm.exec('cat /proc/net/tcp /proc/net/tcp6')).stdout).to.match(/:1F96 /);
    later('echo it is ready > /dev/console');
    await vm.waitFor({ line: 'is ready' });
    // It has been there, and what has no end yet counts.
    await vm.waitFor({ line: /^it is/g });
    later('printf "login: " > /dev/console');
    await vm.waitFor({ line: /login: $/ });
    for (const expected of [{ file: '/nothing' }, { port: 9 }, { line: 'never' }])
      expect(await failure(vm.waitFor(expected, { timeoutMs: 100 }))).to.have.property('kind', 'timeout');
    expect(await failure(vm.waitFor({ port: 65536 }))).to.have.property('kind', 'configuration');
    const given = new AbortController();
    const waiting = [{ file: '/nothing' }, { line: 'never' }].map((expected) =>
      failure(vm.waitFor(expected, { signal: given.signal })),
    );
    given.abort(new Error('enough'));
    for (const error of await Promise.all(waiting)) expect(error.message).to.equal('enough');
    expect((await vm.exec('pgrep -f [n]othing')).stdout).to.equal('');
  });

  it('takes files and directories, and gives them out again', async () => {
    const { vm } = guest;
    const bytes = Uint8Array.from({ length: 60_000 }, (_, n) => n * n);
    await vm.copyIn(bytes, '/tmp/bytes');
    expect(Buffer.from(await vm.copyOut('/tmp/bytes')).equals(bytes)).to.equal(true);
    await mkdir(join(directory, 'tree/sub'), { recursive: true });
    await writeFile(join(directory, 'tree/sub/script'), '#!/bin/sh\necho runs\n');
    await chmod(join(directory, 'tree/sub/script'), 0o755);
    await vm.copyIn(join(directory, 'tree'), '/tmp/tree');
    await vm.copyIn(join(directory, 'tree/sub/script'), '/tmp/script');
    expect((await vm.exec('/tmp/tree/sub/script; /tmp/script')).stdout).to.equal('runs\nruns\n');
    await vm.copyOut('/tmp/script', join(directory, 'back'));
    expect(await readFile(join(directory, 'back'), 'utf8')).to.include('echo runs');
    const archive = join(directory, 'back.tar');
    await vm.copyOut('/tmp/tree', archive);
    const back = new MemoryFileSystem();
    const report = await loadTar(back, new Blob([new Uint8Array(await readFile(archive))]).stream());
    expect(report.skipped).to.deep.equal([]);
    expect(back.lookup(back.root, 'sub')).to.have.property('isDirectory', true);
    const refused = [
      vm.copyIn(join(directory, 'nothing'), '/tmp/x'),
      // It can be opened, and not read; and it can't be opened.
      vm.copyIn('/proc/self/mem', '/tmp/x'),
      vm.copyIn('/proc/sys/vm/compact_memory', '/tmp/x'),
      vm.copyIn(bytes, '/nowhere/x'),
      vm.copyOut('/nothing'),
      vm.copyOut('/tmp/tree'),
    ];
    for (const error of await Promise.all(refused.map(failure))) expect(error).to.be.instanceOf(VmError);
  });

  it('takes them where it has no gzip too', async () => {
    const { vm } = guest;
    const bytes = Uint8Array.from({ length: 40_000 }, (_, n) => n * n);
    await mkdir(join(directory, 'plain'), { recursive: true });
    await writeFile(join(directory, 'plain/file'), bytes);
    // BusyBox has one in itself: this answer alone is another guest's.
    const without = new Proxy(vm, {
      get: (_, name) =>
        name === 'exec'
          ? (command: string | string[], options?: ExecOptions) =>
              vm.exec(command === 'command -v gzip' ? 'false' : command, options)
          : Reflect.get(vm, name, vm),
    });
    await copyIn(without, bytes, '/tmp/plain-bytes');
    await copyIn(without, join(directory, 'plain/file'), '/tmp/plain-file');
    await copyIn(without, join(directory, 'plain'), '/tmp/plain');
    for (const path of ['/tmp/plain-bytes', '/tmp/plain-file', '/tmp/plain/file'])
      expect(Buffer.from(await vm.copyOut(path)).equals(bytes), path).to.equal(true);
  });

  it('stands still and goes on, at the time that it is told', async () => {
    const vm = await Vm.boot({ clock: 'keep' });
    try {
      await vm.setClock(Date.UTC(2001, 1, 3));
      const time = async () => 1000 * Number((await vm.exec('date +%s')).stdout);
      expect(await time()).to.be.within(Date.UTC(2001, 1, 3), Date.UTC(2001, 1, 3) + 60_000);
      const counter = vm.spawn('while :; do echo; sleep 0.01; done');
      let count = 0;
      counter.onStdout = () => void count++;
      await new Promise((resolve) => setTimeout(resolve, 200));
      await vm.pause();
      const before = count;
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(count).to.equal(before);
      const answer = vm.exec('sleep 0.1; echo answer');
      await vm.pause();
      await vm.start();
      expect((await answer).stdout).to.equal('answer\n');
      while (count === before) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(await time()).to.be.within(Date.UTC(2001, 1, 3), Date.UTC(2001, 1, 3) + 60_000);
      expect((await vm.exec('hwclock -r -u')).stdout).to.match(/2001/);
    } finally {
      await vm.stop();
    }
  });
});
