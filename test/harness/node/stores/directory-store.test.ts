import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { loadCodec, SnapshotStore } from '../../../../device/index.ts';
import { DirectoryStore } from '../../../../harness/node/stores/directory-store.ts';

describe('directory store', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'store-'));
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('leaves nothing of a write that failed', async () => {
    await writeFile(join(directory, 'file'), '');
    const error = await new DirectoryStore(join(directory, 'file', 'below'))
      .write('a', [])
      .catch((caught: NodeJS.ErrnoException) => caught.code);
    expect(error).to.equal('ENOTDIR');
    expect(await readdir(directory)).to.deep.equal(['file']);
  });

  it('removes what others have left when it is old, and nothing that may still be written', async () => {
    const store = new DirectoryStore(directory);
    const others = 'a.layer.elsewhere.1.0123abcd.tmp';
    const own = `b.layer.${hostname()}.${process.pid}.0123abcd.tmp`;
    for (const name of ['old.tmp', others, own, 'a.layer']) await writeFile(join(directory, name), 'xxxx');
    await utimes(join(directory, 'old.tmp'), 0, 0);
    expect(await store.removeLeftovers()).to.equal(4);
    expect((await readdir(directory)).sort()).to.deep.equal(['a.layer', others, own]);
  });

  it('after kill -9 at random moments holds every finished snapshot, whole, and gc reclaims the rest @long', async function () {
    this.timeout(120_000);
    const writer = new URL('../../../support/store-writer.ts', import.meta.url).pathname;
    const finished: string[] = [];
    for (let round = 0; round < 8; round++) {
      const child = spawn(process.execPath, ['--import', 'tsx', writer, directory], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      await once(child.stdout, 'data');
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 300));
      child.kill('SIGKILL');
      await once(child, 'close');
      finished.push(...output.split('\n').slice(0, -1));
      const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
      const names = store.list().map(({ name }) => name);
      expect(names).to.include.members(finished);
      for (const { id } of store.list()) await store.verify(id);
    }
    expect(finished.length).to.be.at.least(8);
    const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
    const layers = store
      .list()
      .map(({ id }) => `${id}.layer`)
      .sort();
    await store.gc();
    await new DirectoryStore(directory).removeLeftovers();
    expect((await readdir(directory)).filter((name) => name !== '.lock').sort()).to.deep.equal(layers);
  });
});
