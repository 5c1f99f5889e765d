import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../../dist/page', import.meta.url));
const FILE = fileURLToPath(new URL('../../dist/page-guests.tar', import.meta.url));

// The guests of the built page as a file of a release: see prebuilt.ts.
const guests = ['guest', 'debian'].filter((name) => existsSync(join(PAGE, name, 'guest.json')));
if (!guests.length) throw new Error('there are no guests to pack: build them, with `npm run build`');
const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--mode=u=rwX,go=rX'];
execFileSync('tar', [...same, '-cf', FILE, '-C', PAGE, ...guests], { stdio: 'inherit' });
const sum = createHash('sha256');
await pipeline(createReadStream(FILE), sum);
const hash = sum.digest('hex');
await writeFile(`${FILE}.sha256`, `${hash}  ${basename(FILE)}\n`);
console.log(`${FILE}: ${guests.join(' and ')}, ${((await stat(FILE)).size / 1e6).toFixed(0)} MB, sha256 ${hash}`);
