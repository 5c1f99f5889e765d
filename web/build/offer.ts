import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Both are in directories of these names below the page. */
const GUESTS = 'debian=debian/ busybox=guest/';

/** index.html of a page that has both guests, as one that lets visitors choose. */
export function offeringBoth(html: string): string {
  return html.replace(/<virtiofs-vm(?![^>]* guests=)/, `<virtiofs-vm guests="${GUESTS}"`);
}

/** Has the page in a directory offer both guests. */
export async function offerBoth(directory: string): Promise<void> {
  const path = join(directory, 'index.html');
  await writeFile(path, offeringBoth(await readFile(path, 'utf8')));
}
