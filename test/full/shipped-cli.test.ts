import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

describe('the command line as it is shipped', function () {
  this.timeout(300_000);
  let directory: string;
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'dist/cli/v86-virtiofs.mjs'), ...args], {
      encoding: 'utf8',
      timeout: 240_000,
      cwd: directory,
    });
    return { code: status, stdout, stderr };
  };

  before(() => {
    execFileSync('npm', ['run', '--silent', 'build:library'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    directory = mkdtempSync(join(tmpdir(), 'shipped-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  it('freezes a guest and goes on with it', () => {
    expect(run('freeze', '--store', 'store', '--name', 'base', '--', 'sh', '-c', 'echo kept > file')).to.include({
      code: 0,
    });
    expect(run('restore', '--store', 'store', 'base', '--', 'cat', 'file')).to.include({
      code: 0,
      stdout: 'kept\n',
      stderr: '',
    });
    // The threads find what they load beside it.
    const forks = run('fork', '--store', 'store', '--workers', '2', 'base', '--', 'cat', 'file');
    expect(forks.code, forks.stderr).to.equal(0);
    expect(forks.stdout.trim().split('\n').sort()).to.deep.equal(['1 | kept', '2 | kept']);
    expect(run('verify', '--store', 'store')).to.include({ code: 0 });
  });

  it('says what is missing where v86 is not installed, and does what it can', () => {
    const alone = join(directory, 'alone');
    for (const name of ['dist/cli', 'guest-images', 'package.json', 'node_modules/memfs'])
      cpSync(join(ROOT, name), join(alone, name), { recursive: true });
    const runAlone = (...args: string[]) => {
      const program = join(alone, 'dist/cli/v86-virtiofs.mjs');
      const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
      return { code: status, stdout, stderr };
    };
    const examined = runAlone('doctor');
    expect(examined).to.include({ code: 125, stderr: '' });
    expect(examined.stdout)
      .to.match(/^lack {2}v86: it is not installed\n {6}→ npm install v86@/m)
      .and.to.match(/^ok {4}memfs: /m);
    expect(runAlone('run', '--', 'true').stderr).to.match(/^v86-virtiofs: v86 is not installed: run `npm install v86@/);
  });

  it('shows the demo, in two processes', () => {
    const { code, stdout, stderr } = run('demo');
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout.match(/✓/g)).to.have.length.at.least(10);
  });

  it('waits for migrations over WebSockets, whose module is loaded then: another has the port', async () => {
    const other = createServer().listen(0, 'localhost');
    await once(other, 'listening');
    try {
      const { port } = other.address() as AddressInfo;
      const { code, stderr } = run('serve', '--incoming', `ws:${port}`);
      expect(stderr).to.match(new RegExp(`can't wait on localhost:${port}: .*EADDRINUSE`));
      expect(code).to.equal(125);
    } finally {
      other.close();
    }
  });

  it('fails with a code of its own', () => {
    expect(run('restore', '--store', 'store', 'nobody', '--', 'true')).to.include({ code: 125 });
  });
});
