// Runs every suite, and all of them whatever fails: `npm run test:full`, or only the parts that are named:
// `npm run test:full -- web five-ways`. One more at a time than there are processors, because most of them wait now and then. What a part prints goes to a file; of those that fail the end is shown.
// A part that passed on this machine, with the same files of the project that it reads, isn't run again: `--again` runs it.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  type WriteStream,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { cacheDirectory } from '../guest-images/paths.ts';

interface Part {
  name: string;
  commands: string[];
  /** The test files that it runs: paths, or how these begin. */
  tests: string[];
  /** What it reads beside the code that all read: the texts for people, the page. */
  reads?: Side[];
}
type Side = keyof typeof SIDES;

const SIDES = { texts: /^(docs\/.*|[^/]*\.md)$/, page: /^(test\/)?web\// };

const LONG = 'mocha --config test/mocharc.json --timeout 1800000';
/** These build the package or the page in `dist`, so one of them at a time. */
const BUILDING = ['package', 'shipped-cli', 'lessons', 'course', 'page-debian'];
/** These read more than the code. */
const READ: Record<string, Side[]> = { site: ['texts', 'page'], hostile: ['page'], suspend: ['page'] };
/** These run with the fast driver on Linux 6.1 too. `suspend` and `suspend-sleep` have it in any case. */
const FAST = ['five-ways', 'freeze-load', 'migrate-cuts', 'posix', 'race'];
const files = readdirSync('test/full')
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => basename(file, '.test.ts'));

const path = (name: string) => `test/full/${name}.test.ts`;
const long = (name: string) => `${LONG} ${path(name)}`;

/** The suite of the guest, with another kernel or driver. */
const guest = (name: string): Part => ({
  name,
  commands: [`npm run --silent test:${name}`],
  tests: ['test/guest/', path('virtio')],
});
const single = (name: string, suffix = '', env = ''): Part => ({
  name: `${name}${suffix}`,
  commands: [`${env}${long(name)}`],
  tests: [path(name)],
  reads: READ[name],
});

const PARTS: Part[] = [
  {
    name: 'web',
    commands: ['npm run --silent test:web', ...BUILDING.map(long)],
    tests: ['test/web/', ...BUILDING.map(path)],
    reads: ['texts', 'page'],
  },
  {
    name: 'test',
    commands: ['npm test'],
    tests: ['test/device/', 'test/harness/', 'test/house/', 'test/guest/'],
    reads: ['texts', 'page'],
  },
  guest('minimal'),
  guest('fast'),
  // What the page's guest has.
  guest('minimal-fast'),
  ...files.filter((name) => !BUILDING.includes(name)).map((name) => single(name)),
  ...FAST.map((name) => single(name, '-fast', 'V86_VIRTIOFS_DRIVER=fast ')),
  ...['notifications', 'suspend'].map((name) => single(name, '-minimal', 'V86_VIRTIOFS_KERNEL=minimal ')),
];

const { values: flags, positionals: wanted } = parseArgs({
  options: { again: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const unknown = wanted.filter((name) => !PARTS.some((part) => part.name === name));
if (unknown.length) {
  console.error(`There is no part ${unknown.join(', ')}. Choose from ${PARTS.map(({ name }) => name).join(', ')}.`);
  process.exit(2);
}

/** Each file of the project, its content's hash first. */
const tree = execFileSync('git', ['ls-files', '--stage'], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  .trimEnd()
  .split('\n');
/** What git's index does not tell of. */
const changes = execFileSync('git', ['diff'], { maxBuffer: 2 ** 30 });

/** Tells by its name what a part is made of: everything but the tests of others, and what it doesn't read. */
function sameFiles({ name, tests, reads = [] }: Part): string {
  const read = tree.filter((line) => {
    const file = line.slice(line.indexOf('\t') + 1);
    if (/\.test\.tsx?$/.test(file)) return tests.some((each) => file.startsWith(each));
    return Object.entries(SIDES).every(([side, files]) => reads.includes(side as Side) || !files.test(file));
  });
  const settings = Object.entries(process.env).filter(([key]) => key.startsWith('V86_VIRTIOFS_'));
  return createHash('sha256')
    .update(JSON.stringify([name, process.version, settings.sort(), read]))
    .update(changes)
    .digest('hex');
}

const passed = join(cacheDirectory(), 'passed');
const waiting = PARTS.filter(({ name }) => !wanted.length || wanted.includes(name));
const directory = mkdtempSync(join(tmpdir(), 'test-full-'));
const total = waiting.length;
const failed: string[] = [];
let done = 0;

function run(command: string, log: WriteStream): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(command, { shell: true, stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    child.on('close', (code) => resolve(code === 0));
  });
}

async function runPart(part: Part): Promise<void> {
  const { name, commands } = part;
  const before = join(passed, sameFiles(part));
  if (!flags.again && existsSync(before)) {
    console.log(`${readFileSync(before, 'utf8')}, with the same files, so not again (${++done} of ${total})`);
    return;
  }
  const logFile = join(directory, `${name}.log`);
  const log = createWriteStream(logFile);
  const began = Date.now();
  console.log(`${name}: begun`);
  let isGood = true;
  for (const command of commands) isGood = (await run(command, log)) && isGood;
  await new Promise<void>((resolve) => log.end(resolve));
  const text = readFileSync(logFile, 'utf8');
  const counted = [...text.matchAll(/^ {2}(\d+) (passing|failing|pending)\b/gm)];
  const counts = ['passing', 'failing', 'pending']
    .map((kind) => [counted.reduce((sum, [, count, of]) => sum + (of === kind ? Number(count) : 0), 0), kind] as const)
    .filter(([count]) => count);
  const result = `${counts.map((each) => each.join(' ')).join(', ')}, ${Math.round((Date.now() - began) / 1000)} s`;
  console.log(`${name}: ${isGood ? 'passed' : 'FAILED'}, ${result} (${++done} of ${total})`);
  if (isGood) {
    mkdirSync(passed, { recursive: true });
    writeFileSync(before, `${name}: passed on ${new Date().toISOString().slice(0, 16)}Z, ${result}`);
    return;
  }
  failed.push(name);
  const at = text.search(/^ {2}\d+ failing/m);
  console.log(at < 0 ? text.slice(-4000) : text.slice(at, at + 8000), `\nAll that it said: ${logFile}`);
}

await Promise.all(
  Array.from({ length: availableParallelism() + 1 }, async () => {
    for (let part = waiting.shift(); part; part = waiting.shift()) await runPart(part);
  }),
);
console.log(failed.length ? `Failed: ${failed.join(', ')}` : `All ${total} parts passed.`);
process.exitCode = failed.length ? 1 : 0;
