// Packs the guest image, with the fast driver, as a file of a release for machines that can't build it: `npm run pack:guest`.
import { mkdir, stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGuestImage } from '../guest-images/build.ts';
import { packPrebuilt } from '../guest-images/prebuilt.ts';

const FILE = fileURLToPath(new URL('../dist/v86-virtiofs-guest.tar.gz', import.meta.url));

const image = await ensureGuestImage({ kernel: 'stock', driver: 'fast' });
const directory = dirname(image.vmlinux);
await mkdir(dirname(FILE), { recursive: true });
const hash = await packPrebuilt(FILE, dirname(directory), [basename(directory)]);
console.log(`${FILE}: ${((await stat(FILE)).size / 1e6).toFixed(0)} MB, sha256 ${hash}`);
