// Brings the browsers that the page's tests run in: Debian's packages `chromium` and `firefox-esr`.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const missing = ['chromium', 'firefox-esr'].filter((name) => !existsSync(`/usr/bin/${name}`));

if (missing.length) {
  console.error(`installing ${missing.join(' and ')}, for the tests of the page`);
  const asRoot = process.getuid?.() === 0 ? [] : ['sudo', '-n'];
  /** @param {string[]} words */
  const run = (...words) => {
    const [command = '', ...args] = [...asRoot, 'env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-qq', ...words];
    return spawnSync(command, args, { stdio: ['ignore', 'ignore', 'inherit'] }).status === 0;
  };
  run('update');
  if (!run('install', '--no-install-recommends', '--yes', ...missing)) {
    console.error(
      `The tests of the page need ${missing.join(' and ')}, which could not be installed: as root, run \`apt-get install ${missing.join(' ')}\`, and try again.`,
    );
    process.exit(1);
  }
}
