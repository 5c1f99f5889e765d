import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { VmError } from '../../../../harness/machine/errors.ts';
import { DirectoryLock } from '../../../../harness/node/stores/directory-lock.ts';
import { DirectoryStore } from '../../../../harness/node/stores/directory-store.ts';

const HOLDER = `
  import { DirectoryLock } from ${JSON.stringify(new URL('../../../../harness/node/stores/directory-lock.ts', import.meta.url).href)};
  await new DirectoryLock(process.argv[1]).hold(async () => {
    process.stdout.write('held');
    await new Promise((resolve) => setTimeout(resolve, 1e9));
  });`;

describe('a directory of several processes', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'store-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  const hold = async () => {
    const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', HOLDER, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    return child;
  };

  it('the lock lets one at a time, also of many in one process', async () => {
    let inside = 0;
    let count = 0;
    await Promise.all(
      Array.from({ length: 20 }, () =>
        new DirectoryLock(directory).hold(async () => {
          expect(++inside).to.equal(1);
          await new Promise((resolve) => setTimeout(resolve, 1));
          inside--;
          count++;
        }),
      ),
    );
    expect(count).to.equal(20);
  });

  it('the lock is given back when what is done under it fails', async () => {
    const lock = new DirectoryLock(directory);
    const error = await lock.hold(() => Promise.reject(new Error('no'))).catch((caught: Error) => caught.message);
    expect(error).to.equal('no');
    expect(await lock.hold(async () => 'yes')).to.equal('yes');
  });

  it('the lock of a process that stands still stays its own, that of one that was killed is free', async function () {
    this.timeout(60_000);
    const child = await hold();
    child.kill('SIGSTOP');
    const error = await new DirectoryLock(directory, 300).hold(async () => 'mine').catch((caught: Error) => caught);
    expect(error)
      .to.be.instanceOf(VmError)
      .with.property('message')
      .that.contains(`process ${child.pid} has been changing the snapshots`);
    const waiting = new DirectoryLock(directory).hold(async () => 'mine');
    child.kill('SIGKILL');
    expect(await waiting).to.equal('mine');
  });

  it('nobody else can read it: new files, and those of an earlier release', async () => {
    const store = join(directory, 'store');
    await mkdir(store, { mode: 0o755 });
    await writeFile(join(store, 'old.layer'), 'x');
    await chmod(join(store, 'old.layer'), 0o644);
    await new DirectoryStore(store).write('new.layer', [Uint8Array.of(1)]);
    const modeOf = async (name: string) => ((await stat(join(store, name))).mode & 0o777).toString(8);
    expect([await modeOf('.'), await modeOf('old.layer'), await modeOf('new.layer')]).to.deep.equal([
      '700',
      '600',
      '600',
    ]);
    await new DirectoryStore(join(directory, 'made')).exclusively(async () => {});
    expect((await stat(join(directory, 'made'))).mode & 0o777).to.equal(0o700);
  });

  it('a directory with files of others stays as open as it was', async () => {
    const store = join(directory, 'store');
    await mkdir(store, { mode: 0o755 });
    await writeFile(join(store, 'notes.txt'), 'x', { mode: 0o644 });
    await new DirectoryStore(store).write('new.layer', [Uint8Array.of(1)]);
    expect([
      (await stat(store)).mode & 0o777,
      (await stat(join(store, 'notes.txt'))).mode & 0o777,
      (await stat(join(store, 'new.layer'))).mode & 0o777,
    ]).to.deep.equal([0o755, 0o644, 0o600]);
  });
});
