// Brings the browser that the page's tests run in: Debian's package `chromium`.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const PATH = '/usr/bin/chromium';

if (!existsSync(PATH)) {
  console.error('installing the package chromium, for the tests of the page');
  const asRoot = process.getuid() === 0 ? [] : ['sudo', '-n'];
  const run = (...words) => {
    const [command, ...args] = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', ...words];
    return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
  };
  run('update');
  if (!run('install', '--no-install-recommends', '--yes', 'chromium') || !existsSync(PATH)) {
    console.error('The tests of the page need Chromium, and it could not be installed: as root, run `apt-get install chromium`, and try again.');
    process.exit(1);
  }
}
