import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storm } from '../support/store-storm.ts';

it('a store loses nothing when four processes change it at random for a minute and are killed', async function () {
  this.timeout(300_000);
  const directory = await mkdtemp(join(tmpdir(), 'store-'));
  await storm(directory, { processes: 4, milliseconds: 60_000 });
  await rm(directory, { recursive: true });
});
