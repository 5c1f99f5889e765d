import { type Command, InvalidArgumentError, Option } from 'commander';
import { MigrationLink, makeToken } from '../../../device/index.ts';
import type { GuestProcess } from '../../machine/agent/guest-agent.ts';
import { Vm } from '../vm.ts';
import { STDIO } from './endpoint.ts';
import { type LinkFlags, moveOut, openTarget, TOKEN_VARIABLE } from './move-out.ts';
import { addGuestOptions, addRenewalOptions, OWN_FAILURE, storeOption, thawOptions, UNSETTLED } from './options.ts';
import { pass } from './output.ts';
import { serve } from './serve.ts';
import { breakingOff } from './signals.ts';
import { openStore } from './store.ts';

/** What is needed to call the other side. */
export function addCallOptions(command: Command): Command {
  return command
    .addOption(storeOption())
    .addOption(
      new Option(
        '--token <text>',
        `what both sides know, of \`v86-virtiofs token\`; better put into ${TOKEN_VARIABLE}, where no list of processes shows it`,
      ),
    )
    .option('--tls-ca <file>', 'certificates of authorities, PEM, to know the other side by')
    .option('--tls-fingerprint <SHA-256>', "the other side's certificate, no matter who signed it");
}

/** Adds `migrate`, `serve` and `token`. */
export function addMigrationCommands(program: Command): void {
  const addLinkOptions = (command: Command) =>
    addRenewalOptions(addCallOptions(command))
      .addOption(new Option('--host <address>', 'address to wait on').default('localhost'))
      .option(
        '--origin <origin>',
        'let pages from there call too, such as https://example.org; * for all (again for more)',
        (origin: string, before: string[] = []) => [...before, origin],
      )
      .option('--tls-cert <file>', 'certificate to wait with on tls:PORT or wss:PORT, PEM')
      .option('--tls-key <file>', 'its key')
      .addOption(new Option('--bandwidth <MB/s>', 'limit the bandwidth').argParser(parsePositive))
      .addOption(
        new Option('--policy <what>', 'what to do when the guest changes memory faster than it can be sent').choices([
          'throttle',
          'give-up',
          'stop',
        ]),
      )
      .option('-v, --verbose', 'report progress on stderr');
  addLinkOptions(
    program
      .command('migrate')
      .summary('move a running guest to another process, or to a page')
      .description(
        'Resumes a guest from a snapshot and, when a command has been started in it, moves it to a waiting `serve`, or to a page, while it runs.',
      )
      .argument('<snapshot>', 'name, id or beginning of an id')
      .argument('[command...]', 'command to start in it first; put -- before it')
      .requiredOption(
        '--to <address>',
        `HOST:PORT, tls:HOST:PORT, ws://HOST:PORT or wss://HOST:PORT of a \`serve\`; ws:PORT or wss:PORT to wait for a page; or ${STDIO}`,
      ),
  )
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs serve --incoming 7000 -- ps                              # in one terminal; it prints localhost:7000#TOKEN
  v86-virtiofs migrate base --to localhost:7000#TOKEN -- sh -c 'make &' # in another
  v86-virtiofs migrate base --to ws:7000                                # give the page what this says
If it can't be moved, the guest keeps running here, and this exits with ${OWN_FAILURE} when the command has ended. When nobody can tell where it
runs it is kept as a snapshot, to be settled by \`v86-virtiofs settle\`, and this exits with ${UNSETTLED}. Ctrl-C and TERM break it off, and go to the command.`,
    )
    .action(migrate);
  addGuestOptions(
    addLinkOptions(
      program
        .command('serve')
        .summary('take over a running guest from another process, or from a page')
        .description(
          'Waits for a `migrate`, or for a page, takes its guest over, runs a command in it and exits with its code; without one, the guest runs until Ctrl-C.',
        )
        .argument('[command...]', 'command to run in it then; put -- before it')
        .requiredOption(
          '--incoming <port>',
          `TCP port to wait on, 0 for any; tls:PORT; ws:PORT or wss:PORT for pages; or ${STDIO}`,
        )
        .option('--to <address>', 'move it on when the command has ended, as in `migrate`'),
    ),
  )
    .addHelpText(
      'after',
      `
Examples:
  v86-virtiofs serve --incoming ws:7000                                 # give the page what this says
  v86-virtiofs serve --incoming ws:7000 --to ws:7001 -- make            # and back

A command that can't be started leaves the guest as a snapshot in the store.
When the command has ended it waits for up to 35 s for the other side to ask, if that may not have heard that its guest runs here.`,
    )
    .action(serve);
  program
    .command('token')
    .summary('make a token for both sides of a migration')
    .description(`Prints a new token, 136 random bits, to be put into ${TOKEN_VARIABLE} on both sides.`)
    .addHelpText('after', `\nExample:\n  export ${TOKEN_VARIABLE}=$(v86-virtiofs token)`)
    .action(() => console.log(makeToken()));
}

async function migrate(snapshot: string, argv: string[], { to, ...flags }: LinkFlags & { to: string }): Promise<void> {
  const { endpoint, token } = await openTarget(to, flags);
  // Nobody there is known before a second is spent on a machine that has to wait, then.
  const first = endpoint.address === undefined ? await endpoint.connect() : undefined;
  let vm: Vm | undefined;
  try {
    if (first) await MigrationLink.open(first, 'source', token);
    const store = await openStore(flags);
    vm = await Vm.thaw(store, store.find(snapshot), thawOptions(flags));
    const machine = vm;
    let started: GuestProcess | undefined;
    const code = await breakingOff({ kill: (signal) => started?.kill(signal) }, async (signal) => {
      if (argv.length) {
        started = begin(machine, argv, to);
        // Once another command has been started, it is known whether this one could be.
        await machine.exec(['true']);
        await Promise.race([started.exited, undefined]);
      }
      await moveOut(machine, { endpoint, first, token, flags, store, started, signal });
    });
    process.exitCode ||= code;
  } finally {
    first?.close();
    endpoint.close();
    await vm?.stop();
  }
}

/** Starts the command. What it says while the guest is here goes to stdout, which may be the link. */
function begin(vm: Vm, argv: string[], to: string): GuestProcess {
  const started = vm.spawn(argv, { cwd: vm.shares[0]?.mountPoint, isKept: false });
  started.exited.catch(() => {});
  started.onStdout = (bytes) => pass(to === STDIO ? 'stderr' : 'stdout', bytes);
  started.onStderr = (bytes) => pass('stderr', bytes);
  return started;
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('Give a number above 0.');
  return value;
}
