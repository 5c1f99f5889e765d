import type { Fate } from '../../device/index.ts';
import { DirectoryFates } from '../../harness/node/migration/directory-fates.ts';

// Decides migrations of a directory, one fate for all, as soon as there is a line on stdin; says what holds.
const [directory, fate, ...ids] = process.argv.slice(2) as [string, Fate, ...string[]];
const fates = new DirectoryFates(directory);
process.stdout.write('ready\n');
await new Promise((resolve) => process.stdin.once('data', resolve));
for (const id of ids) process.stdout.write(`${await fates.decide(id, fate)}\n`);
process.exit();
