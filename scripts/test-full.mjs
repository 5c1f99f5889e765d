// Runs every suite, and all of them whatever fails: `npm run test:full`, or only the parts that are named:
// `npm run test:full -- web five-ways`. One more at a time than there are processors, because most of them wait now and then. What a part prints goes to a file; of those that fail the end is shown.
import { spawn } from 'node:child_process';
import { createWriteStream, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';

/** @typedef {{ name: string, commands: string[] }} Part */

const LONG = 'mocha --config test/mocharc.json --timeout 1800000';
/** These build the package or the page in `dist`, so one of them at a time. */
const BUILDING = ['package', 'shipped-cli', 'lessons', 'course', 'page-debian'];
/** These run with the fast driver on Linux 6.1 too. `suspend` and `suspend-sleep` have it in any case. */
const FAST = ['five-ways', 'freeze-load', 'migrate-cuts', 'model', 'posix', 'race'];
const files = readdirSync('test/full')
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => basename(file, '.test.ts'));

/** @param {string} name */
const long = (name) => `${LONG} test/full/${name}.test.ts`;

/** @type {Part[]} */
const PARTS = [
  { name: 'web', commands: ['npm run --silent test:web', ...BUILDING.map(long)] },
  { name: 'test', commands: ['npm test'] },
  { name: 'minimal', commands: ['npm run --silent test:minimal'] },
  { name: 'fast', commands: ['npm run --silent test:fast'] },
  // What the page's guest has.
  { name: 'minimal-fast', commands: ['npm run --silent test:minimal-fast'] },
  ...files.filter((name) => !BUILDING.includes(name)).map((name) => ({ name, commands: [long(name)] })),
  ...FAST.map((name) => ({ name: `${name}-fast`, commands: [`V86_VIRTIOFS_DRIVER=fast ${long(name)}`] })),
  ...['notifications', 'suspend'].map((name) => ({
    name: `${name}-minimal`,
    commands: [`V86_VIRTIOFS_KERNEL=minimal ${long(name)}`],
  })),
];

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !PARTS.some((part) => part.name === name));
if (unknown.length) {
  console.error(`There is no part ${unknown.join(', ')}. Choose from ${PARTS.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}
const waiting = PARTS.filter(({ name }) => !wanted.length || wanted.includes(name));
const directory = mkdtempSync(join(tmpdir(), 'test-full-'));
const total = waiting.length;
/** @type {string[]} */
const failed = [];
let done = 0;

/**
 * @param {string} command
 * @param {import('node:fs').WriteStream} log
 * @returns {Promise<boolean>}
 */
function run(command, log) {
  return new Promise((resolve) => {
    const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.on('close', (code) => resolve(code === 0));
  });
}

/** @param {Part} part */
async function runPart({ name, commands }) {
  const path = join(directory, `${name}.log`);
  const log = createWriteStream(path);
  const began = Date.now();
  console.log(`${name}: begun`);
  let isGood = true;
  for (const command of commands) isGood = (await run(command, log)) && isGood;
  await new Promise((resolve) => log.end(resolve));
  const text = readFileSync(path, 'utf8');
  const counted = [...text.matchAll(/^ {2}(\d+) (passing|failing|pending)\b/gm)];
  const counts = ['passing', 'failing', 'pending']
    .map((kind) => [counted.reduce((sum, [, count, of]) => sum + (of === kind ? Number(count) : 0), 0), kind])
    .filter(([count]) => count);
  console.log(
    `${name}: ${isGood ? 'passed' : 'FAILED'}, ${counts.map((each) => each.join(' ')).join(', ')}, ${Math.round((Date.now() - began) / 1000)} s (${++done} of ${total})`,
  );
  if (isGood) return;
  failed.push(name);
  const at = text.search(/^ {2}\d+ failing/m);
  console.log(at < 0 ? text.slice(-4000) : text.slice(at, at + 8000), `\nAll that it said: ${path}`);
}

await Promise.all(
  Array.from({ length: availableParallelism() + 1 }, async () => {
    for (let part = waiting.shift(); part; part = waiting.shift()) await runPart(part);
  }),
);
console.log(failed.length ? `Failed: ${failed.join(', ')}` : `All ${total} parts passed.`);
process.exitCode = failed.length ? 1 : 0;
