import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { use as chaiUse, expect } from 'chai';
import { MemoryStore } from '../../../device/index.ts';
import { type Vm, VmError } from '../../../harness/index.ts';
import { type BaseMachine, baseMachine, check, guestChai, matchers } from '../../../harness/testing/index.ts';
import type { GuestAssertions } from '../../../harness/testing/matchers.ts';
import { useCli } from '../../support/cli.ts';
import { RUNNER_EXAMPLES } from '../../support/examples.ts';
import { runTests } from '../../support/runners/index.ts';

declare global {
  namespace Chai {
    interface Assertion extends GuestAssertions {}
  }
}

chaiUse(guestChai as never);

const failure = (work: () => unknown): Promise<Error> =>
  Promise.resolve()
    .then(work)
    .then(
      (result) => expect.fail(`it came to an end: ${String(result)}`),
      (error: Error) => error,
    );

const IN_SHARE = { cwd: '/mnt/share' };

describe('the test kit', function () {
  this.timeout(300_000);
  const cli = useCli();
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'bases-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  for (const [runner, example] of Object.entries(RUNNER_EXAMPLES)) {
    it(`is used by ${runner}, and says why a test has failed${['jest', 'node:test'].includes(runner) ? ' @long' : ''}`, async () => {
      const { code, output } = await runTests(runner, [
        `examples/testing/${example}`,
        'test/support/runners/failing.test.ts',
      ]);
      expect(code, output).not.to.equal(0);
      expect(output).to.match(/(✓|✔).*\bcounts\b/);
      for (const said of [
        /count is wrong/,
        /The guest's console ends with(.|\n)*\| prepared\s+\| of this test/,
        /#\d+ LOOKUP node 1 "nothing" .*→ ENOENT/,
        /the test took longer than 0\.3 s/,
        /Kernel panic - not syncing(.|\n)*Its console ends with/,
        /could not be kept: the guest has crashed/,
      ])
        expect(output).to.match(said);
      const [, store, id] = /npx v86-virtiofs shell --store (\S+) ([0-9a-f]{12})/.exec(output)!;
      if (runner !== 'node:test') return;
      // The machine is there as it was then.
      const shell = await cli.run(['shell', '--store', store!, id!], { input: 'cat /mnt/share/count\n' });
      expect(shell).to.deep.include({ code: 0, stdout: '1\n' });
    });
  }

  it('tells of the machine of a test that vitest gives up, and ends it @long', async () => {
    const { code, output } = await runTests('vitest', ['test/support/runners/gives-up.test.ts']);
    expect(code, output).to.equal(1);
    expect(output)
      .to.match(/Test timed out in 300ms/)
      .and.to.match(/✓.*is told of it/);
    expect(output).to.match(/gives up: given up by the runner\s+The guest's console ends with/);
  });

  it('tells of the machine of a test that jest gives up, and ends it before the next one', async () => {
    const { code, output } = await runTests('jest', ['test/support/runners/gives-up-jest.test.ts']);
    expect(code, output).to.equal(1);
    expect(output)
      .to.match(/Exceeded timeout of 300 ms/)
      .and.to.match(/Tests: +1 failed, 3 passed/);
    expect(output).to.match(/gives up: given up by the runner\s+The guest's console ends with/);
  });

  for (const name of ['database', 'faults', 'module'])
    it(`has an example that runs, ${name}.test.ts`, async () => {
      const { code, output } = await runTests('node:test', [`examples/testing/${name}.test.ts`], {
        // Each takes seconds: `test/full/testing.test.ts` has 200.
        MOMENTS: '10',
        // The other one has no modules.
        ...(name === 'module' && { V86_VIRTIOFS_KERNEL: 'stock' }),
      });
      expect(code, output).to.equal(0);
      expect(output).to.match(/pass 1\n/);
    });

  describe('a base machine', () => {
    let base: BaseMachine;
    let prepared = 0;
    before(async () => {
      base = await baseMachine({
        shares: [{ tag: 'share', locks: 'shared' }, { tag: 'other' }],
        store: directory,
        prepare: async (vm) => {
          prepared++;
          await vm.exec('echo 0 > count; mkdir dir; echo x > dir/file', IN_SHARE);
        },
      }).ready();
    });
    after(() => base.close());

    it('gives each its own fork, with its shares mounted', async () => {
      for (let n = 0; n < 3; n++) {
        await using vm = await base.fork();
        expect((await vm.exec('cat count; echo 1 > count; ls /mnt/other; echo 1 > /tmp/x', IN_SHARE)).stdout).to.equal(
          '0\n',
        );
        expect((await vm.exec('cat count; ls /tmp', IN_SHARE)).stdout).to.equal('1\nx\n');
      }
      expect(prepared).to.equal(1);
    });

    it('gives a test its machine, its name and a signal, and takes the machine back', async () => {
      let taken: Vm | undefined;
      const test = base.test((vm, { name, signal, context }) => {
        taken = vm;
        expect(name).to.equal('a test');
        expect(signal.aborted).to.equal(false);
        expect(context).to.have.property('name', 'a test');
      });
      expect(test).to.have.length(0);
      await test.call(undefined, { name: 'a test', signal: new AbortController().signal });
      expect((await failure(() => taken!.exec('true'))) as VmError).to.have.property('kind', 'stopped');
    });

    it("ends the machine when the runner gives the test up, and when the test's own time is up", async () => {
      const said: unknown[] = [];
      const { error } = console;
      console.error = (text: unknown) => said.push(text);
      try {
        const given = new AbortController();
        let taken: Vm | undefined;
        const test = base.test(async (vm) => {
          taken = vm;
          setTimeout(() => given.abort(new Error('given up')), 10);
          await vm.exec('sleep 1000');
        });
        const failed = await failure(() => test.call(undefined, { name: 'slow', signal: given.signal }));
        expect(failed.message).to.match(/^given up\n\nThe guest's console/);
        expect(taken!.isStopped).to.equal(true);
        expect(said.join()).to.match(/^slow: given up by the runner/);
      } finally {
        console.error = error;
      }
      const late = await failure(base.test(() => new Promise(() => {}), { timeoutMs: 10 }));
      expect(late).to.be.instanceOf(VmError).with.property('kind', 'timeout');
    });

    it('says it of whatever is thrown', async () => {
      for (const thrown of ['text', undefined, Object.freeze(new Error('frozen')), { message: 'like an error' }]) {
        const failed = await failure(
          base.test(() => {
            throw thrown;
          }),
        );
        expect(failed)
          .to.have.property('message')
          .that.matches(/The guest's console ends with/);
        expect(failed.message).to.include(String((thrown as Error | undefined)?.message ?? thrown));
      }
    });

    it('can be extended, from what it was', async () => {
      await using more = base.extend({ prepare: 'cat count; echo 5 > count; echo more > more' });
      await using vm = await more.fork();
      expect((await vm.exec('cat count more dir/file', IN_SHARE)).stdout).to.equal('5\nmore\nx\n');
      await using other = await base.fork();
      expect((await other.exec('cat count; ls', IN_SHARE)).stdout).to.equal('0\ncount\ndir\n');
    });

    it('lets a fork go back and forth in its own time', async () => {
      await using vm = await base.fork();
      const first = await vm.checkpoint();
      await vm.exec('echo 2 > count; echo 2 > /tmp/x', IN_SHARE);
      const second = await vm.checkpoint();
      await vm.exec('rm count', IN_SHARE);
      await vm.rewind();
      expect((await vm.exec('cat count /tmp/x', IN_SHARE)).stdout).to.equal('2\n2\n');
      await vm.rewind(first);
      expect((await vm.exec('cat count; ls /tmp', IN_SHARE)).stdout).to.equal('0\n');
      await vm.rewind(second);
      expect((await vm.exec('cat count', IN_SHARE)).stdout).to.equal('2\n');
      await first.forget();
      expect(await failure(() => vm.rewind(first))).to.have.property('kind', 'configuration');
      await using other = await base.fork();
      expect(await failure(() => other.rewind(second))).to.have.property('kind', 'configuration');
    });

    it('knows files, what is open, locks, output and the log of the kernel, in each way of saying so', async () => {
      await using vm = await base.fork();
      const share = vm.share('share');
      const result = await vm.exec('echo out; echo err >&2; exit 3');
      const holder = vm.spawn(['locker', 'posix', 'count'], IN_SHARE);
      const locked = new Promise((resolve) => (holder.onStdout = resolve));
      await locked;

      const cases: [
        keyof typeof check,
        keyof typeof matchers,
        keyof GuestAssertions,
        unknown,
        right: unknown[],
        wrong: unknown[],
        said: RegExp,
      ][] = [
        ['exitCode', 'toHaveExitCode', 'exitCode', result, [3], [0], /it has ended with 3, .*out\nerr/s],
        ['output', 'toHaveOutput', 'output', result, ['out\n'], [/nothing/], /its stdout is\nout\n/],
        ['output', 'toHaveOutput', 'output', result, [/^o/g], ['out'], /to have the output "out"/],
        ['file', 'toHaveFile', 'file', share, ['/dir/file'], ['/dir/other'], /in \/dir\/ there is file/],
        ['file', 'toHaveFile', 'file', share, ['/dir/file', 'x\n'], ['/dir/file', 'y'], /it contains\nx/],
        ['file', 'toHaveFile', 'file', share, ['/dir'], ['/dir', 'x'], /is a directory/],
        [
          'file',
          'toHaveFile',
          'file',
          share,
          ['count', new Uint8Array([48, 10])],
          ['count', new Uint8Array(2)],
          /2 bytes/,
        ],
        ['open', 'toHaveOpen', 'open', share, ['/count'], ['/dir/file'], /open/],
        ['lockOn', 'toHaveLockOn', 'lockOn', share, ['/count'], ['/dir/file'], /it has 1 locks/],
      ];
      for (const [name, matcher, property, subject, right, wrong, said] of cases) {
        const call = check[name] as (...given: unknown[]) => unknown;
        call(subject, ...right);
        const thrown = await failure(() => call(subject, ...wrong));
        expect(thrown).to.have.property('code', 'ERR_ASSERTION');
        expect(thrown.message, name).to.match(said);
        const match = (isNot: boolean, args: unknown[]) => matchers[matcher].call({ isNot } as never, subject, ...args);
        expect(await match(false, right)).to.have.property('pass', true);
        const verdict = await match(false, wrong);
        expect(verdict.pass).to.equal(false);
        expect(verdict.message()).to.match(said);
        expect((await match(true, right)).message()).to.match(/not to have/);
        const say = (args: unknown[]) =>
          (expect(subject).to.have[property] as (...given: unknown[]) => unknown)(...args);
        say(right);
        expect((await failure(() => say(wrong))).message).to.match(said);
        (expect(subject).not.to.have[property] as (...given: unknown[]) => unknown)(...wrong);
      }

      const unsafe = await vm.exec('printf "\\033[2J"');
      expect((await failure(() => check.output(unsafe, 'x'))).message).to.include('\\x1b[2J');

      await check.kernelLog(vm);
      await expect(vm).to.have.cleanKernelLog();
      for (const line of ['WARNING: CPU: 0 PID: 1 at fs/x.c:1', 'BUG: sleeping function', 'Oops: 0000 [#1]']) {
        await using fresh = await base.fork();
        await fresh.exec(['sh', '-c', 'echo "$1" > /dev/kmsg', 'sh', line]);
        expect((await failure(() => check.kernelLog(fresh))).message).to.include(line);
        expect(await matchers.toHaveCleanKernelLog(fresh)).to.have.property('pass', false);
        expect((await failure(() => expect(fresh).to.have.cleanKernelLog())).message).to.include(line);
      }
    });
  });

  it('opens what is kept of a test that has failed, with what is elsewhere', async () => {
    const live = await mkdtemp(join(tmpdir(), 'live-'));
    await writeFile(join(live, 'host'), 'of the host\n');
    await using base = baseMachine({
      shares: [{ tag: 'share' }, { tag: 'live', source: live, live: true }],
      store: directory,
      prepare: 'echo 1 > file',
    });
    const failed = await failure(base.test((vm) => vm.exec('cat host nothing', { cwd: '/mnt/live', check: true })));
    const [, words] = /npx v86-virtiofs (.*)/.exec(failed.message)!;
    expect(words).to.match(new RegExp(`^restore --store ${directory} --live ${live} [0-9a-f]{12}$`));
    const shell = await cli.run(words!.split(' '), { input: 'cat /mnt/share/file /mnt/live/host\n' });
    expect(shell).to.deep.include({ code: 0, stdout: '1\nof the host\n' });
    await rm(live, { recursive: true });
  });

  describe('what is kept of a base machine', () => {
    const made: string[] = [];
    const base = (name: string, more: Parameters<typeof baseMachine>[0] = {}) =>
      baseMachine({ store: directory, prepare: () => made.push(name), ...more });
    async function makes(machine: BaseMachine): Promise<boolean> {
      const before = made.length;
      try {
        await machine.ready();
      } finally {
        await machine.close();
      }
      return made.length > before;
    }

    it('is found again, unless something is another than it was @long', async () => {
      const source = await mkdtemp(join(tmpdir(), 'source-'));
      await writeFile(join(source, 'file'), '1');
      const shares = [{ tag: 'share', source }];
      expect(await makes(base('first', { shares }))).to.equal(true);
      expect(await makes(base('first', { shares }))).to.equal(false);
      expect(await makes(base('first', { shares, key: '2' }))).to.equal(true);
      await writeFile(join(source, 'file'), '2');
      expect(await makes(base('first', { shares }))).to.equal(true);
      await using machine = base('first', { shares });
      await using vm = await machine.fork();
      check.file(vm.share(), '/file', '2');
      await rm(source, { recursive: true });
    });

    it('is another one with another clock', async () => {
      const [first, second] = [Date.UTC(2020, 0, 1), Date.UTC(2038, 0, 1)];
      expect(await makes(base('clock', { clock: () => first }))).to.equal(true);
      expect(await makes(base('clock', { clock: () => first }))).to.equal(false);
      expect(await makes(base('clock', { clock: () => second }))).to.equal(true);
    });

    it('may be closed while a test has a fork of it', async () => {
      let vm: Vm | undefined;
      const closing = (body: () => void) => {
        const machine = base('closed');
        return machine.test(async (fork) => {
          vm = fork;
          await machine.close();
          body();
        })();
      };
      await closing(() => {});
      expect((await failure(() => vm!.exec('true'))) as VmError).to.have.property('kind', 'stopped');
      expect((await failure(() => closing(() => expect(1).to.equal(2)))).message).to.match(/expected 1 to equal 2/);
      expect(vm!.isStopped).to.equal(true);
    });

    it('is made again where it is damaged', async () => {
      const own = await mkdtemp(join(tmpdir(), 'bases-'));
      const store = { store: own };
      expect(await makes(base('damaged', store))).to.equal(true);
      const [layer] = (await readdir(own)).filter((name) => name.endsWith('.layer'));
      const { open } = await import('node:fs/promises');
      const file = await open(join(own, layer!), 'r+');
      const { size } = await file.stat();
      await file.write(Buffer.alloc(1000, 7), 0, 1000, size - 5000);
      await file.close();
      expect(await makes(base('damaged', store))).to.equal(true);
      expect(await makes(base('damaged', store))).to.equal(false);
      await rm(own, { recursive: true });
    });

    it('is made by one of those who need it at once, and not kept when it fails', async () => {
      const store = { store: directory, key: 'at once' };
      const both = [base('once', store), base('once', store)];
      const before = made.length;
      await Promise.all(both.map((each) => each.ready()));
      expect(made).to.have.length(before + 1);
      await Promise.all(both.map((each) => each.close()));
      for (let n = 0; n < 2; n++) {
        const failing = baseMachine({ store: directory, prepare: 'echo 1; false; echo 2' });
        expect((await failure(() => failing.ready())).message).to.match(/has ended with 1:\n1$/);
        await failing.close();
      }
    });

    it('is made by one of several processes that need it at once @long', async () => {
      const ends = await Promise.all(
        [1, 2].map(() => runTests('node:test', ['test/support/runners/at-once.test.ts'], { TMPDIR: directory })),
      );
      for (const { code, output } of ends) expect(code, output).to.equal(0);
      expect(
        ends
          .map(({ output }) => output)
          .join('')
          .match(/prepared by/g),
      ).to.have.length(1);
    });

    it("may be in a store of the caller's", async () => {
      const store = new MemoryStore();
      expect(await makes(base('in memory', { store }))).to.equal(true);
      expect(await makes(base('in memory', { store }))).to.equal(false);
    });

    it('refuses a filesystem that all forks would have', () => {
      expect(() => baseMachine({ root: { filesystem: {} as never } })).to.throw(VmError, /can't have a filesystem/);
    });
  });
});
