import { type Command, Option } from 'commander';
import { askForFate, type MigrationFate } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printableLines } from '../../machine/printable.ts';
import type { Summary } from '../../machine/summary.ts';
import { addCallOptions } from './migration.ts';
import { type LinkFlags, openTarget } from './move-out.ts';
import { UNSETTLED } from './options.ts';
import { addJsonOption, openStore, tellJson } from './store.ts';

interface SettleFlags extends Omit<LinkFlags, 'host'> {
  json?: boolean;
  to?: string;
  runsHere?: boolean;
  runsThere?: boolean;
}

/** Adds `settle`. */
export function addSettleCommand(program: Command): void {
  addJsonOption(addCallOptions(program.command('settle')))
    .summary('find out on which side a guest runs after its migration broke during the switch')
    .description(
      'Asks the other side what became of a guest that `migrate` has kept because it may run there. It runs on one side only.',
    )
    .argument('<snapshot>', 'name, id or beginning of an id')
    .option('--to <address>', 'address of the other side, as given to `migrate`')
    .addOption(
      new Option('--runs-here', 'you have checked: it does not run there, and never will').conflicts([
        'runsThere',
        'to',
      ]),
    )
    .addOption(new Option('--runs-there', 'you have checked: it runs there').conflicts('to'))
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs settle 3f2a9c0b1d4e --to localhost:7000
  v86-virtiofs settle 3f2a9c0b1d4e --runs-here

It exits with ${UNSETTLED} while nobody knows.`,
    )
    .action(settle);
}

async function settle(snapshot: string, flags: SettleFlags): Promise<void> {
  const store = await openStore(flags);
  const id = store.find(snapshot);
  const { unsettled, ...summary } = (store.info(id).summary ?? {}) as Summary;
  if (!unsettled)
    throw new VmError(
      'configuration',
      `${snapshot} is not of a guest whose migration broke during the switch: there is nothing to settle`,
    );
  const name = store.info(id).name || id.slice(0, 12);
  const fate = flags.runsHere ? 'runs here' : flags.runsThere ? 'runs there' : await ask(unsettled, flags);
  if (fate === 'runs here') await store.amend(id, { summary });
  if (flags.json) tellJson({ id, name: store.info(id).name, runs: fate.replace('runs ', '') });
  switch (fate) {
    case 'runs here':
      return say(`it does not run there, and never will: v86-virtiofs restore ${name} resumes it here`);
    case 'runs there':
      return say(`it was started there: this copy is not needed any more, and v86-virtiofs remove ${name} removes it`);
    case 'unknown':
      throw new VmError(
        'unsettled',
        `the other side does not know of this migration: it is another one, or has lost its records; look whether the guest runs there, and then say --runs-here or --runs-there`,
      );
  }
}

async function ask(migration: string, { to, ...flags }: SettleFlags): Promise<MigrationFate> {
  if (to === undefined)
    throw new VmError(
      'configuration',
      'give the address of the other side with --to, or say where it runs with --runs-here or --runs-there',
    );
  const { endpoint, token } = await openTarget(to, { ...flags, host: '' });
  try {
    return await askForFate(migration, await endpoint.connect(), token);
  } finally {
    endpoint.close();
  }
}

function say(text: string): void {
  process.stderr.write(printableLines(`${text}\n`));
}
