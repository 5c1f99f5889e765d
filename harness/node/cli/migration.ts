import { resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  checkToken,
  loadCodec,
  type MigrationChannel,
  MigrationError,
  type MigrationFate,
  MigrationLink,
  MigrationTarget,
  MigrationUnknownError,
  makeToken,
  SnapshotStore,
  settleMigration,
} from '../../../device/index.ts';
import type { GuestProcess } from '../../machine/agent/guest-agent.ts';
import { VmError } from '../../machine/errors.ts';
import { printableLines } from '../../machine/printable.ts';
import { unlessAborted } from '../../machine/unless-aborted.ts';
import { DirectoryFates } from '../migration/directory-fates.ts';
import { makePlan } from '../plan.ts';
import { DirectoryStore } from '../stores/directory-store.ts';
import { type MigratedVm, Vm } from '../vm.ts';
import { fingerprintNote, isWaiting, listen, openWay, STDIO, type Way, type WayFlags } from './endpoint.ts';
import type { ExecFlags } from './exec-options.ts';
import { checkRestoredTargets, checkTargets, type KeepFlags, keepingShares } from './keep.ts';
import {
  addGuestOptions,
  addRenewalOptions,
  OWN_FAILURE,
  progressReporter,
  type RenewalFlags,
  storeOption,
  thawOptions,
  UNSETTLED,
} from './options.ts';
import { runIn } from './run.ts';

const TOKEN_VARIABLE = 'V86_VIRTIOFS_TOKEN';
const SETTLE_ATTEMPTS = 5;
const SETTLE_INTERVAL = 1000;

export interface LinkFlags extends WayFlags, RenewalFlags {
  store: string;
  token?: string;
  bandwidth?: number;
  policy?: 'throttle' | 'give-up' | 'stop';
  verbose?: boolean;
}

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
    .option('--tls-fingerprint <SHA-256>', "the other side's certificate, whoever has signed it");
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
runs it is kept as a snapshot, to be settled by \`v86-virtiofs settle\`, and this exits with ${UNSETTLED}.`,
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
  v86-virtiofs serve --incoming ws:7000 --to ws:7001 -- make            # and back`,
    )
    .action(serve);
  program
    .command('token')
    .summary('make a token for both sides of a migration')
    .description(`Prints a new token, 136 random bits, to be put into ${TOKEN_VARIABLE} on both sides.`)
    .action(() => console.log(makeToken()));
}

async function migrate(snapshot: string, argv: string[], { to, ...flags }: LinkFlags & { to: string }): Promise<void> {
  const { way, token } = await openWayOut(to, flags);
  // Nobody there is known before a second is spent on a machine that has to wait, then.
  const first = way.address === undefined ? await way.connect() : undefined;
  let vm: Vm | undefined;
  try {
    if (first) await MigrationLink.open(first, 'source', token);
    const store = await openStore(flags);
    vm = await Vm.thaw(store, store.find(snapshot), thawOptions(flags));
    const started = argv.length ? await start(vm, argv, to) : undefined;
    await moveOut(vm, { way, first, token, flags, store, started });
  } finally {
    first?.close();
    way.close();
    await vm?.stop();
  }
}

