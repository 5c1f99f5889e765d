import { Command, Option } from 'commander';
import type { HandOver } from '../demo/demo.ts';
import { addMigrationCommands } from './migration.ts';
import { addMachineOptions, EXIT_CODES, type MachineFlags } from './options.ts';
import { addSettleCommand } from './settle.ts';
import { addSleepCommands } from './sleep.ts';
import { addSnapshotCommands } from './snapshots.ts';

/** All commands and their options. */
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
      const { run } = await import('./run.ts');
      process.exitCode = await run(argv, flags);
    });

  addMachineOptions(
    program
      .command('shell')
      .summary('open a shell in a guest')
      .description('Opens an interactive shell in a guest, in the directory of the (first) share. Ctrl-] leaves it.'),
  ).action(async (flags: MachineFlags) => {
    const { shell } = await import('./shell.ts');
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
        const { demo } = await import('../demo/demo.ts');
        process.exitCode = await demo();
      } else {
        const { secondHalf } = await import('../demo/second-half.ts');
        await secondHalf(JSON.parse(handOver) as HandOver);
      }
    });
  return program;
}
