import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { CLI } from '../../support/compiled-cli.ts';
import { trapping, useFrozenGuest } from '../../support/frozen-guest.ts';

describe('command line: signals', function () {
  this.timeout(300_000);
  const { start, store, token } = useFrozenGuest();

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
    expect((await move.ended).code).to.be.oneOf([143, null]);
  });

  it('TERM ends a shell on a terminal, and what runs in it, as the end of its terminal does', async () => {
    const terminal = spawn(
      'python3',
      [
        '-c',
        'import pty, sys; sys.exit(__import__("os").waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))',
        process.execPath,
        ...CLI,
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