async function serve(
  argv: string[],
  { incoming, to, ...flags }: LinkFlags & KeepFlags & ExecFlags & { incoming: string; to?: string },
): Promise<void> {
  await checkTargets(flags);
  // Builds the image too, where there is none: nobody waits for that yet.
  await makePlan(thawOptions(flags));
  const { secret, isGiven, note } = chooseToken(flags);
  if (!isGiven && incoming === STDIO)
    throw new VmError('configuration', `give the token that \`migrate\` has, by --token or in ${TOKEN_VARIABLE}`);
  const target = new MigrationTarget<MigratedVm>({
    ...Vm.takeOver(secret, thawOptions(flags)).options,
    maxMachines: 1,
    fates: fatesBeside(flags.store),
    onProblem: ({ message }) => say(`it has arrived, but ${message}`),
  });
  let listener: { address: string; close(): void } | undefined;
  let vm: Vm | undefined;
  try {
    if (incoming === STDIO) {
      vm = (await target.serve(await (await openWay(STDIO, secret, flags)).connect()))?.vm;
    } else {
      let arrived: (vm: Vm) => void;
      const arrival = new Promise<Vm>((resolve) => (arrived = resolve));
      // Each connection by itself: one that says nothing is in nobody's way.
      listener = await listen(incoming, flags, (channel) => {
        target.serve(channel).then(
          (successor) => successor && arrived(successor.vm),
          (error: Error) => say(`not taken over: ${error.message}`),
        );
      });
      say(`waiting on ${listener.address}${note}${fingerprintNote(incoming, flags)}`);
      vm = await arrival;
    }
    if (!vm) return;
    const { life } = vm;
    const isIdle = !argv.length && to === undefined;
    if (flags.verbose || !argv.length) say(`taken over: it runs here now${isIdle ? '; Ctrl-C ends it' : ''}`);
    try {
      checkRestoredTargets(vm, flags);
    } catch (error) {
      throw await keptInStead(vm, flags, error as Error);
    }
    process.exitCode = await keepingShares(vm, flags, async () => {
      if (argv.length) return runIn(vm!, argv, flags);
      if (isIdle) await interruption(life.signal);
      return 0;
    });
    if (to !== undefined) await moveOn(vm, to, flags);
  } finally {
    listener?.close();
    await vm?.stop();
  }
}

/** When somebody ends this process. @throws the reason of `signal`. */
async function interruption(signal: AbortSignal): Promise<void> {
  let end = () => {};
  const interrupted = new Promise<void>((resolve) => (end = resolve));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(name, end);
  try {
    await unlessAborted(signal, interrupted);
  } finally {
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.removeListener(name, end);
  }
}

/** Moves a machine that has come on to another side. It is nowhere else, so it is kept when that fails. */
async function moveOn(vm: Vm, to: string, flags: LinkFlags): Promise<void> {
  const store = await openStore(flags);
  let way: Way | undefined;
  try {
    const out = await openWayOut(to, flags);
    way = out.way;
    await moveOut(vm, { ...out, flags, store });
  } catch (error) {
    if (error instanceof VmError && error.kind === 'unsettled') throw error;
    throw await keptInStead(vm, flags, new Error(`not moved on: ${(error as Error).message}`, { cause: error }));
  } finally {
    way?.close();
  }
}

/** Keeps a machine that has come and is nowhere else, because of an error. Returns what tells of both. */
async function keptInStead(vm: Vm, flags: LinkFlags, error: Error): Promise<VmError> {
  const { id } = await vm.freeze(await openStore(flags));
  return new VmError(
    'snapshot',
    `${error.message}; the guest is kept as ${id.slice(0, 12)}: \`v86-virtiofs restore\` resumes it`,
    { cause: error },
  );
}

/** What is to be done about a machine that may run elsewhere. */
function howToSettle(snapshot: string): string {
  return (
    `It is kept as ${snapshot}. When the other side can be reached, or a \`serve\` with its --store there: v86-virtiofs settle ${snapshot} --to ADDRESS\n` +
    `When not, look there, and then: v86-virtiofs settle ${snapshot} --runs-here, or --runs-there`
  );
}

interface MoveOut {
  way: Way;
  /** A connection that is there already. */
  first?: MigrationChannel;
  token: string;
  flags: LinkFlags;
  /** Where the machine is kept when nobody can tell what became of it. */
  store: SnapshotStore;
  /** What goes on here when it can't be moved. */
  started?: GuestProcess;
}

