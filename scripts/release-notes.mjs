// Prints what CHANGELOG.md says of a version, once everything agrees on it: node scripts/release-notes.mjs v1.2.3
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const [, , tag = ''] = process.argv;
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** @param {string} message */
function fail(message) {
  console.error(message);
  process.exit(1);
}

if (tag !== `v${version}`) fail(`The tag is ${tag}, but package.json has version ${version}: make them agree.`);
const sections = readFileSync(join(root, 'CHANGELOG.md'), 'utf8').split(/^## /m);
const section = sections.find((text) => text.startsWith(`${version} `) || text.startsWith(`[${version}]`));
if (!section) fail(`CHANGELOG.md has no section "## ${version} - DATE": rename "Unreleased" to that.`);
console.log(section?.slice(section.indexOf('\n')).trim());
