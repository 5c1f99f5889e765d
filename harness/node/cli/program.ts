import { Command, Option } from 'commander';
import { VmError } from '../../machine/errors.ts';
import type { HandOver } from '../demo/demo.ts';
import { addCompletionCommand } from './completion.ts';
import { addDaemonCommand } from './daemon/command.ts';
import { addDoctorCommand } from './doctor.ts';
import { addImageCommands } from './image.ts';
import { addMigrationCommands } from './migration.ts';
import { addMachineOptions, EXIT_CODES, type MachineFlags, storeOption } from './options.ts';
import { addReplayCommand } from './replay.ts';
import { addSettleCommand } from './settle.ts';
import { addSleepCommands } from './sleep.ts';
import { addSnapshotCommands } from './snapshots.ts';
import { addStoreCommands } from './store.ts';
import { Versions } from './versions.ts';

/** Options of `shell` that a frozen guest takes too. */
const OF_ANY_GUEST = new Set([
  'store',
  'env',
  'workdir',
  'user',
  'timeout',
  'save',
  'kernel',
  'initrd',
  'modules',
  'bios',
]);

/** Options for which nothing is a value too: no more words for the kernel, no token from here. */
const MAY_BE_EMPTY = new Set(['cmdline', 'token']);

/** @throws VmError `configuration` for an option without a value, of a variable that is not set say. */
function checkValues(command: Command): void {
  for (const option of command.options) {
    const name = option.attributeName();
    if (command.getOptionValueSource(name) !== 'cli' || MAY_BE_EMPTY.has(name)) continue;
    const value: unknown = command.getOptionValue(name);
    if (value === '' || (Array.isArray(value) && value.includes('')))
      throw new VmError('configuration', `${option.long!} is empty: give it a value, or leave it out`);
  }
}

/** All commands and their options. */
export function makeProgram(): Command {
  const program = new Command('v86-virtiofs')
    .description(
      'Linux guests in the v86 emulator that share directories with the host over virtio-fs, and can be frozen with files open.',
    )
    .exitOverride()
    .addOption(new Option('-V, --version', 'print the versions of this package and of v86'))
    .on('option:version', () => {
      throw new Versions();
    })
    .hook('preAction', (_, command) => checkValues(command))
    .showHelpAfterError('(see v86-virtiofs --help, or v86-virtiofs COMMAND --help)');

  addMachineOptions(
    program
      .command('run')
      .summary('run a command in a guest')
      .description('Runs a command in a guest, in the directory of the (first) share, and exits with its code.')
      .argument('<command...>', 'command and arguments; put -- before them'),
  )
    .option(
      '--tap',
      'read what the command prints as test results, of kselftest, of KUnit in the kernel log, or any TAP; print them as TAP 14, and exit with 1 when a test has failed',
    )
    .addOption(new Option('--json', 'the same, printed as one JSON value').conflicts('tap'))
    .option('--junit <file>', "read test results so too, and write them to a file in JUnit's XML")
    .option('--record <file>', 'write all requests of the (first) share there, for `replay`')
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs run -- uname -a
  v86-virtiofs run --share . -- ls -lR
  v86-virtiofs run --share . --live -- make
  v86-virtiofs run --share src --write-back -- sh -c 'gzip -k *.txt'
  v86-virtiofs run --kernel arch/x86/boot/bzImage --tap -- dmesg
  v86-virtiofs run --share tests --junit results.xml -- ./run-tests
  v86-virtiofs run -e CI=1 -w tests -u 1000 --timeout 60 --share src -- ./all

Ctrl-C and TERM go to the command; a second one kills it. --write-back and --save are done in any case.

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
      .description(
        'Opens an interactive shell in a guest, in the directory of the (first) share. Ctrl-] leaves it; with a snapshot, in the frozen guest, whose machine and shares it has.',
      )
      .argument('[snapshot]', 'name, id, or beginning of an id')
      .addOption(storeOption()),
  )
    .addHelpText(
      'after',
      `
Without a terminal it reads its commands from stdin and ends with them.

Examples:
  v86-virtiofs shell --share . --write-back
  v86-virtiofs shell ready
  echo 'ls -l' | v86-virtiofs shell --share .

${EXIT_CODES}`,
    )
    .action(async (snapshot: string | undefined, flags: MachineFlags & { store: string }, command: Command) => {
      if (snapshot === undefined) {
        if (command.getOptionValueSource('store') === 'cli')
          throw new VmError('configuration', '--store says where a snapshot is: name that too');
        const { shell } = await import('./shell.ts');
        process.exitCode = await shell(flags);
      } else {
        const given = command.options.filter(
          (option) =>
            command.getOptionValueSource(option.attributeName()) === 'cli' && !OF_ANY_GUEST.has(option.attributeName()),
        );
        if (given.length)
          throw new VmError(
            'configuration',
            `a frozen guest has its machine and shares: leave out ${given.map(({ long }) => long).join(', ')}, or see \`v86-virtiofs restore --help\``,
          );
        const { restore } = await import('./snapshots.ts');
        await restore(snapshot, [], { ...flags, live: undefined, writeBack: undefined, reseed: true });
      }
    });

  addReplayCommand(program);
  addSnapshotCommands(program);
  addStoreCommands(program);
  addImageCommands(program);
  addMigrationCommands(program);
  addSettleCommand(program);
  addSleepCommands(program);
  addDaemonCommand(program, makeProgram);
  addDoctorCommand(program);
  addCompletionCommand(program);

  program
    .command('demo')
    .summary('demo: freeze a guest with files open, and resume it in another process')
    .description(
      'Boots a guest, shares files both ways, freezes it to disk with files open, and resumes it in a second process.',
    )
    .addHelpText('after', '\nExample:\n  v86-virtiofs demo')
    .addOption(new Option('--second-half <what>', 'snapshot that the second process resumes').hideHelp())
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
