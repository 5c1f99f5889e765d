import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { makeCall } from '../../../harness/node/cli/daemon/call.ts';
import { encodeFrame, FROM_CLIENT } from '../../../harness/node/cli/daemon/wire.ts';
import { useCli } from '../../support/cli.ts';
import { CLI } from '../../support/compiled-cli.ts';
import { childrenOf, clientOf, TestDaemon } from '../../support/daemon.ts';
import { PANIC } from '../../support/panic.ts';
import { Terminal } from '../../support/terminal.ts';

describe('a daemon that keeps guests ready', function () {
  this.timeout(300_000);
  const cli = useCli();
  let directory: string;
  let share: string;
  let daemon: TestDaemon;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'daemon-'));
  });
  beforeEach(() => {
    share = mkdtempSync(join(directory, 'share-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  describe('of the usual options', () => {
    before(async () => {
      daemon = await TestDaemon.begin(cli, directory, '--count', '1');
    });
    after(() => daemon.stop());

    it('passes arguments, stdin, output and exit codes, again and again, and each guest has nothing of the one before', async () => {
      const look =
        'cat; echo "$1"; ls -a /tmp /root . | grep mine; cat /proc/sys/kernel/random/uuid; echo err >&2; touch mine /tmp/mine /root/mine; exit 7';
      const drawn = new Set<string>();
      for (let n = 0; n < 3; n++) {
        const { code, stdout, stderr } = await daemon.run(['--', 'sh', '-c', look, 'sh', `word ${n}`], `in ${n}\n`);
        const [first, second, uuid, ...rest] = stdout.split('\n');
        expect({ code, first, second, rest }).to.deep.equal({
          code: 7,
          first: `in ${n}`,
          second: `word ${n}`,
          rest: [''],
        });
        expect(stderr).to.include('err\n');
        drawn.add(uuid!);
      }
      expect(drawn).to.have.property('size', 3);
      expect((await daemon.run(['--', 'nope'])).code).to.equal(127);
      expect((await daemon.run(['--timeout', '0.5', '--', 'sleep', '100'])).code).to.equal(124);
      const large = await daemon.run(['--', 'sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x; sleep 0.1; echo end']);
      expect(large.stdout.length).to.equal(3_000_004);
      const back = await daemon.run(['--', 'wc', '-c'], 'y'.repeat(1_000_000));
      expect(back.stdout.trim()).to.equal('1000000');
    });

    it('shares what the client says, in the client’s directory and with its umask, and carries changes back', async () => {
      mkdirSync(join(share, 'a'), { mode: 0o700 });
      writeFileSync(join(share, 'a/file'), 'host\n', { mode: 0o640 });
      const steps = 'stat -c %a . file; cat file; echo guest > file; echo new > new; exit 3';
      const { code, stdout } = await daemon.run(['--share', join(share, 'a'), '--write-back', '--', 'sh', '-c', steps]);
      expect({ code, stdout }).to.deep.equal({ code: 3, stdout: '700\n640\nhost\n' });
      expect(readFileSync(join(share, 'a/file'), 'utf8')).to.equal('guest\n');
      expect(readFileSync(join(share, 'a/new'), 'utf8')).to.equal('new\n');
      const saved = join(share, 'saved.json');
      expect((await daemon.run(['--save', saved, '--', 'sh', '-c', 'echo x > only'])).code).to.equal(0);
      expect(JSON.parse(readFileSync(saved, 'utf8'))).to.deep.equal({ '/only': 'x\n' });
      const wrong = await daemon.run(['--share', join(share, 'none'), '--', 'true']);
      expect(wrong.code).to.equal(125);
      expect(wrong.stderr).to.match(/none/);
    });

    it('lets a guest crash, and has another one', async () => {
      expect((await daemon.run(['--', 'sh', '-c', PANIC])).code).to.equal(121);
      expect((await daemon.run(['--', 'halt', '-f'])).code).to.equal(122);
      expect((await daemon.run(['--', 'echo', 'well'])).stdout).to.equal('well\n');
    });

    it('leaves to the client what it has no guest for: other options, another build, a guest that is taken', async () => {
      const other = await cli.run(['run', '-v', '-m', '128', '--', 'echo', 'own'], { env: daemon.env });
      expect(other).to.include({ code: 0, stdout: 'own\n' });
      expect(other.stderr).to.include('the daemon does not run this: its guests have other options');
      const first = await daemon.start(['--', 'sh', '-c', 'echo runs >&2; cat']);
      const second = await cli.run(['run', '-v', '--', 'echo', 'beside'], { env: daemon.env });
      expect(second).to.include({ code: 0, stdout: 'beside\n' });
      first.child.kill('SIGTERM');
      await first.ended;
      const answer = await new Promise<string>((resolve) => {
        const socket = connect(daemon.socket);
        socket.write(
          encodeFrame(FROM_CLIENT.CALL, JSON.stringify({ ...makeCall(['run', '--', 'true']), build: 'old' })),
        );
        let said = '';
        socket.on('data', (data) => (said += data)).on('close', () => resolve(said));
      });
      expect(answer).to.match(/another build: end it with/);
    });

    it('gives signals to the command, and writes back what is there', async () => {
      const steps = 'trap "echo trapped > got; exit 9" TERM; echo runs >&2; while :; do sleep 0.1; done';
      const one = await daemon.start(['--share', share, '--write-back', '--', 'sh', '-c', steps]);
      process.kill(clientOf(one), 'SIGTERM');
      expect((await one.ended).code).to.equal(9);
      expect(readFileSync(join(share, 'got'), 'utf8')).to.equal('trapped\n');
    });

    it('hangs the command up when its client is killed, writes back, and takes the next', async () => {
      const steps = 'echo half > half; trap "echo hup > got; exit" HUP; echo runs >&2; while :; do sleep 0.1; done';
      const one = await daemon.start(['--share', share, '--write-back', '--', 'sh', '-c', steps]);
      process.kill(clientOf(one), 'SIGKILL');
      await one.ended;
      expect((await daemon.run(['--', 'echo', 'next'])).stdout).to.equal('next\n');
      expect(readFileSync(join(share, 'half'), 'utf8')).to.equal('half\n');
      expect(readFileSync(join(share, 'got'), 'utf8')).to.equal('hup\n');
    });

    it('tells a client that the process of its guest was killed, and has another one', async () => {
      const one = await daemon.start(['--', 'sh', '-c', 'echo runs >&2; cat']);
      for (const worker of childrenOf(clientOf(daemon.process))) process.kill(worker, 'SIGKILL');
      const { code, stderr } = await one.ended;
      expect(code).to.equal(125);
      expect(stderr).to.match(/ended in the middle of the command/);
      expect((await daemon.run(['--', 'echo', 'next'])).stdout).to.equal('next\n');
    });
  });

  it('killed itself, lets the command come to its end, and the next is run without it', async () => {
    daemon = await TestDaemon.begin(cli, directory, '--count', '1');
    const one = await daemon.start([
      '--share',
      share,
      '--write-back',
      '--',
      'sh',
      '-c',
      'echo runs >&2; while [ ! -e /tmp/x ]; do sleep 0.1; test $((i=i+1)) -lt 20 || touch /tmp/x; done; echo done > done; exit 5',
    ]);
    process.kill(clientOf(daemon.process), 'SIGKILL');
    await daemon.process.ended;
    expect((await one.ended).code).to.equal(5);
    expect(readFileSync(join(share, 'done'), 'utf8')).to.equal('done\n');
    expect(await cli.run(['run', '--', 'echo', 'alone'], { env: daemon.env })).to.include({
      code: 0,
      stdout: 'alone\n',
    });
  });

  it('keeps guests of live directories, which each finds as they are', async () => {
    daemon = await TestDaemon.begin(cli, directory, '--count', '1', '--live', '--share', share);
    writeFileSync(join(share, 'file'), 'one\n');
    expect(
      (await daemon.run(['--share', share, '--live', '--', 'sh', '-c', 'cat file; echo two > file'])).stdout,
    ).to.equal('one\n');
    expect(readFileSync(join(share, 'file'), 'utf8')).to.equal('two\n');
    writeFileSync(join(share, 'file'), 'three\n');
    expect((await daemon.run(['--share', share, '--live', '--', 'cat', 'file'])).stdout).to.equal('three\n');
    await daemon.stop();
  });

  describe('of two guests', () => {
    before(async () => {
      daemon = await TestDaemon.begin(cli, directory, '--count', '2');
    });
    after(() => daemon.stop());

    it('serves two clients at once, from one snapshot and with randomness of their own; a third has a guest of its own', async () => {
      const steps = 'cat /proc/sys/kernel/random/uuid; echo runs >&2; while :; do sleep 0.1; done';
      const both = await Promise.all([0, 1].map(() => daemon.start(['--', 'sh', '-c', steps])));
      const third = await cli.run(['run', '-v', '--', 'echo', 'beside'], { env: daemon.env });
      expect(third).to.include({ code: 0, stdout: 'beside\n' });
      expect(third.stderr).to.include('the daemon does not run this: all of its guests are taken');
      for (const one of both) process.kill(clientOf(one), 'SIGTERM');
      const said = await Promise.all(both.map(({ ended }) => ended));
      expect(said.map(({ code }) => code)).to.deep.equal([143, 143]);
      expect(new Set(said.map(({ stdout }) => stdout))).to.have.property('size', 2);
    });

    it('gives a shell the client’s terminal, its size and its keys, and none of it to the next', async () => {
      const terminal = await shell(daemon);
      terminal.type('stty size\n');
      await terminal.says(/24 80\r/);
      terminal.resize(30, 100);
      await resized(terminal, /30 100\r/);
      // Until it has begun the line editor has the keys, and the shell takes no notice of them while it forks: so the child says that it has.
      terminal.type('sh -c "echo be\'gun\'; exec sleep 1000"\n');
      await terminal.says(/begun\r/);
      terminal.type('\x03');
      await terminal.says(/# /);
      terminal.type('echo $((6 * 7)); touch mine; exit 3\n');
      await terminal.says(/42\r/);
      expect(await terminal.ended()).to.equal(3);
      expect((await daemon.run(['--', 'sh', '-c', 'ls; tty; echo end'])).stdout).to.equal('not a tty\nend\n');
    });

    it('ends a shell whose terminal is gone, and writes back', async () => {
      const terminal = await shell(daemon, '--share', share, '--write-back');
      terminal.type('echo there > file; echo made\n');
      await terminal.says(/\nmade/);
      terminal.hangUp();
      await terminal.ended();
      for (let n = 0; n < 2; n++) expect((await daemon.run(['--', 'echo', 'next'])).stdout).to.equal('next\n');
      // Both guests may have waited meanwhile.
      while (!existsSync(join(share, 'file'))) await delay(20);
      expect(readFileSync(join(share, 'file'), 'utf8')).to.equal('there\n');
    });
  });

  /** A shell by the daemon, on a terminal, that waits for its first command. */
  async function shell({ env }: TestDaemon, ...args: string[]): Promise<Terminal> {
    for (;;) {
      const terminal = new Terminal([process.execPath, ...CLI, 'shell', '-v', ...args], {
        ...process.env,
        ...env,
      });
      after(() => terminal.child.kill('SIGKILL'));
      await terminal.says(/# /);
      if (!/the daemon does not run this/.test(terminal.said)) return terminal;
      terminal.type('exit\n');
      await terminal.ended();
    }
  }

  /** The size comes by a way of its own. */
  async function resized(terminal: Terminal, size: RegExp): Promise<void> {
    do {
      terminal.type('stty size\n');
      await terminal.says(/\d+ \d+\r/);
    } while (!size.test(terminal.said));
  }
});
