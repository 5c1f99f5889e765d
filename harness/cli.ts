#!/usr/bin/env node
import { Command, CommanderError, Option } from 'commander';
import { MachineError, MigrationError, SnapshotError } from '../device/index.ts';
import { GuestImageError } from '../guest-images/errors.ts';
import { addMigrationCommands } from './cli/migration.ts';
import { addMachineOptions, EXIT_CODES, exitCodeOf, OWN_FAILURE, type MachineFlags } from './cli/options.ts';
import { addSettleCommand } from './cli/settle.ts';
import { addSleepCommands } from './cli/sleep.ts';
import { addSnapshotCommands } from './cli/snapshots.ts';
import type { HandOver } from './demo/demo.ts';
import { VmError } from './errors.ts';
import { printableLines } from './printable.ts';

export function makeProgram(): Command {
  const program = new Command('v86-virtiofs')
    .description('Linux guests in the v86 emulator that share directories with the host over virtio-fs, and can be frozen with files open.')
    .exitOverride()
    .showHelpAfterError('(v86-virtiofs --help, or v86-virtiofs COMMAND --help, tells what there is)');

  addMachineOptions(
    program
      .command('run')
      .summary('run a command in a guest')
      .description('Runs a command in a guest, in the directory of the (first) share, and exits with its code.')
      .argument('<command...>', 'command and arguments; put -- before them'),
  )
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs run -- uname -a
  v86-virtiofs run --share . -- ls -lR
  v86-virtiofs run --share src --write-back -- sh -c 'gzip -k *.txt'

${EXIT_CODES}`,
    )
    .action(async (argv: string[], flags: MachineFlags) => {
      const { run } = await import('./cli/run.ts');
      process.exitCode = await run(argv, flags);
    });

  addMachineOptions(
    program
      .command('shell')
      .summary('open a shell in a guest')
      .description('Opens an interactive shell in a guest, in the directory of the (first) share. Ctrl-] leaves it.'),
  ).action(async (flags: MachineFlags) => {
    const { shell } = await import('./cli/shell.ts');
    process.exitCode = await shell(flags);
  });

  addSnapshotCommands(program);
  addMigrationCommands(program);
  addSettleCommand(program);
  addSleepCommands(program);

  program
    .command('demo')
    .summary('see a guest frozen with files open go on in another process')
    .description('Boots a guest, shares files both ways, freezes it with files open to disk, and lets a second process go on with it.')
    .addOption(new Option('--second-half <what>', 'what the second process goes on with').hideHelp())
    .action(async ({ secondHalf: handOver }: { secondHalf?: string }) => {
      if (handOver === undefined) {
        const { demo } = await import('./demo/demo.ts');
        process.exitCode = await demo();
      } else {
        const { secondHalf } = await import('./demo/second-half.ts');
        await secondHalf(JSON.parse(handOver) as HandOver);
      }
    });
  return program;
}

try {
  await makeProgram().parseAsync();
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : OWN_FAILURE;
  } else {
    const isExpected = [VmError, GuestImageError, MachineError, MigrationError, SnapshotError].some((kind) => error instanceof kind);
    process.stderr.write(`v86-virtiofs: ${printableLines((isExpected ? (error as Error).message : (error as Error).stack) ?? String(error))}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
// Not when the last timer of a stopped emulator has run out.
for (const stream of [process.stdout, process.stderr]) await new Promise((written) => stream.write('', written));
process.exit();
