import { fileURLToPath } from 'node:url';
import { GuestImageError } from '../../guest-images/build.ts';
import { onTerminal } from '../../guest-images/terminal.ts';
import { guestOptions } from './options.ts';
import { buildPageGuest } from './page-guest.ts';
import { PREBUILT, takePrebuilt } from './prebuilt.ts';

/** MiB: enough for a shell and small programs, and half as long to scan as the harness's default. */
const MEMORY = 128;
const DIRECTORY = fileURLToPath(new URL('../../dist/page/guest', import.meta.url));

const options = guestOptions('build:page');

await onTerminal("the page's guest:", async (onProgress) => {
  const prebuilt = process.env[PREBUILT];
  if (prebuilt) {
    await takePrebuilt(prebuilt, 'guest', DIRECTORY, onProgress);
    return `taken from ${prebuilt}`;
  }
  const guest = buildPageGuest(DIRECTORY, { ...options, memory: MEMORY, onProgress });
  const { snapshot } = await guest.catch((error: Error) => {
    if (options.kernel === 'minimal' && error instanceof GuestImageError)
      error.message += '\nThe page on that kernel: npm run build:page -- --kernel stock';
    throw error;
  });
  return `${(snapshot.size / 1e6).toFixed(1)} MB to download, ${(snapshot.unpackedSize / 1e6).toFixed(1)} MB unpacked`;
});
