import { readFile, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import ora from 'ora';
import { benchBoot, bootTargets, STARTS } from './bench/boot.ts';
import { benchFilesystems, type FilesystemBench } from './bench/filesystems.ts';
import type { Goal } from './bench/goals.ts';
import { benchImageFreeze } from './bench/image-freeze.ts';
import { benchMigration, GUESTS } from './bench/migration.ts';
import { benchPage, PAGE_GUESTS, targetsOfPage } from './bench/page.ts';
import { benchQueue, RINGS } from './bench/queue.ts';
import {
  type BenchRow,
  cellsOf,
  formatNumber,
  formatTable,
  markdownTable,
  type Target,
  withSection,
} from './bench/report.ts';
import { benchRoot } from './bench/root.ts';
import { benchScale, SIZES, scaleTargets } from './bench/scale.ts';
import { benchSnapshots, SNAPSHOT_KINDS, snapshotTargets } from './bench/snapshots.ts';
import { benchTests, TEST_KINDS, testTargets } from './bench/tests.ts';
import { benchWorkers } from './bench/workers.ts';
import { benchWorst, WORST } from './bench/worst.ts';

interface Flags {
  rounds: number;
  size: number;
  json?: string;
  markdown?: string;
}

const number = (value: string): number => {
  const parsed = Number(value);
  if (!Number.isInteger(parsed) || parsed < 1) throw new InvalidArgumentError('Give a whole number above 0.');
  return parsed;
};

type Measured = Pick<FilesystemBench, 'tables'> & Partial<FilesystemBench> & { targets?: Target[] };
type Progress = (message: string) => void;

/** What can be measured, by the word for it. */
const SUBJECTS: Record<string, (flags: Flags, onProgress: Progress) => Promise<Measured>> = {
  files: ({ rounds, size }, onProgress) => benchFilesystems(rounds, size, onProgress),
  boot: async ({ rounds }, onProgress) => {
    const rows = await benchBoot(rounds, onProgress);
    return { ...table('Boot', STARTS, rows), targets: bootTargets(rows) };
  },
  migration: async ({ rounds }, onProgress) =>
    table(
      'Live migration of a guest with 256 MiB to another process, over TCP',
      GUESTS,
      await benchMigration(rounds, onProgress),
    ),
  queue: async ({ rounds }, onProgress) =>
    table('Virtqueues, driven over plain memory', RINGS, benchQueue(rounds, onProgress)),
  root: ({ rounds }, onProgress) => benchRoot(rounds, onProgress),
  snapshots: async ({ rounds }, onProgress) => {
    const rows = await benchSnapshots(rounds, onProgress);
    const { tables } = table('Snapshots of a guest with 256 MiB, and v86’s own', SNAPSHOT_KINDS, rows);
    return { tables: [...tables, await benchImageFreeze(rounds, onProgress)], targets: snapshotTargets(rows) };
  },
  page: async ({ rounds }, onProgress) => {
    const rows = await benchPage(rounds, onProgress);
    return { ...table('Opening the page in Chromium', PAGE_GUESTS, rows), targets: targetsOfPage(rows) };
  },
  scale: async ({ rounds }, onProgress) => {
    const rows = await benchScale(rounds, onProgress);
    const { tables } = table('Many empty files: freezing and thawing, without a guest', SIZES, rows);
    return { tables, targets: scaleTargets(rows) };
  },
  tests: async ({ rounds }, onProgress) => {
    const rows = await benchTests(rounds, onProgress);
    const { tables } = table('Tests that each begin with the same guest, of 256 MiB', TEST_KINDS, rows);
    return { tables: [...tables, await benchWorkers(rounds, onProgress)], targets: testTargets(rows) };
  },
  worst: async ({ rounds }, onProgress) =>
    table(
      'Processor time of one request: the worst that was found for each opcode',
      WORST,
      benchWorst(rounds, onProgress),
    ),
};

function table(title: string, subjects: readonly string[], rows: BenchRow[]): Measured {
  return { tables: [{ title, subjects: [...subjects], rows }] };
}

/** What is printed: a title, and cells or words below it. */
function sectionsOf({
  tables,
  goals,
  behind,
  targets,
}: Measured): { title: string; cells?: string[][]; text?: string }[] {
  return [
    ...tables.map((each) => ({ title: each.title, cells: cellsOf(each) })),
    ...(goals ? [{ title: 'Goals of the fast driver', cells: cellsOfGoals(goals) }] : []),
    ...(targets ? [{ title: 'Goals', cells: cellsOfTargets(targets) }] : []),
    ...(behind ? [{ title: 'Where 9p is ahead of the fast driver', text: behind.join('\n') || 'nowhere' }] : []),
  ];
}

function cellsOfGoals(goals: Goal[]): string[][] {
  return [
    ['', 'unit', 'stock', 'fast', 'goal', ''],
    ...goals.map(({ name, unit, stock, fast, goal, isLeast, isReached }) => [
      name,
      unit,
      formatNumber(stock),
      formatNumber(fast),
      `${isLeast ? '≥' : '≤'} ${goal}`,
      isReached ? 'reached' : 'missed',
    ]),
  ];
}

function cellsOfTargets(targets: Target[]): string[][] {
  return [
    ['', 'unit', '', 'goal', ''],
    ...targets.map(({ name, unit, value, goal, isLeast, isReached }) => [
      name,
      unit,
      formatNumber(value),
      `${isLeast ? '≥' : '≤'} ${goal}`,
      isReached ? 'reached' : 'missed',
    ]),
  ];
}

/** As `docs/benchmarks.md` has them: with what was measured, when and where. */
function markdown(what: string, { rounds }: Flags, result: Measured): string {
  const [cpu] = cpus();
  const facts = [
    `\`npm run bench -- ${what}\``,
    new Date().toISOString().slice(0, 10),
    `Node ${process.version}`,
    `${cpus().length} × ${cpu?.model.trim() || 'unknown processor'}`,
    ...Object.entries(result.guest ?? {}).map(([name, value]) => `guest's ${name} ${value}`),
    rounds === 1 ? 'one round' : `medians of ${rounds} rounds in turn`,
  ];
  return [
    `${facts.join(', ')}. A ratio above 1 says that the first one is better.`,
    ...sectionsOf(result).map(
      ({ title, cells, text }) => `### ${title}\n\n${cells ? markdownTable(cells) : text!.replaceAll(/^/gm, '- ')}`,
    ),
  ].join('\n\n');
}

async function bench(what: string, flags: Flags): Promise<void> {
  const { rounds, json } = flags;
  const spinner = ora().start();
  let result: Measured;
  try {
    result = await SUBJECTS[what]!(flags, (message) => {
      if (spinner.isSpinning) spinner.text = message;
      else spinner.start(message);
    });
  } finally {
    spinner.stop();
  }
  for (const { title, cells, text } of sectionsOf(result))
    console.log(`\n${title}\n\n${cells ? formatTable(cells) : text}`);
  console.log(
    `\n${rounds === 1 ? 'One round' : `Medians of ${rounds} rounds in turn`}. A ratio above 1 says that the first one is better.`,
  );
  if (flags.markdown !== undefined) {
    const before = await readFile(flags.markdown, 'utf8').catch(() => '');
    const [series] = /\d+\.\d+/.exec(`${result.guest?.['kernel'] ?? ''}`) ?? [];
    const section = `bench ${what}${series ? `, Linux ${series}` : ''}`;
    await writeFile(flags.markdown, withSection(before, section, markdown(what, flags, result)));
    console.log(`The tables are in ${flags.markdown}.`);
  }
  if (json === undefined) return;
  const report = {
    date: new Date().toISOString(),
    node: process.version,
    cpu: cpus()[0]?.model ?? '',
    rounds,
    ...result,
  };
  await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`Every value is in ${json}.`);
}

await new Command('bench')
  .description(
    "Measures virtio-fs with the fast driver beside the stock one, v86's own 9p and tmpfs, and says which goals are reached; or boots, a root from a web server, migrations, virtqueues, snapshots, tests that begin with one, the page, the worst request.",
  )
  .addArgument(new Argument('[what]', 'what to measure').choices(Object.keys(SUBJECTS)).default('files'))
  .addOption(new Option('-r, --rounds <n>', 'rounds; medians are shown').default(3).argParser(number))
  .addOption(new Option('-s, --size <MiB>', 'size of the large file').default(64).argParser(number))
  .option('--json <file>', 'write every value there')
  .option(
    '--markdown <file>',
    'write the tables there, with machine and date: in place of those of such a run before, as docs/benchmarks.md has them',
  )
  .action(bench)
  .parseAsync();
