import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { VmError } from '../../../machine/errors.ts';
import { printableLines } from '../../../machine/printable.ts';
import { isNamed } from '../../image.ts';
import type { VmOptions } from '../../vm-options.ts';
import { addBootOptions, addShareForm, collect, LIVE, type MachineFlags, machineOptions, SET_IDS } from '../options.ts';
import { isAnswered } from './answer.ts';
import { DAEMON_VARIABLE, isTrusted, socketPath } from './place.ts';
import { encodeFrame, FROM_CLIENT } from './wire.ts';

interface DaemonFlags extends MachineFlags {
  /** How many machines wait. */
  count: number;
  /** Minutes. */
  idle: number;
  stop?: boolean;
  worker?: string;
}

const MAX_COUNT = 16;

/** Adds `daemon`. `makeProgram` makes all of this command line anew. */
export function addDaemonCommand(program: Command, makeProgram: () => Command): void {
  const command = program
    .command('daemon')
    .summary('keep guests ready, so that `run` and `shell` begin at once')
    .description(
      'Keeps booted guests waiting. While it runs, `run` and `shell` of this user take one of them, if it has the same options, instead of starting one.',
    )
    .addOption(
      new Option('-c, --count <n>', 'guests that wait, each in a process of its own').default(2).argParser(parseCount),
    )
    .addOption(
      new Option('--idle <minutes>', 'end when nobody has wanted one for so long').default(60).argParser(parseMinutes),
    )
    .option('--stop', 'end the daemon that runs, once it has done what it does')
    .addOption(new Option('--worker <machine>', 'be a process of it').hideHelp());
  const shares = command
    .optionsGroup('Shares:')
    .addOption(
      new Option('-s, --share <dir>', 'with --live, a directory that its guests share (again for more)').argParser(
        collect,
      ),
    )
    .option('--live', LIVE)
    .option('--owners', `with --live, ${SET_IDS}`);
  addBootOptions(addShareForm(shares).optionsGroup('Machine:'))
    .addHelpText(
      'after',
      `
What a command may choose each time: what its shares are copies of, --write-back, --save, and all about the command itself. For anything else,
and when no guest is ready, \`run\` starts one, as it does without the daemon; with --verbose it says why.

Ctrl-C ends it when the commands that it runs have ended; press it again not to wait for them. ${DAEMON_VARIABLE} names another socket than the usual
one, or is \`off\` for commands that are not to use it.

Examples:
  v86-virtiofs daemon
  v86-virtiofs daemon --driver fast --memory 512 --count 4
  v86-virtiofs daemon --share . --live
  v86-virtiofs daemon --stop`,
    )
    .action((flags: DaemonFlags) => runDaemon(flags, makeProgram));
}

async function runDaemon(flags: DaemonFlags, makeProgram: () => Command): Promise<void> {
  if (flags.worker !== undefined) {
    const { work } = await import('./worker.ts');
    return work(JSON.parse(flags.worker) as VmOptions);
  }
  const path = socketPath();
  if (path === undefined)
    throw new VmError(
      'configuration',
      process.getuid
        ? `${DAEMON_VARIABLE} is off: unset it`
        : 'there is no daemon for this system: it needs Unix sockets and users',
    );
  if (flags.stop) return stop(path);
  await serve(path, flags, makeProgram);
}

async function serve(path: string, flags: DaemonFlags, makeProgram: () => Command): Promise<void> {
  if (await isAnswered(path))
    throw new VmError(
      'configuration',
      `a daemon listens at ${path} already: end it with \`v86-virtiofs daemon --stop\`, or name another socket in ${DAEMON_VARIABLE}`,
    );
  const say = (line: string) => process.stderr.write(`${printableLines(line)}\n`);
  const { Daemon } = await import('./daemon.ts');
  const machine = machineOf(flags);
  const daemon = new Daemon({ makeProgram, machine, count: flags.count, idle: flags.idle * 60_000, say });
  const onSignal = (name: NodeJS.Signals) => daemon.end(name);
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, onSignal);
  await daemon.serve(path, () =>
    say(
      `ready: ${flags.count} ${flags.count === 1 ? 'guest waits' : 'guests wait'} for \`v86-virtiofs run\`, at ${path}`,
    ),
  );
}

/** The machine that waits. @throws VmError `configuration`. */
function machineOf(flags: DaemonFlags): VmOptions {
  const { live, share = [], tag = [] } = flags;
  if (!live && share.length)
    throw new VmError(
      'configuration',
      'what is copied into a guest is said when it is taken: leave out --share, or give --live too',
    );
  if (live && !share.length)
    throw new VmError('configuration', '--live says how directories are shared: give --share DIR too');
  const copies = Array.from({ length: Math.max(1, tag.length) }, () => '');
  const { onConsole: _, onProgress: __, ...options } = machineOptions({ ...flags, share: live ? share : copies });
  const { kernel, initrd, modules, bios } = options;
  const path = (name: string | undefined) => name && resolve(name);
  return {
    ...options,
    kernel: kernel !== undefined && isNamed(kernel) ? kernel : path(kernel),
    initrd: path(initrd),
    modules: path(modules),
    bios: path(bios),
    shares: options.shares!.map(({ source, ...share }) => ({ ...share, source: path(source) || undefined })),
  };
}

async function stop(path: string): Promise<void> {
  const isThere = isTrusted(path) && (await isAnswered(path, encodeFrame(FROM_CLIENT.STOP)));
  if (!isThere) throw new VmError('configuration', `no daemon listens at ${path}`);
}

function parseCount(value: string): number {
  const count = Number(value);
  if (!Number.isInteger(count) || count < 1 || count > MAX_COUNT)
    throw new InvalidArgumentError(`Give a number from 1 to ${MAX_COUNT}.`);
  return count;
}

function parseMinutes(value: string): number {
  const minutes = Number(value);
  if (!(minutes > 0) || minutes > 30_000)
    throw new InvalidArgumentError('Give a number of minutes above 0, and not above 30000.');
  return minutes;
}
