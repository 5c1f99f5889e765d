import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { keepDebs } from '../../../guest-images/deb-cache.ts';

describe('the packages that were fetched for a Debian', () => {
  let place: string;
  beforeEach(async () => {
    place = await mkdtemp(join(tmpdir(), 'deb-cache-'));
    for (const name of ['fetched', 'debs']) await mkdir(join(place, name));
  });
  afterEach(() => rm(place, { recursive: true }));
  const keep = () => keepDebs(join(place, 'fetched'), join(place, 'debs'));

  it('are kept until nobody has used them for long', async () => {
    for (const name of ['fetched/new.deb', 'fetched/used.deb', 'fetched/lock', 'debs/used.deb', 'debs/old.deb'])
      await writeFile(join(place, name), name);
    for (const name of ['used.deb', 'old.deb']) await utimes(join(place, 'debs', name), 1e9, 1e9);
    await keep();
    expect(await readdir(join(place, 'debs'))).to.have.members(['new.deb', 'used.deb']);
    expect(await readdir(place)).to.have.members(['debs', 'fetched']);
  });

  it('are kept by several at once', async () => {
    const names = Array.from({ length: 40 }, (_, n) => `${n}.deb`);
    for (const name of names) await writeFile(join(place, 'fetched', name), name);
    for (let n = 0; n < 40; n++) {
      await writeFile(join(place, `debs/old${n}.deb`), '');
      await utimes(join(place, `debs/old${n}.deb`), 1e9, 1e9);
    }
    // Gone when it is looked at.
    await symlink('nowhere', join(place, 'debs/gone.deb'));
    await Promise.all([keep(), keep(), keep()]);
    expect(await readdir(join(place, 'debs'))).to.have.members([...names, 'gone.deb']);
  });
});
