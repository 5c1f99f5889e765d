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

describe('command line: signals', function () {
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

  it('fork passes them on to every copy, which end by themselves', async () => {
    const fork = start(['fork', ...store, '--copies', '3', 'base', '--', 'sh', '-c', trapping('TERM')]);
    await fork.says(/(started[\s\S]*){3}/);
    fork.child.kill('SIGTERM');
    const { code, stdout } = await fork.ended;
    expect(code).to.equal(3);
    expect(stdout.trim().split('\n').sort()).to.deep.equal(['1 | caught', '2 | caught', '3 | caught']);
  });

  it('migrate breaks off, and its command ends by itself', async () => {
    const move = start([
      'migrate',
      ...store,
      'base',
      '--to',
      'ws:0',
      '--token',
      token,
      '--',
      'sh',
      '-c',
      trapping('INT'),
    ]);
    await move.says(/waiting on[\s\S]*started/);
    move.child.kill('SIGINT');
    const { code, stdout, stderr } = await move.ended;
    expect([code, stdout]).to.deep.equal([130, 'caught\n']);
    expect(stderr).to.match(/not moved: it was interrupted by SIGINT; the command keeps running here\n/);
  });

  it('migrate without a command breaks off', async () => {
    const move = start(['migrate', ...store, 'base', '--to', 'ws:0', '--token', token]);
    await move.says(/waiting on/);
    // It has not said that it can be interrupted, but then it ends by the signal itself.
    move.child.kill('SIGTERM');
    expect((await move.ended).code).to.be.oneOf([125, 143, null]);
  });

  it('TERM ends a shell on a terminal, and what runs in it, as the end of its terminal does', async () => {
    const terminal = spawn(
      'python3',
      [
        '-c',
        'import pty, sys; sys.exit(__import__("os").waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))',
        process.execPath,
        '--import',
        'tsx',
        'harness/node/cli.ts',
        'shell',
        ...store,
        'base',
      ],
      { stdio: 'pipe' },
    );
    after(() => terminal.kill('SIGKILL'));
    let said = '';
    let told = () => {};
    terminal.stdout.on('data', (data: Buffer) => {
      said += data.toString();
      told();
    });
    const says = (pattern: RegExp) =>
      new Promise<RegExpExecArray>((resolve) => {
        told = () => {
          const found = pattern.exec(said);
          if (found) resolve(found);
        };
        told();
      });
    await says(/# /);
    terminal.stdin.write('sleep 1000\n');
    await says(/sleep 1000\r/);
    spawn('pkill', ['-TERM', '-P', String(terminal.pid)]);
    const [code] = (await once(terminal, 'close')) as [number];
    expect(code, said).to.equal(129);
  });
});
