// Runs every suite, and all of them whatever fails: `npm run test:full`, or only the parts that are named:
// `npm run test:full -- web five-ways`. One more at a time than there are processors, because most of them wait now and then. What a part says goes to a file; what failed is shown.
// A test file that passed on this machine isn't run again until something that it reads has changed: `--again` runs it.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  type WriteStream,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { cacheDirectory } from '../guest-images/paths.ts';

interface Part {
  name: string;
  /** Files of tests: those of one array run in one process. */
  runs: string[][];
  env?: Record<string, string>;
  /** Without the tests whose titles end with `@long`. */
  isQuick?: boolean;
}

/** A test or hook, as mocha's reporter `json-stream` tells of it. */
interface Told {
  file?: string;
  fullTitle: string;
  duration?: number;
  /** In the end: how many were skipped. */
  pending?: number;
  err?: string;
  stack?: string | null;
}

interface Counts {
  passed: number;
  skipped: number;
}

/** These build the package or the page in `dist`, so one of them at a time. */
const BUILDING = ['package', 'shipped-cli', 'lessons', 'course', 'page-debian'];
/** Tests of all files, and of the package, which has nearly all. */
const OF_ALL = /^test\/(house\/|full\/(package|shipped-cli)\.)/;
/** Files that other tests don't all read, and what the names or texts of those that do have. */
const SIDES = [
  // Texts for people.
  { files: /^(docs\/.*|[^/]*\.md)$/, named: /\bdocs\/\S*\.md|\b[A-Z_]+\.md/ },
  // What only a browser can run.
  {
    files: /^((test\/)?web\/|device\/snapshot\/store\/opfs-store\.ts)/,
    named: /\b(web|page|site)\b|hostile-peers|recordRefusal/,
  },
];
/** These run with the fast driver on Linux 6.1 too. `suspend` and `suspend-sleep` have it in any case. */
const FAST = ['five-ways', 'freeze-load', 'migrate-cuts', 'posix', 'race'];
const FAST_DRIVER = { V86_VIRTIOFS_DRIVER: 'fast' };
const MINIMAL = { V86_VIRTIOFS_KERNEL: 'minimal' };
/** What decides whether tests run again is not part of it. */
const RUNNER = 'scripts/test-full.ts';
const MOCHA = 'node_modules/mocha/lib/cli/cli.js';
/** A failure is told with all of both values. Tests have the chai that is required. */
const WHOLE_VALUES = `data:text/javascript,import{createRequire}from"node:module";createRequire("${import.meta.url}")("chai").config.truncateThreshold=0`;
const TEST = /\.test\.tsx?$/;

/** Each file of the project, its content's hash first. */
const tree = execFileSync('git', ['ls-files', '--stage'], { encoding: 'utf8', maxBuffer: 2 ** 26 })
  .trimEnd()
  .split('\n')
  .map((line) => ({ line, file: line.slice(line.indexOf('\t') + 1) }))
  .filter(({ file }) => file !== RUNNER);
/** What git's index does not tell of. */
const changes = execFileSync('git', ['diff', '--', '.', `:!${RUNNER}`], { maxBuffer: 2 ** 30 });

