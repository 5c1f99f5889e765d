import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
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
    expect(run('verify', '--store', 'store')).to.include({ code: 0 });
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