/** Moves a machine out, and says how that went. */
async function moveOut(
  vm: Vm,
  { way, first, token, flags: { bandwidth, policy, verbose }, store, started }: MoveOut,
): Promise<void> {
  const report = progressReporter(verbose);
  for (;;) {
    try {
      const { rounds, bytes, downtime } = await vm.migrate(first ?? (await way.connect()), {
        token,
        bandwidth: bandwidth && bandwidth * 1e6,
        policy,
        onProgress: ({ round, pages, bytes: sent }) =>
          report(`round ${round}: ${pages} pages, ${(sent / 1e6).toFixed(1)} MB sent`),
      });
      report('');
      return say(
        `moved: ${rounds} rounds, ${(bytes / 1e6).toFixed(1)} MB, the guest was paused for ${downtime.toFixed(0)} ms`,
      );
    } catch (error) {
      if (!(error instanceof MigrationError)) throw error;
      const fate = error instanceof MigrationUnknownError ? await askAgain(error, way, token) : 'runs here';
      if (fate === 'runs there') return say('moved: the link broke during the switch, but the guest runs there');
      if (fate === 'unknown') {
        const { id } = await vm.freeze(store);
        throw new VmError('unsettled', `${error.message}\n${howToSettle(id.slice(0, 12))}`);
      }
      if (way.address !== undefined) {
        say(`not moved: ${error.message}; it keeps running here, and the next caller can have it`);
        continue;
      }
      if (!started) throw error;
      say(`not moved: ${error.message}; the command keeps running here`);
      await started.exited;
      process.exitCode = OWN_FAILURE;
      return;
    }
  }
}

/** Starts the command. What it says while the guest is here goes to stdout, which may be the link. */
async function start(vm: Vm, argv: string[], to: string): Promise<GuestProcess> {
  const started = vm.spawn(argv, { cwd: vm.shares[0]?.mountPoint, isKept: false });
  started.exited.catch(() => {});
  started.onStdout = (bytes) => (to === STDIO ? process.stderr : process.stdout).write(bytes);
  started.onStderr = (bytes) => process.stderr.write(bytes);
  await vm.exec(['true']);
  return started;
}

/** Asks the other side what has become of the machine; `unknown` also when it can't be asked. */
async function askAgain(unknown: MigrationUnknownError, way: Way, token: string): Promise<MigrationFate> {
  if (way.address !== undefined) return 'unknown';
  for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
    try {
      return await settleMigration(unknown, await way.connect(), token);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_INTERVAL));
    }
  }
  return 'unknown';
}

/** @throws VmError `configuration` where the other side's token has to be given and is not. */
export async function openWayOut(to: string, flags: LinkFlags): Promise<{ way: Way; token: string }> {
  const [address, fragment] = to.split('#', 2) as [string, string?];
  const { secret, isGiven, note } = chooseToken(fragment ? { ...flags, token: fragment } : flags);
  if (!isGiven && !isWaiting(address))
    throw new VmError('configuration', `give the token that \`serve\` has, by --token or in ${TOKEN_VARIABLE}`);
  const way = await openWay(address, secret, flags);
  if (way.address !== undefined) say(`waiting on ${way.address}${note}${fingerprintNote(address, flags)}`);
  return { way, token: secret };
}

/** The token; one that is made here is told behind the address. @throws MigrationError for one that somebody has thought of. */
function chooseToken({ token = process.env[TOKEN_VARIABLE] }: LinkFlags): {
  secret: string;
  isGiven: boolean;
  note: string;
} {
  const secret = token || makeToken();
  checkToken(secret);
  return { secret, isGiven: Boolean(token), note: token ? '' : `#${secret}` };
}

/** Where a `serve` with this store takes down what became of migrations. */
function fatesBeside(store: string): DirectoryFates {
  return new DirectoryFates(`${resolve(store)}.migrations`);
}

function openStore({ store }: LinkFlags): Promise<SnapshotStore> {
  return SnapshotStore.open(new DirectoryStore(store), loadCodec());
}

function say(text: string): void {
  process.stderr.write(`${printableLines(text)}\n`);
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('Give a number above 0.');
  return value;
}
