import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { cacheDirectory, readableCacheDirectories, writableCacheDirectory } from '../../../guest-images/paths.ts';
import { BootCache } from '../../../harness/node/boot-cache.ts';
import { makeSnapshot } from '../../../harness/node/stores/snapshot-file.ts';
import { CLI } from '../../support/compiled-cli.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));

describe('cache directory', () => {
  let place: string;
  const VARIABLES = ['V86_VIRTIOFS_CACHE', 'XDG_CACHE_HOME', 'TMPDIR'];
  let before: (string | undefined)[];
  const warnings: string[] = [];
  const listen = (warning: Error) => void warnings.push(warning.message);
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'cache-'));
    before = VARIABLES.map((name) => process.env[name]);
    warnings.length = 0;
    process.on('warning', listen);
  });
  afterEach(async () => {
    process.off('warning', listen);
    VARIABLES.forEach((name, n) => {
      if (before[n] === undefined) delete process.env[name];
      else process.env[name] = before[n];
    });
    await rm(place, { recursive: true });
  });

  /** Warnings are emitted in a later turn. */
  const told = () => new Promise((resolve) => setImmediate(resolve));

  it('is below XDG_CACHE_HOME, or what V86_VIRTIOFS_CACHE names', () => {
    delete process.env['V86_VIRTIOFS_CACHE'];
    process.env['XDG_CACHE_HOME'] = place;
    expect(cacheDirectory()).to.equal(join(place, 'v86-virtiofs'));
    process.env['V86_VIRTIOFS_CACHE'] = join(place, 'mine');
    expect(writableCacheDirectory()).to.equal(join(place, 'mine'));
    expect(readableCacheDirectories()[0]).to.equal(join(place, 'mine'));
  });

  it('is among the temporary files where it can not be written, for this user alone, and that is said once', async () => {
    await writeFile(join(place, 'file'), '');
    process.env['V86_VIRTIOFS_CACHE'] = join(place, 'file/below');
    process.env['TMPDIR'] = place;
    const found = writableCacheDirectory();
    expect(found.startsWith(join(place, 'v86-virtiofs-'))).to.equal(true);
    expect((await stat(found)).mode & 0o777).to.equal(0o700);
    expect(writableCacheDirectory()).to.equal(found);
    await told();
    expect(warnings).to.have.length(1);
    expect(warnings[0]).to.match(/below can't be written \(ENOTDIR\), so .* is used\. Set V86_VIRTIOFS_CACHE/);
  });

  it('is not one among the temporary files that others can write', async () => {
    await writeFile(join(place, 'file'), '');
    process.env['V86_VIRTIOFS_CACHE'] = join(place, 'file/other');
    process.env['TMPDIR'] = place;
    await mkdir(readableCacheDirectories()[1]!);
    await chmod(readableCacheDirectories()[1]!, 0o777);
    expect(() => writableCacheDirectory()).to.throw(/can be written by other users/);
  });

  it('need not have room for booted machines', async () => {
    await writeFile(join(place, 'file'), '');
    await new BootCache(join(place, 'file')).store(
      'origin',
      makeSnapshot({ emulator: '1', image: '', memory: 64, devices: [] }, [], new Uint8Array(1)),
    );
    await told();
    expect(warnings.join()).to.match(/can't be kept in .*file/);
  });

  it('without apt the command line says what to provide, and no stack', async () => {
    const run = promisify(execFile)(process.execPath, [...CLI, 'run', '--', 'true'], {
      cwd: root,
      env: { ...process.env, PATH: place, V86_VIRTIOFS_CACHE: join(place, 'empty'), TMPDIR: place },
    });
    const { code, stderr } = await run.then(
      () => expect.fail('it ran'),
      (error: { code: number; stderr: string }) => error,
    );
    expect(code).to.equal(125);
    expect(stderr).to.match(
      /^v86-virtiofs: The guest is made of Debian packages, and this machine has no apt-get, .*Provide a guest instead:/s,
    );
    expect(stderr)
      .to.include(join(place, 'empty'))
      .and.not.match(/\n {4}at /);
    expect(await readdir(join(place, 'empty')).catch(() => [])).to.deep.equal([]);
  });
});
