import { expect } from 'chai';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

describe('the command line as it is shipped', function () {
  this.timeout(300_000);
  let directory: string;
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(ROOT, 'dist/cli/v86-virtiofs.mjs'), ...args], { encoding: 'utf8', timeout: 240_000, cwd: directory });
    return { code: status, stdout, stderr };
  };

  before(() => {
    execFileSync('npm', ['run', '--silent', 'build:library'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
    directory = mkdtempSync(join(tmpdir(), 'shipped-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  it('freezes a guest and goes on with it', () => {
    expect(run('freeze', '--store', 'store', '--name', 'base', '--', 'sh', '-c', 'echo kept > file')).to.include({ code: 0 });
    expect(run('restore', '--store', 'store', 'base', '--', 'cat', 'file')).to.include({ code: 0, stdout: 'kept\n', stderr: '' });
    expect(run('verify', '--store', 'store')).to.include({ code: 0 });
  });

  it('shows the demo, in two processes', () => {
    const { code, stdout, stderr } = run('demo');
    expect(code, stdout + stderr).to.equal(0);
    expect(stdout.match(/✓/g)).to.have.length.at.least(10);
  });

  it('waits for a migration over WebSockets, which is loaded when it is needed', () => {
    expect(run('serve', '--incoming', 'ws:99999').stderr).to.match(/99999 is no TCP port/);
    expect(run('restore', '--store', 'store', 'nobody', '--', 'true')).to.include({ code: 125 });
  });
});
