import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { useCli } from '../support/cli.ts';
import { childrenOf, clientOf, TestDaemon } from '../support/daemon.ts';
import { randomNumbers } from '../support/hostile-driver.ts';

const ROUNDS = 40;
const LOOP = 'while :; do sleep 0.1; done';

describe('a daemon, in any order', function () {
  this.timeout(900_000);
  const cli = useCli();
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'daemon-'));
  });
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('ends when nobody has wanted anything for as long as it was told, and not while a command runs', async () => {
    const daemon = await TestDaemon.begin(cli, directory, '--count', '2', '--idle', '0.1');
    const { code, stdout } = await daemon.run(['--', 'sh', '-c', 'sleep 10; echo end']);
    expect({ code, stdout }).to.deep.equal({ code: 0, stdout: 'end\n' });
    expect(await daemon.hasEnded()).to.match(/nobody has wanted anything/);
    expect(await cli.run(['run', '--', 'echo', 'alone'], { env: daemon.env })).to.include({
      code: 0,
      stdout: 'alone\n',
    });
  });

  it('told to end, lets what runs come to its end; told twice, ends at once, and what runs comes to its end all the same', async () => {
    for (const signals of [1, 2]) {
      const share = mkdtempSync(join(directory, 'share-'));
      const daemon = await TestDaemon.begin(cli, directory, '--count', '2');
      const steps = 'echo runs >&2; sleep 5; echo done > done; exit 4';
      const one = await daemon.start(['--share', share, '--write-back', '--', 'sh', '-c', steps]);
      for (let n = 0; n < signals; n++) {
        process.kill(clientOf(daemon.process), 'SIGINT');
        await daemon.process.says(/ending when the command that runs has ended/);
        expect(existsSync(daemon.socket)).to.equal(false);
      }
      if (signals === 2) await daemon.hasEnded();
      expect((await one.ended).code).to.equal(4);
      expect(readFileSync(join(share, 'done'), 'utf8')).to.equal('done\n');
      await daemon.hasEnded();
    }
  });

  it('serves two clients after any number of which each was ended in some way, and leaves no process behind', async () => {
    const random = randomNumbers(1);
    const daemon = await TestDaemon.begin(cli, directory, '--count', '2');
    const pid = clientOf(daemon.process);
    const workers = new Set<number>();
    const ways: (() => Promise<unknown>)[] = [
      async () => expect((await daemon.run(['--', 'cat'], 'said')).stdout).to.equal('said'),
      async () => expect((await daemon.run(['--timeout', '0.3', '--', 'sleep', '100'])).code).to.equal(124),
      async () => expect((await daemon.run(['--', 'halt', '-f'])).code).to.equal(122),
      async () => {
        const one = await daemon.start(['--', 'sh', '-c', `trap "exit 9" TERM; echo runs >&2; ${LOOP}`]);
        process.kill(clientOf(one), 'SIGTERM');
        expect((await one.ended).code).to.equal(9);
      },
      async () => {
        const one = await daemon.start(['--', 'sh', '-c', `echo runs >&2; ${LOOP}`]);
        process.kill(clientOf(one), 'SIGKILL');
        await one.ended;
      },
      async () => {
        const share = mkdtempSync(join(directory, 'share-'));
        const one = await daemon.start([
          '--share',
          share,
          '--write-back',
          '--',
          'sh',
          '-c',
          `echo x > x; echo runs >&2; ${LOOP}`,
        ]);
        process.kill(clientOf(one), 'SIGHUP');
        expect((await one.ended).code).to.equal(129);
        expect(readFileSync(join(share, 'x'), 'utf8')).to.equal('x\n');
      },
    ];
    const one = async () => {
      for (let n = 0; n < ROUNDS / 2; n++) {
        await ways[random(ways.length)]!();
        for (const worker of childrenOf(pid)) workers.add(worker);
      }
    };
    await Promise.all([one(), one()]);
    const [victim] = childrenOf(pid);
    process.kill(victim!, 'SIGKILL');
    const last = await Promise.all(['a', 'b'].map((word) => daemon.run(['--', 'echo', word])));
    expect(last.map(({ stdout }) => stdout)).to.deep.equal(['a\n', 'b\n']);
    for (const worker of childrenOf(pid)) workers.add(worker);
    await daemon.stop();
    for (let left = [...workers]; left.length; left = left.filter((worker) => existsSync(`/proc/${worker}`)))
      await delay(20);
  });
});
