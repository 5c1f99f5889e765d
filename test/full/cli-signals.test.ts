import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { CLI } from '../support/compiled-cli.ts';
import { trapping, useFrozenGuest } from '../support/frozen-guest.ts';

describe('command line: signals again, and a reader that is slow', function () {
  this.timeout(300_000);
  const { run, start, store, token } = useFrozenGuest();

  it('fork kills them with the second', async () => {
    const fork = start([
      'fork',
      ...store,
      'base',
      '--',
      'sh',
      '-c',
      'trap "echo again >&2" INT; echo started >&2; while :; do sleep 0.1; done',
    ]);
    await fork.says(/(started[\s\S]*){2}/);
    fork.child.kill('SIGINT');
    await fork.says(/(again[\s\S]*){2}/);
    fork.child.kill('SIGINT');
    expect((await fork.ended).code).to.equal(137);
  });

  it('serve passes them on to its command', async () => {
    const server = start(['serve', '--incoming', '0', '--token', token, '--', 'sh', '-c', trapping('INT')]);
    const [, port] = await server.says(/waiting on localhost:(\d+)/);
    expect((await run(['migrate', ...store, 'base', '--to', `localhost:${port}`, '--token', token])).code).to.equal(0);
    await server.says(/started/);
    server.child.kill('SIGINT');
    expect(await server.ended).to.deep.include({ code: 3, stdout: 'caught\n' });
  });

  it('a reader that takes nothing holds the command up, and takes no memory', async () => {
    const child = spawn(process.execPath, [...CLI, 'restore', ...store, '--timeout', '5', 'base', '--', 'yes'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    after(() => child.kill('SIGKILL'));
    child.stdout.pause();
    // The command is ended when it has taken its time, and then there is no more than what is under way at once.
    await new Promise((resolve) => setTimeout(resolve, 12_000));
    let length = 0;
    child.stdout.on('data', (data: Buffer) => (length += data.length)).resume();
    const [code] = (await once(child, 'close')) as [number];
    expect(code).to.equal(124);
    expect(length).to.be.below(3 << 20);
  });
});
