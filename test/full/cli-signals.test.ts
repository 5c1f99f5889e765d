import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeToken } from '../../device/index.ts';
import { useCli } from '../support/cli.ts';

/** A command that ends with 3 when it is asked to end, and not before. */
const trapping = (signal: string) =>
  `trap "echo caught; exit 3" ${signal}; echo started >&2; while :; do sleep 0.1; done`;

describe('command line: signals again, and a reader that is slow', function () {
  this.timeout(300_000);
  const { run, start } = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'cli-signals-'));
  after(() => {
    for (const path of [directory, `${directory}.migrations`]) rmSync(path, { recursive: true, force: true });
  });
  const store = ['--store', join(directory, 'store')];
  const token = makeToken();
  before(async () => {
    const { code, stderr } = await run(['freeze', ...store, '--name', 'base']);
    expect(code, stderr).to.equal(0);
  });

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
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', 'harness/node/cli.ts', 'restore', ...store, '--timeout', '5', 'base', '--', 'yes'],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
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
