// Brings what `npm start` and `npm test` need: npm packages from the lock file, and the guest image.
// Plain Node without packages, because it runs before there are any. The second time there is nothing to do.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const record = join(root, 'node_modules', '.installed');

/** @param {string} message */
function fail(message) {
  console.error(message);
  process.exit(1);
}

function checkNode() {
  const wanted = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).engines.node.replace('>=', '');
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [wantedMajor, wantedMinor] = wanted.split('.').map(Number);
  if (major < wantedMajor || (major === wantedMajor && minor < wantedMinor))
    fail(`This is Node ${process.versions.node}: install Node ${wanted} or newer.`);
}

function installPackages() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(record) && readFileSync(record, 'utf8') === lock) return;
  console.error('installing npm packages');
  // npm of this very Node, whichever is first on the PATH; without the scripts of `npm start` around it.
  const npm = process.env.npm_execpath;
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []];
  const { status, error } = spawnSync(command, [...args, 'ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  if (status !== 0)
    fail(`npm could not install the packages${error ? ` (${error.message})` : ''}: see above, and try again.`);
  writeFileSync(record, lock);
}

function buildGuest() {
  try {
    execFileSync(process.execPath, ['--import', 'tsx', join(root, 'guest-images/main.ts')], {
      cwd: root,
      stdio: 'inherit',
    });
  } catch {
    process.exit(1);
  }
}

checkNode();
installPackages();
buildGuest();
