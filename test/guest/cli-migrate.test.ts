import { expect } from 'chai';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CLI = new URL('../../harness/cli.ts', import.meta.url).pathname;
const ARGS = ['--import', 'tsx', CLI];
const env = { ...process.env, V86_VIRTIOFS_TOKEN: 'secret' };

/** What a process has said when it ends. */
const ended = (child: ChildProcess) => new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) => {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr?.on('data', (data: Buffer) => (stderr += data.toString()));
  child.on('close', (code) => resolve({ code, stdout, stderr }));
});

describe('command line: migration', function () {
  this.timeout(120_000);
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'cli-'));
    const { status, stderr } = spawnSync(process.execPath, [...ARGS, 'freeze', '--store', directory, '--name', 'base', '--', 'sh', '-c', 'echo kept > file'], { encoding: 'utf8' });
    expect(status, stderr).to.equal(0);
  });
  after(() => rmSync(directory, { recursive: true }));

  const begin = 'exec 5<file; rm file; while :; do n=$((n+1)); echo $n > new; mv new count; read line <&5 && echo "$line" > read; sleep 0.05; done';

  it('moves a guest with a running command to another process, over TCP', async () => {
    const server = spawn(process.execPath, [...ARGS, 'serve', '--incoming', '0', '--', 'sh', '-c', 'sleep 1; cat read; test -s count && echo goes on'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const port = await new Promise<string>((resolve) => server.stderr.on('data', (data: Buffer) => {
      const [, found] = /waiting on localhost:(\d+)/.exec(data.toString()) ?? [];
      if (found) resolve(found);
    }));
    const there = ended(server);
    const stranger = spawnSync(process.execPath, [...ARGS, 'migrate', 'base', '--store', directory, '--to', `localhost:${port}`], { env: { ...env, V86_VIRTIOFS_TOKEN: 'wrong' }, encoding: 'utf8' });
    expect(stranger.stderr).to.match(/another token|hung up/);
    expect(stranger.status).to.equal(125);
    const client = spawn(process.execPath, [...ARGS, 'migrate', 'base', '--store', directory, '--to', `localhost:${port}`, '--', 'sh', '-c', begin], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const here = await ended(client);
    expect(here.stderr).to.match(/moved: \d+ rounds, [\d.]+ MB, the guest stood still for \d+ ms/);
    expect(here.code).to.equal(0);
    expect(await there).to.deep.include({ code: 0, stdout: 'kept\ngoes on\n' });
  });

  it('moves one over stdin and stdout', async () => {
    const server = spawn(process.execPath, [...ARGS, 'serve', '--incoming', 'stdio', '-v'], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    const client = spawn(process.execPath, [...ARGS, 'migrate', 'base', '--store', directory, '--to', 'stdio'], { env, stdio: ['pipe', 'pipe', 'pipe'] });
    server.stdout.pipe(client.stdin);
    client.stdout.pipe(server.stdin);
    client.stdin.on('error', () => {});
    server.stdin.on('error', () => {});
    const there = new Promise<string>((resolve) => server.stderr.on('data', (data: Buffer) => resolve(data.toString())));
    expect((await ended(client)).stderr).to.match(/^moved: /);
    expect(await there).to.match(/taken over/);
    const over = ended(server);
    server.kill('SIGTERM');
    expect((await over).code).to.equal(0);
  });

  for (const [what, args, says] of [
    ['nobody answers', ['--to', 'localhost:1'], /nobody answers at localhost:1.*serve/],
    ['there is no address', ['--to', 'somewhere'], /no address: give HOST:PORT/],
    ['the policy is none', ['--to', 'x:1', '--policy', 'pray'], /throttle, give-up, stop/],
  ] as const) {
    it(`says when ${what}`, () => {
      const { status, stderr } = spawnSync(process.execPath, [...ARGS, 'migrate', 'base', '--store', directory, ...args], { env, encoding: 'utf8' });
      expect(stderr).to.match(says);
      expect(status).to.equal(125);
    });
  }
});
