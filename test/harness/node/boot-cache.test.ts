import { mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { BootCache } from '../../../harness/node/boot-cache.ts';
import { makeSnapshot, type Snapshot } from '../../../harness/node/stores/snapshot-file.ts';

const snapshot = (word: string): Snapshot =>
  makeSnapshot({ emulator: '1', image: word, memory: 64, devices: [] }, [], new TextEncoder().encode(word));

describe('boot cache', () => {
  let directory: string;
  let cache: BootCache;
  beforeEach(async () => {
    directory = join(await mkdtemp(join(tmpdir(), 'cache-')), 'machines');
    cache = new BootCache(directory, 2);
  });
  afterEach(() => rm(join(directory, '..'), { recursive: true }));

  it('has nothing at first', async () => {
    expect(await cache.load({ memory: 64 })).to.equal(undefined);
  });

  it('tells machines apart by what they were made from', async () => {
    await cache.store({ memory: 64 }, snapshot('small'));
    await cache.store({ memory: 128 }, snapshot('large'));
    expect((await cache.load({ memory: 64 }))?.config.image).to.equal('small');
    expect((await cache.load({ memory: 128 }))?.config.image).to.equal('large');
    expect(await cache.load({ memory: 256 })).to.equal(undefined);
  });

  it('drops the one that was not used for longest', async () => {
    await cache.store('a', snapshot('a'));
    await cache.store('b', snapshot('b'));
    for (const name of await readdir(directory)) await utimes(join(directory, name), 1000, 1000);
    await cache.load('a');
    await cache.store('c', snapshot('c'));
    expect(await cache.load('b')).to.equal(undefined);
    expect((await cache.load('a'))?.config.image).to.equal('a');
  });

  it('forgets a damaged snapshot', async () => {
    await cache.store('a', snapshot('a'));
    const [name] = await readdir(directory);
    await writeFile(join(directory, name!), 'V86VIRFS and then nothing');
    expect(await cache.load('a')).to.equal(undefined);
    expect(await readdir(directory)).to.deep.equal([]);
  });
});
