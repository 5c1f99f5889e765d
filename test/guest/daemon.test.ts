import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeCall } from '../../harness/node/cli/daemon/call.ts';
import { encodeFrame, FROM_CLIENT } from '../../harness/node/cli/daemon/wire.ts';
import { type CliProcess, type CliResult, useCli } from '../support/cli.ts';

/** What may be said on a loaded machine, so that a test has to ask again. */
const LATER = /the daemon does not run this: (all of its guests are taken|it does not answer|one of its guests)/;

describe('a daemon that keeps guests ready', function () {
  this.timeout(300_000);
  const cli = useCli();
  let directory: string;
  let share: string;
  let env: NodeJS.ProcessEnv;
  let daemon: CliProcess;
  let served = 0;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'daemon-'));
  });
  beforeEach(() => {
    share = mkdtempSync(join(directory, 'share-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  async function begin(...args: string[]): Promise<void> {
    env = { V86_VIRTIOFS_DAEMON: join(mkdtempSync(join(directory, 'place-')), 'd.sock') };
    served = 0;
    daemon = cli.start(['daemon', '--count', '1', ...args], { env });
    await daemon.says(/ready: 1 guest waits/);
  }

  async function end(): Promise<void> {
    expect((await cli.run(['daemon', '--stop'], { env })).code).to.equal(0);
    const { code, stderr } = await daemon.ended;
    expect(code).to.equal(0);
    expect(Number(/Commands run: (\d+)/.exec(stderr)![1]), 'commands that the daemon has run').to.be.at.least(served);
    expect(existsSync(env['V86_VIRTIOFS_DAEMON']!)).to.equal(false);
  }

  /** By the daemon. */
  async function run(args: string[], input?: string): Promise<CliResult> {
    for (;;) {
      const result = await cli.run(['run', '-v', ...args], { env, input });
      if (LATER.test(result.stderr)) continue;
      expect(result.stderr).not.to.match(/the daemon does not run this/);
      served++;
      return result;
    }
  }

  /** One by the daemon, which says "runs" on stderr; settles when it has. */
  async function startOne(args: string[]): Promise<CliProcess> {
    for (;;) {
      const one = cli.start(['run', '-v', ...args], { env });
      const [said] = await one.says(/runs\n|the daemon does not run this.*/);
      if (said === 'runs\n') {
        served++;
        return one;
      }
      process.kill(clientOf(one), 'SIGKILL');
      await one.ended;
    }
  }

  describe('of the usual options', () => {
    before(() => begin());
    after(end);

    it('passes arguments, stdin, output and exit codes, again and again, and each guest has nothing of the one before', async () => {
      const look =
        'cat; echo "$1"; ls -a /tmp /root . | grep mine; cat /proc/sys/kernel/random/uuid; echo err >&2; touch mine /tmp/mine /root/mine; exit 7';
      const drawn = new Set<string>();
      for (let n = 0; n < 3; n++) {
        const { code, stdout, stderr } = await run(['--', 'sh', '-c', look, 'sh', `word ${n}`], `in ${n}\n`);
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
      expect((await run(['--', 'nope'])).code).to.equal(127);
      expect((await run(['--timeout', '0.5', '--', 'sleep', '100'])).code).to.equal(124);
      const large = await run(['--', 'sh', '-c', 'head -c 3000000 /dev/zero | tr "\\0" x; sleep 0.1; echo end']);
      expect(large.stdout.length).to.equal(3_000_004);
      const back = await run(['--', 'wc', '-c'], 'y'.repeat(1_000_000));
      expect(back.stdout.trim()).to.equal('1000000');
    });

    it('shares what the client says, in the client’s directory and with its umask, and carries changes back', async () => {
      mkdirSync(join(share, 'a'), { mode: 0o700 });
      writeFileSync(join(share, 'a/file'), 'host\n', { mode: 0o640 });
      const steps = 'stat -c %a . file; cat file; echo guest > file; echo new > new; exit 3';
      const { code, stdout } = await run(['--share', join(share, 'a'), '--write-back', '--', 'sh', '-c', steps]);
      expect({ code, stdout }).to.deep.equal({ code: 3, stdout: '700\n640\nhost\n' });
      expect(readFileSync(join(share, 'a/file'), 'utf8')).to.equal('guest\n');
      expect(readFileSync(join(share, 'a/new'), 'utf8')).to.equal('new\n');
      const saved = join(share, 'saved.json');
      expect((await run(['--save', saved, '--', 'sh', '-c', 'echo x > only'])).code).to.equal(0);
      expect(JSON.parse(readFileSync(saved, 'utf8'))).to.deep.equal({ '/only': 'x\n' });
      const wrong = await run(['--share', join(share, 'none'), '--', 'true']);
      expect(wrong.code).to.equal(125);
      expect(wrong.stderr).to.match(/none/);
    });

    it('lets a guest crash, and has another one', async () => {
      expect((await run(['--', 'sh', '-c', 'echo c > /proc/sysrq-trigger; sleep 100'])).code).to.equal(121);
      expect((await run(['--', 'halt', '-f'])).code).to.equal(122);
      expect((await run(['--', 'echo', 'well'])).stdout).to.equal('well\n');
    });

    it('leaves to the client what it has no guest for: other options, another build, a guest that is taken', async () => {
      const other = await cli.run(['run', '-v', '-m', '128', '--', 'echo', 'own'], { env });
      expect(other).to.include({ code: 0, stdout: 'own\n' });
      expect(other.stderr).to.include('the daemon does not run this: its guests have other options');
      const first = await startOne(['--', 'sh', '-c', 'echo runs >&2; cat']);
      const second = await cli.run(['run', '-v', '--', 'echo', 'beside'], { env });
      expect(second).to.include({ code: 0, stdout: 'beside\n' });
      first.child.kill('SIGTERM');
      await first.ended;
      const answer = await new Promise<string>((resolve) => {
        const socket = connect(env['V86_VIRTIOFS_DAEMON']!);
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
      const one = await startOne(['--share', share, '--write-back', '--', 'sh', '-c', steps]);
      process.kill(clientOf(one), 'SIGTERM');
      expect((await one.ended).code).to.equal(9);
      expect(readFileSync(join(share, 'got'), 'utf8')).to.equal('trapped\n');
    });

    it('hangs the command up when its client is killed, writes back, and takes the next', async () => {
      const steps = 'echo half > half; trap "echo hup > got; exit" HUP; echo runs >&2; while :; do sleep 0.1; done';
      const one = await startOne(['--share', share, '--write-back', '--', 'sh', '-c', steps]);
      process.kill(clientOf(one), 'SIGKILL');
      await one.ended;
      expect((await run(['--', 'echo', 'next'])).stdout).to.equal('next\n');
      expect(readFileSync(join(share, 'half'), 'utf8')).to.equal('half\n');
      expect(readFileSync(join(share, 'got'), 'utf8')).to.equal('hup\n');
    });

    it('tells a client that the process of its guest was killed, and has another one', async () => {
      const one = await startOne(['--', 'sh', '-c', 'echo runs >&2; cat']);
      for (const worker of childrenOf(clientOf(daemon))) process.kill(worker, 'SIGKILL');
      const { code, stderr } = await one.ended;
      expect(code).to.equal(125);
      expect(stderr).to.match(/ended in the middle of the command/);
      expect((await run(['--', 'echo', 'next'])).stdout).to.equal('next\n');
    });
  });

  it('killed itself, lets the command come to its end, and the next is run without it', async () => {
    await begin();
    const one = await startOne([
      '--share',
      share,
      '--write-back',
      '--',
      'sh',
      '-c',
      'echo runs >&2; while [ ! -e /tmp/x ]; do sleep 0.1; test $((i=i+1)) -lt 20 || touch /tmp/x; done; echo done > done; exit 5',
    ]);
    process.kill(clientOf(daemon), 'SIGKILL');
    await daemon.ended;
    expect((await one.ended).code).to.equal(5);
    expect(readFileSync(join(share, 'done'), 'utf8')).to.equal('done\n');
    expect(await cli.run(['run', '--', 'echo', 'alone'], { env })).to.include({ code: 0, stdout: 'alone\n' });
  });

  it('keeps guests of live directories, which each finds as they are', async () => {
    await begin('--live', '--share', share);
    writeFileSync(join(share, 'file'), 'one\n');
    expect((await run(['--share', share, '--live', '--', 'sh', '-c', 'cat file; echo two > file'])).stdout).to.equal(
      'one\n',
    );
    expect(readFileSync(join(share, 'file'), 'utf8')).to.equal('two\n');
    writeFileSync(join(share, 'file'), 'three\n');
    expect((await run(['--share', share, '--live', '--', 'cat', 'file'])).stdout).to.equal('three\n');
    await end();
  });
});

/** The process behind `timeout`. */
function clientOf({ child }: CliProcess): number {
  return childrenOf(child.pid!)[0]!;
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
}
