import { existsSync } from 'node:fs';
import { copyFile, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { inWorkDirectory } from './work-directory.ts';

/** Packages that nobody asked for are kept as long. */
const KEEP_DEBS = 30 * 24 * 60 * 60 * 1000;

/** Puts packages into the cache that were fetched, and removes those that have not been used for long. Others may do so at the same time. */
export async function keepDebs(fetched: string, cache: string): Promise<void> {
  const now = Date.now();
  // Not in the cache: others copy all that is there.
  await inWorkDirectory(`${cache}.building-`, async (beside) => {
    for (const name of (await readdir(fetched)).filter((each) => each.endsWith('.deb'))) {
      const place = join(cache, name);
      if (existsSync(place)) await utimes(place, now / 1000, now / 1000).catch(() => {});
      else {
        await copyFile(join(fetched, name), join(beside, name));
        await rename(join(beside, name), place);
      }
    }
  });
  for (const path of (await readdir(cache)).map((name) => join(cache, name))) {
    const found = await stat(path).catch(() => undefined);
    if (found && now - found.mtimeMs > KEEP_DEBS) await rm(path, { force: true });
  }
}
