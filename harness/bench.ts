import { Command, InvalidArgumentError, Option } from 'commander';
import { writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import ora from 'ora';
import { benchBoot, ROADS } from './bench/boot.ts';
import { benchFilesystems, type FilesystemBench } from './bench/filesystems.ts';
import { formatTable } from './bench/report.ts';

interface Flags {
  rounds: number;
  size: number;
  json?: string;
}

const number = (value: string): number => {
  const parsed = Number(value);
  if (!Number.isInteger(parsed) || parsed < 1) throw new InvalidArgumentError('Give a whole number above 0.');
  return parsed;
};

async function bench(what: string, { rounds, size, json }: Flags): Promise<void> {
  const spinner = ora().start();
  const onProgress = (message: string) => void (spinner.text = message);
  let result: FilesystemBench;
  try {
    result = what === 'boot'
      ? { tables: [{ title: 'Boot', subjects: [...ROADS], rows: await benchBoot(rounds, onProgress) }], guest: {} }
      : await benchFilesystems(rounds, size, onProgress);
  } finally {
    spinner.stop();
  }
  for (const { title, subjects, rows } of result.tables) console.log(`\n${title}\n\n${formatTable(rows, subjects)}`);
  console.log(`\nMedians of ${rounds} rounds in turn. A ratio above 1 says that the first one is better.`);
  if (!json) return;
  const report = { date: new Date().toISOString(), node: process.version, cpu: cpus()[0]?.model ?? '', rounds, ...result };
  await writeFile(json, `${JSON.stringify(report, null, 2)}\n`);
  console.log(`Every value is in ${json}.`);
}

await new Command('bench')
  .description("Measures virtio-fs beside v86's own 9p and tmpfs in one guest, or how long a guest takes to boot.")
  .argument('[what]', '"files" or "boot"', 'files')
  .addOption(new Option('-r, --rounds <n>', 'rounds; medians are shown').default(3).argParser(number))
  .addOption(new Option('-s, --size <MiB>', 'size of the large file').default(64).argParser(number))
  .option('--json <file>', 'write every value there')
  .action(bench)
  .parseAsync();
