import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packPrebuilt } from '../../guest-images/prebuilt.ts';

const PAGE = fileURLToPath(new URL('../../dist/page', import.meta.url));
const FILE = fileURLToPath(new URL('../../dist/page-guests.tar', import.meta.url));

// The guests of the built page as a file of a release: see prebuilt.ts.
const guests = ['guest', 'debian'].filter((name) => existsSync(join(PAGE, name, 'guest.json')));
if (!guests.length) throw new Error('there are no guests to pack: build them, with `npm run build`');
const hash = await packPrebuilt(FILE, PAGE, guests);
console.log(`${FILE}: ${guests.join(' and ')}, ${((await stat(FILE)).size / 1e6).toFixed(0)} MB, sha256 ${hash}`);
