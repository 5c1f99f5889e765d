import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type CliProcess, useCli } from '../support/cli.ts';
import { CLI } from '../support/compiled-cli.ts';
import { PANIC } from '../support/panic.ts';

describe('command line: what is asked to be kept', function () {
  this.timeout(300_000);
  const { run, start } = useCli();
  let directory: string;
  let share: string;
  const at = (name: string) => join(directory, name);
  const onHost = (name: string) => readFileSync(join(share, name), 'utf8');
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cli-kept-'));
    share = at('share');
    mkdirSync(share);
    writeFileSync(join(share, 'file'), 'host\n');
  });
  after(() => rmSync(directory, { recursive: true }));

  it('run and freeze write back and save, whatever the exit code', async () => {
    const ran = await run([
      'run',
      '--share',
      share,
      '--write-back',
      '--save',
      at('run.json'),
      '--',
      'sh',
      '-c',
      'echo run > file; exit 7',
    ]);
    expect([ran.code, ran.stderr, onHost('file'), readFileSync(at('run.json'), 'utf8')]).to.deep.equal([
      7,
      '',
      'run\n',
      '{\n  "/file": "run\\n"\n}\n',
    ]);
    const froze = await run([
      'freeze',
      '--store',
      at('store'),
      '--name',
      'base',
      '--share',
      share,
      '--write-back',
      '--save',
      at('freeze.json'),
      '--',
      'sh',
      '-c',
      'echo freeze > file; exit 8',
    ]);
    expect([froze.code, onHost('file'), readFileSync(at('freeze.json'), 'utf8')]).to.deep.equal([
      8,
      'freeze\n',
      '{\n  "/file": "freeze\\n"\n}\n',
    ]);
  });

  it('restore writes back to the directory of the first process, and saves, when the guest has crashed', async () => {
    const { code, stderr } = await run([
      'restore',
      '--store',
      at('store'),
      '--write-back',
      share,
      '--save',
      at('restore.json'),
      'base',
      '--',
      'sh',
      '-c',
      `echo restore > file; ${PANIC}`,
    ]);
    expect(code, stderr).to.equal(121);
    expect(stderr).to.match(/can't sync, so what it has not written.*lost/);
    expect([onHost('file'), readFileSync(at('restore.json'), 'utf8')]).to.deep.equal([
      'restore\n',
      '{\n  "/file": "restore\\n"\n}\n',
    ]);
  });

  it('what the guest could not write to its share is not told as kept', async () => {
    const { code, stderr } = await run(['run', '--save', at('unsynced.json'), '--', 'rm', '/bin/sync']);
    expect(stderr).to.match(/can't sync, so what it has not written.*lost/);
    expect(code).to.equal(1);
  });

  it('restore writes to no directory that its shares were not loaded from, and says so before anything runs', async () => {
    const { code, stdout, stderr } = await run([
      'restore',
      '--store',
      at('store'),
      '--write-back',
      directory,
      'base',
      '--',
      'echo',
      'ran',
    ]);
    expect({ code, stdout }).to.deep.equal({ code: 125, stdout: '' });
    expect(stderr).to.contain(`no share of this guest was loaded from ${directory}, but from ${share}`);
  });

  it('the other way is kept when one is not possible', async () => {
    const other = at('other');
    mkdirSync(other);
    const change = start(
      [
        'run',
        '--share',
        other,
        '--write-back',
        '--save',
        at('other.json'),
        '--',
        'sh',
        '-c',
        'echo kept > file; echo started >&2; cat',
      ],
      { isPiped: true },
    );
    await change.says(/started/);
    rmSync(other, { recursive: true });
    change.child.stdin!.end();
    const { code, stderr } = await change.ended;
    expect(stderr).to.match(/not written to .*other: .*other/);
    expect([code, readFileSync(at('other.json'), 'utf8')]).to.deep.equal([1, '{\n  "/file": "kept\\n"\n}\n']);
  });

  /** Runs a command that says `started` in the guest, and sends signals to the process. */
  const interrupt = async (script: string, ...signals: NodeJS.Signals[]) => {
    const process: CliProcess = start(['run', '--share', share, '--write-back', '--', 'sh', '-c', script]);
    for (const [n, signal] of signals.entries()) {
      await process.says(new RegExp(`(started[\\s\\S]*){${n + 1}}`));
      process.child.kill(signal);
    }
    return process.ended;
  };

  it('Ctrl-C and TERM go to the command in the guest, whose traps run, and the share is written back', async () => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      const { code, stdout } = await interrupt(
        `trap "echo caught; exit 3" ${signal.slice(3)}; echo ${signal} > file; echo started >&2; while :; do sleep 0.1; done`,
        signal,
      );
      expect({ code, stdout, file: onHost('file') }).to.deep.equal({
        code: 3,
        stdout: 'caught\n',
        file: `${signal}\n`,
      });
    }
    expect((await interrupt('echo no trap > file; echo started >&2; sleep 1000', 'SIGINT')).code).to.equal(130);
    expect(onHost('file')).to.equal('no trap\n');
  });

  it('a second Ctrl-C kills the command, and the share is written back all the same', async () => {
    const { code } = await interrupt(
      'trap "echo started again >&2" INT; echo killed > file; echo started >&2; while :; do sleep 0.1; done',
      'SIGINT',
      'SIGINT',
    );
    expect([code, onHost('file'), readdirSync(share)]).to.deep.equal([137, 'killed\n', ['file']]);
  });

  it('shell ends with its input, and writes back what it did, whatever the last command came to', async () => {
    expect(
      await run(['shell', '--share', share, '--write-back'], { input: 'echo shell > file\npwd\ngrep nothing file' }),
    ).to.deep.equal({ code: 1, stdout: '/mnt/share\n', stderr: '' });
    expect(onHost('file')).to.equal('shell\n');
    expect((await run(['shell'])).code).to.equal(0);
  });

  it('a reader that goes ends the command quietly, and what it did is written back', async () => {
    const child = spawn(
      process.execPath,
      [...CLI, 'run', '--share', share, '--write-back', '--', 'sh', '-c', 'echo pipe > file; yes'],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    );
    let said = '';
    child.stderr!.on('data', (data: Buffer) => (said += data.toString()));
    child.stdout.once('data', () => child.stdout.destroy());
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, said, file: onHost('file') }).to.deep.equal({ code: 141, said: '', file: 'pipe\n' });
  });

  it('a full disk behind stdout is an error of its own', async function () {
    if (!existsSync('/dev/full')) this.skip();
    for (const args of [
      ['run', '--share', share, '--write-back', '--', 'sh', '-c', 'echo full > file; echo x'],
      ['token'],
      ['list', '--json', '--store', at('none')],
      ['--help'],
    ]) {
      const child = spawn(process.execPath, [...CLI, ...args], {
        stdio: ['ignore', openSync('/dev/full', 'w'), 'pipe'],
      });
      let said = '';
      child.stderr!.on('data', (data: Buffer) => (said += data.toString()));
      const [code] = (await once(child, 'close')) as [number];
      expect(code, args[0]).to.equal(125);
      expect(said).to.equal("v86-virtiofs: can't write to stdout: ENOSPC: no space left on device, write\n");
    }
    expect(onHost('file')).to.equal('full\n');
  });
});
