import { execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ImageServer } from '../support/image-server.ts';

const ROOT = join(import.meta.dirname, '../..');
const FILE = join(ROOT, 'dist/v86-virtiofs-guest.tar.gz');

describe('the guest image of a release, on a machine that can’t build one', function () {
  this.timeout(1_800_000);
  let place: string;
  let hash: string;
  let server: ImageServer;
  const at = (name: string) => join(place, name);

  before(async () => {
    execFileSync('npm', ['run', '--silent', 'pack:guest'], { cwd: ROOT });
    hash = readFileSync(`${FILE}.sha256`, 'utf8').slice(0, 64);
    server = await ImageServer.start(new Map([['guest.tar.gz', readFileSync(FILE)]]));
    place = mkdtempSync(join(tmpdir(), 'prebuilt-'));
    for (const name of ['device', 'guest-images', 'harness']) cpSync(join(ROOT, name), at(name), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules'), at('node_modules'));
    mkdirSync(at('bin'));
    symlinkSync('/usr/bin/tar', at('bin/tar'));
  });
  after(async () => {
    rmSync(place, { recursive: true, force: true });
    await server.stop();
  });

  /** A package that says where its guest is. */
  const publish = (guestImage: string) => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as object;
    writeFileSync(at('package.json'), JSON.stringify({ ...manifest, guestImage }));
  };
  /** Not at once: this process is the server. */
  const run = async (...args: string[]) => {
    const env = { PATH: at('bin'), HOME: place, V86_VIRTIOFS_CACHE: at('cache'), V86_VIRTIOFS_DAEMON: 'off' };
    const child = spawn(process.execPath, ['--import', 'tsx', at('harness/node/cli.ts'), ...args], { cwd: place, env });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data: Buffer) => (said += data.toString()));
    const code = await new Promise((resolve) => child.on('close', resolve));
    return { code, said };
  };

  it('is what another machine packs', () => {
    execFileSync('npm', ['run', '--silent', 'pack:guest'], { cwd: ROOT });
    expect(readFileSync(`${FILE}.sha256`, 'utf8').slice(0, 64)).to.equal(hash);
  });

  it('is fetched, compared, and boots, with both drivers, and then needs no server', async () => {
    publish(`${server.url('guest.tar.gz').href}#sha256=${hash.replace(/./, (digit) => (digit === '0' ? '1' : '0'))}`);
    expect((await run('run', '--', 'true')).said).to.match(/guest\.tar\.gz is not what its hash says/);
    publish(`${server.url('guest.tar.gz').href}#sha256=${hash}`);
    expect((await run('doctor')).said).to.match(/^ok {4}guest image: it is taken from http/m);
    const first = await run('run', '--', 'echo', 'here');
    expect(first.said)
      .to.match(/^fetching http/m)
      .and.to.match(/^here$/m);
    expect((await run('doctor')).said).to.match(/^ok {4}guest image: Linux 6\.1/m);
    server.files.clear();
    const fast = await run('run', '--driver', 'fast', '--', 'uname', '-r');
    expect(fast.code, fast.said).to.equal(0);
    expect(fast.said).to.match(/^6\.1\./m);
  });
});
