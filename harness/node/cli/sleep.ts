import type { Command } from 'commander';
import type { SnapshotStore } from '../../../device/index.ts';
import { formatBytes } from '../../../device/trees/report.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { Vm } from '../vm.ts';
import type { ExecFlags } from './exec-options.ts';
import { checkRestoredTargets, checkTargets, type KeepFlags, keepingShares } from './keep.ts';
import {
  addGuestOptions,
  addMachineOptions,
  addRenewalOptions,
  EXIT_CODES,
  type MachineFlags,
  progressReporter,
  type RenewalFlags,
  storeOption,
  thawOptions,
} from './options.ts';
import { bootWithShares, runIn } from './run.ts';
import { checkNewName, openStore } from './store.ts';

interface SleepFlags {
  store: string;
  name?: string;
}

/** Adds `suspend` and `wake`. */
export function addSleepCommands(program: Command): void {
  addMachineOptions(
    program
      .command('suspend')
      .summary('start a guest, let it go to sleep by itself, and keep it')
      .description(
        'Starts a guest, runs a command in it and has its kernel suspend to idle, shares mounted and files open; the sleeping machine goes into the store.',
      )
      .argument('[command...]', 'command and arguments; put -- before them')
      .option('-n, --name <name>', 'name of the snapshot')
      .addOption(storeOption()),
  )
    .addHelpText(
      'after',
      `
The guest gets the driver that can suspend (--driver fast), and ACPI, so it boots through a BIOS each time.

Example:
  v86-virtiofs suspend --name asleep -- sh -c 'tail -f log &'
  v86-virtiofs wake asleep -- ps`,
    )
    .action(suspend);
  addGuestOptions(
    addRenewalOptions(
      program
        .command('wake')
        .summary('wake a sleeping guest')
        .description(
          'Resumes a guest that `suspend` has kept: wakes it by a byte on its serial port, runs a command in it and exits with its code.',
        ),
    ),
  )
    .argument('<snapshot>', 'name, id, or beginning of an id')
    .argument('<command...>', 'command and arguments; put -- before them')
    .option('-n, --name <name>', 'put it to sleep again afterwards, and keep it under this name')
    .addOption(storeOption())
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs wake asleep -- ps
  v86-virtiofs wake asleep --name again -- make

${EXIT_CODES}`,
    )
    .action(wake);
}

async function suspend(argv: string[], flags: MachineFlags & SleepFlags): Promise<void> {
  const driver = flags.driver ?? (flags.kernel === 'minimal' ? undefined : 'fast');
  if (driver === 'stock' && flags.kernel !== 'minimal')
    throw new VmError('configuration', "the kernel's own driver can't suspend: leave out --driver stock");
  const store = await openStore(flags);
  checkNewName(store, flags.name);
  const vm = await bootWithShares({ ...flags, driver }, { acpi: true });
  try {
    process.exitCode = await keepingShares(vm, flags, async () => (argv.length ? runIn(vm, argv, flags) : 0));
    await sleep(vm, store, flags.name, progressReporter(flags.verbose));
  } finally {
    await vm.stop();
  }
}

async function wake(
  snapshot: string,
  argv: string[],
  flags: SleepFlags & RenewalFlags & KeepFlags & ExecFlags,
): Promise<void> {
  await checkTargets(flags);
  const store = await openStore(flags);
  checkNewName(store, flags.name);
  const vm = await Vm.prepare(store, store.find(snapshot), thawOptions(flags));
  try {
    checkRestoredTargets(vm, flags);
    await vm.wake();
    process.exitCode = await keepingShares(vm, flags, () => runIn(vm, argv, flags));
    if (flags.name !== undefined) await sleep(vm, store, flags.name, progressReporter());
  } finally {
    await vm.stop();
  }
}

async function sleep(
  vm: Vm,
  store: SnapshotStore,
  name: string | undefined,
  onProgress: (message: string) => void,
): Promise<void> {
  onProgress('the guest goes to sleep');
  await vm.suspend();
  const { id } = await vm.freeze(store, name);
  onProgress('');
  process.stderr.write(
    `asleep as ${name ? `${printable(name)} (${id.slice(0, 12)})` : id.slice(0, 12)}: ${formatBytes(store.info(id).addedBytes)} added; \`wake\` wakes it\n`,
  );
}
