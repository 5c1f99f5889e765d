import { type Command, InvalidArgumentError, Option } from 'commander';
import type { SnapshotStore } from '../../../device/index.ts';
import { formatBytes } from '../../../device/trees/report.ts';
import { printable } from '../../machine/printable.ts';
import { compileV86 } from '../v86.ts';
import { Vm } from '../vm.ts';
import { addExecOptions, type ExecFlags } from './exec-options.ts';
import { fork } from './fork.ts';
import { checkRestoredTargets, checkTargets, type KeepFlags, keepingShares } from './keep.ts';
import {
  addGuestOptions,
  addMachineOptions,
  addRenewalOptions,
  EXIT_CODES,
  type MachineFlags,
  type RenewalFlags,
  thawOptions,
} from './options.ts';
import { bootWithShares, runIn } from './run.ts';
import { shellIn } from './shell.ts';
import { addJsonOption, addStoreCommand, checkNewName, openStore, type StoreFlags } from './store.ts';

/** Adds `freeze`, `restore` and `fork`. */
export function addSnapshotCommands(program: Command): void {
  const command = (name: string, summary: string, description: string) =>
    addStoreCommand(program, name, summary, description);

  addMachineOptions(
    command(
      'freeze',
      'start a guest, run a command in it, and freeze it',
      'Starts a guest, runs a command in it, and freezes it into the store, with all that still runs and is open.',
    ),
  )
    .option('-n, --name <name>', 'name of the snapshot')
    .argument('[command...]', 'command and arguments; put -- before them')
    .addHelpText(
      'after',
      `
Example:
  v86-virtiofs freeze --name ready --share . -- sh -c 'tail -f log &'

${EXIT_CODES}`,
    )
    .action((argv: string[], flags: MachineFlags & StoreFlags & { name?: string }) => freeze(argv, flags));

  addGuestOptions(
    addRenewalOptions(
      command(
        'restore',
        'resume a frozen guest',
        'Resumes a frozen guest in this process: runs a command in it and exits with its code.',
      ),
    ),
  )
    .argument('<snapshot>', 'name, id, or beginning of an id')
    .argument('[command...]', 'command and arguments; put -- before them (default: an interactive shell)')
    .option('-n, --name <name>', 'freeze it again afterwards, under this name')
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs restore ready -- ps
  v86-virtiofs restore ready                                            # a shell
  v86-virtiofs restore ready --name later -- sh -c 'make > log 2>&1'

${EXIT_CODES}`,
    )
    .action(restore);

  addJsonOption(
    addExecOptions(
      addRenewalOptions(
        command(
          'fork',
          'let several copies of a frozen guest run side by side',
          "Lets several copies of a frozen guest run a command side by side, each with files of its own. FORK in the command's environment is the number of the copy.",
        ),
      ),
    ),
  )
    .argument('<snapshot>', 'name, id, or beginning of an id')
    .argument('<command...>', 'command and arguments; put -- before them')
    .addOption(new Option('-c, --copies <n>', 'how many').default(2).argParser(parseCount))
    .addOption(
      new Option(
        '--workers <n>',
        'threads that the copies are spread over; 1: all of them in this one (default: as many as there are processors)',
      ).argParser(parseCount),
    )
    .addHelpText(
      'after',
      `
Each line of output begins with the number of its copy; Ctrl-C and TERM go to all of them. The exit code is the largest of theirs.

Example:
  v86-virtiofs fork --copies 4 ready -- sh -c 'make test-$FORK'

${EXIT_CODES}`,
    )
    .action(fork);
}

function parseCount(value: string): number {
  const count = Number(value);
  if (!Number.isInteger(count) || count < 1 || count > 100)
    throw new InvalidArgumentError('Give a number from 1 to 100.');
  return count;
}

async function freeze(argv: string[], flags: MachineFlags & StoreFlags & { name?: string }): Promise<void> {
  const store = await openStore(flags);
  checkNewName(store, flags.name);
  const vm = await bootWithShares(flags);
  try {
    // Before it is frozen, so that the snapshot knows what the host has.
    process.exitCode = await keepingShares(vm, flags, async () => (argv.length ? runIn(vm, argv, flags) : 0));
    await tellFrozen(store, await vm.freeze(store, flags.name));
  } finally {
    await vm.stop();
  }
}

async function tellFrozen(store: SnapshotStore, { id, standstill }: { id: string; standstill: number }): Promise<void> {
  const { name, addedBytes } = store.info(id);
  process.stderr.write(
    `frozen as ${name ? `${printable(name)} (${id.slice(0, 12)})` : id.slice(0, 12)}: ${formatBytes(addedBytes)} added, the guest was paused for ${standstill.toFixed(0)} ms\n`,
  );
}

export async function restore(
  snapshot: string,
  argv: string[],
  flags: StoreFlags & RenewalFlags & KeepFlags & ExecFlags & { name?: string },
): Promise<void> {
  void compileV86();
  await checkTargets(flags);
  const store = await openStore(flags);
  checkNewName(store, flags.name);
  const vm = await Vm.thaw(store, store.find(snapshot), thawOptions(flags));
  try {
    checkRestoredTargets(vm, flags);
    process.exitCode = await keepingShares(vm, flags, () =>
      argv.length ? runIn(vm, argv, flags) : shellIn(vm, flags),
    );
    if (flags.name !== undefined) await tellFrozen(store, await vm.freeze(store, flags.name));
  } finally {
    await vm.stop();
  }
}