const tests = (at: RegExp) => tree.map(({ file }) => file).filter((file) => TEST.test(file) && at.test(file));
const path = (name: string) => `test/full/${name}.test.ts`;
const long = tests(/^test\/full\//).map((file) => basename(file, '.test.ts'));

/** The suite of the guest, with another kernel or driver. Its tools depend on neither, and its longest tests run with one of each. */
const guest = (name: string, env: Record<string, string>): Part => ({
  name,
  runs: [[...tests(/^test\/guest\/[^/]*$/), path('virtio')]],
  env,
  isQuick: true,
});
const single = (name: string, suffix = '', env = {}): Part => ({
  name: `${name}${suffix}`,
  runs: [[path(name)]],
  env,
});

const PARTS: Part[] = [
  { name: 'web', runs: [tests(/^test\/web\//), ...BUILDING.map((name) => [path(name)])] },
  { name: 'unit', runs: [tests(/^test\/(device|harness|house)\//)] },
  { name: 'guest', runs: [tests(/^test\/guest\//)] },
  guest('minimal', MINIMAL),
  guest('fast', FAST_DRIVER),
  // What the page's guest has.
  guest('minimal-fast', { ...MINIMAL, ...FAST_DRIVER }),
  ...long.filter((name) => !BUILDING.includes(name)).map((name) => single(name)),
  ...FAST.map((name) => single(name, '-fast', FAST_DRIVER)),
  ...['notifications', 'suspend'].map((name) => single(name, '-minimal', MINIMAL)),
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

const passed = join(cacheDirectory(), 'passed');
mkdirSync(passed, { recursive: true });
const directory = mkdtempSync(join(tmpdir(), 'test-full-'));

/** Where it is noted that a file of tests has passed: by its name, and what it and everything but other tests was. */
function noteOf({ name, env = {} }: Part, test: string): string {
  const text = `${test}\n${readFileSync(test, 'utf8')}`;
  const unread = OF_ALL.test(test) ? [] : SIDES.filter(({ named }) => !named.test(text));
  const read = tree.filter(({ file }) =>
    TEST.test(file) ? file === test : unread.every(({ files }) => !files.test(file)),
  );
  const settings = Object.entries({ ...process.env, ...env }).filter(([key]) => key.startsWith('V86_VIRTIOFS_'));
  const hash = createHash('sha256')
    .update(JSON.stringify([process.version, settings.sort(), read.map(({ line }) => line)]))
    .update(changes)
    .digest('hex');
  return join(passed, `${name}-${basename(test, '.test.ts')}-${hash.slice(0, 32)}`);
}

/** Runs files of tests in one process, one after the other, and notes which have passed. Returns what has not. */
async function run(part: Part, files: string[], log: WriteStream, counts: Counts): Promise<string[]> {
  const failures: string[] = [];
  const good = new Set(files);
  let current = '';
  const noteIfGood = (file: string) => good.has(file) && writeFileSync(noteOf(part, file), '');
  const limit = files.every((file) => file.startsWith('test/full/')) ? ['--timeout', '1800000'] : [];
  const only = part.isQuick ? ['--fgrep', '@long', '--invert'] : [];
  const mocha = [MOCHA, '--config', 'test/mocharc.json', '--reporter', 'json-stream', ...limit, ...only, ...files];
  const child = spawn(process.execPath, ['--import', 'tsx', '--import', WHOLE_VALUES, ...mocha], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...part.env },
  });
  child.stderr.pipe(log, { end: false });
  const closed = once(child, 'close');
  for await (const line of createInterface(child.stdout)) {
    const { kind, told } = eventOf(line);
    if (kind === 'end') counts.skipped += told.pending ?? 0;
    if (kind !== 'pass' && kind !== 'fail') {
      log.write(`${line}\n`);
      continue;
    }
    const file = told.file ? relative('.', told.file) : current;
    if (file !== current) {
      noteIfGood(current);
      current = file;
      log.write(`\n${file}\n`);
    }
    log.write(`  ${kind === 'pass' ? '✔' : '✖'} ${told.fullTitle} (${told.duration ?? 0} ms)\n`);
    if (kind === 'pass') {
      counts.passed++;
      continue;
    }
    good.delete(file);
    failures.push(`${file}: ${told.fullTitle}\n${told.stack ?? told.err}`);
    log.write(`${failures.at(-1)}\n`);
  }
  const [code] = await closed;
  // A file whose tests are all left out tells nothing.
  if (code === failures.length) files.forEach(noteIfGood);
  else failures.push(`${current || files.join(' ')}: mocha ended with ${code}`);
  return failures;
}

/** What a line of mocha's tells, unless a test has printed it. */
function eventOf(line: string): { kind: string; told: Told } {
  try {
    const [kind, told] = JSON.parse(line);
    return { kind, told };
  } catch {
    return { kind: 'text', told: { fullTitle: line } };
  }
}

const parts = PARTS.filter(({ name }) => !wanted.length || wanted.includes(name));
const waiting = [...parts];
const failed: string[] = [];
let done = 0;

async function runPart(part: Part): Promise<void> {
  const { name } = part;
  const runs = part.runs.map((files) => files.filter((file) => flags.again || !existsSync(noteOf(part, file))));
  const before = part.runs.flat().length - runs.flat().length;
  const ofBefore = before ? `, ${before} of its files passed before` : '';
  if (!runs.flat().length) {
    console.log(`${name}: passed before, with the same files (${++done} of ${parts.length})`);
    return;
  }
  const logFile = join(directory, `${name}.log`);
  const log = createWriteStream(logFile);
  const began = Date.now();
  console.log(`${name}: begun${ofBefore}`);
  const counts = { passed: 0, skipped: 0 };
  const failures: string[] = [];
  for (const files of runs) if (files.length) failures.push(...(await run(part, files, log, counts)));
  await new Promise<void>((resolve) => log.end(resolve));
  const others = `${counts.skipped ? `, ${counts.skipped} skipped` : ''}${failures.length ? `, ${failures.length} failed` : ''}`;
  const result = `${counts.passed} tests passed${others}, ${Math.round((Date.now() - began) / 1000)} s`;
  console.log(`${name}: ${failures.length ? 'FAILED' : 'passed'}, ${result}${ofBefore} (${++done} of ${parts.length})`);
  if (!failures.length) return;
  failed.push(name);
  console.log(`${failures.join('\n\n').slice(0, 8000)}\nAll that it said: ${logFile}`);
}

await Promise.all(
  Array.from({ length: availableParallelism() + 1 }, async () => {
    for (let part = waiting.shift(); part; part = waiting.shift()) await runPart(part);
  }),
);
console.log(failed.length ? `Failed: ${failed.join(', ')}` : `All ${parts.length} parts passed.`);
process.exitCode = failed.length ? 1 : 0;
