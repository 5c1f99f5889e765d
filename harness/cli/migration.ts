import { InvalidArgumentError, Option, type Command } from 'commander';
import { randomBytes } from 'node:crypto';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { loadCodec, MigrationTarget, MigrationUnknownError, settleMigration, SnapshotStore, type MigrationChannel } from '../../device/index.ts';
import { cacheDirectory } from '../boot-cache.ts';
import { DirectoryStore } from '../directory-store.ts';
import { VmError } from '../errors.ts';
import type { GuestProcess } from '../guest-agent.ts';
import { duplexChannel } from '../migration/duplex-channel.ts';
import { Vm, type MigratedVm } from '../vm.ts';
import { OWN_FAILURE, progressReporter } from './options.ts';
import { runIn } from './run.ts';

/** In place of an address: this process's stdin and stdout. */
const STDIO = 'stdio';
const TOKEN_VARIABLE = 'V86_VIRTIOFS_TOKEN';
const SETTLE_ATTEMPTS = 5;
const SETTLE_INTERVAL = 1000;

interface MigrateFlags {
  to: string;
  store: string;
  token?: string;
  bandwidth?: number;
  policy?: 'throttle' | 'give-up' | 'stop';
  verbose?: boolean;
}

interface ServeFlags {
  incoming: string;
  host: string;
  token?: string;
  verbose?: boolean;
}

/** Adds `migrate` and `serve`. */
export function addMigrationCommands(program: Command): void {
  const token = () => new Option('--token <text>', `what both sides know; better put into ${TOKEN_VARIABLE}, where no list of processes shows it`);
  program
    .command('migrate')
    .summary('move a running guest to another process')
    .description('Lets a guest go on from a snapshot and, when a command has been started in it, moves it to a waiting `serve` while it runs.')
    .argument('<snapshot>', 'name, id or beginning of an id')
    .argument('[command...]', 'command to start in it first; put -- before it')
    .requiredOption('--to <address>', `HOST:PORT, or ${STDIO}`)
    .addOption(new Option('--store <dir>', 'directory of snapshots').default(cacheDirectory('snapshots'), '.cache/snapshots'))
    .addOption(token())
    .addOption(new Option('--bandwidth <MB/s>', 'send no faster').argParser(parsePositive))
    .addOption(new Option('--policy <what>', 'when the guest changes more than can be sent').choices(['throttle', 'give-up', 'stop']))
    .option('-v, --verbose', 'tell of each round, on stderr')
    .addHelpText('after', `
Examples:
  ${TOKEN_VARIABLE}=secret v86-virtiofs serve --incoming 7000 -- ps          # in one terminal
  ${TOKEN_VARIABLE}=secret v86-virtiofs migrate base --to localhost:7000 -- sh -c 'make &'   # in another
When it can't be moved the guest goes on here, and this exits with ${OWN_FAILURE} when the command has ended.`)
    .action(migrate);
  program
    .command('serve')
    .summary('take over a running guest from another process')
    .description('Waits for a `migrate`, takes its guest over, runs a command in it and exits with its code; without one, the guest runs until Ctrl-C.')
    .argument('[command...]', 'command to run in it then; put -- before it')
    .requiredOption('--incoming <port>', `TCP port to wait on, 0 for any, or ${STDIO}`)
    .addOption(new Option('--host <address>', 'address to wait on').default('localhost'))
    .addOption(token())
    .option('-v, --verbose', 'tell what happens, on stderr')
    .action(serve);
}

async function migrate(snapshot: string, argv: string[], { to, store: directory, token, bandwidth, policy, verbose }: MigrateFlags): Promise<void> {
  const secret = token ?? process.env[TOKEN_VARIABLE];
  if (!secret) throw new VmError('configuration', `give the token that \`serve\` has, by --token or in ${TOKEN_VARIABLE}`);
  const channel = to === STDIO ? duplexChannel(process.stdin, process.stdout) : await dial(to);
  let vm: Vm | undefined;
  try {
    const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
    vm = await Vm.thaw(store, store.find(snapshot));
    const started = argv.length ? await start(vm, argv, to) : undefined;
    const report = progressReporter(verbose);
    const failure = await vm.migrate(channel, {
      token: secret,
      bandwidth: bandwidth && bandwidth * 1e6,
      policy,
      onProgress: ({ round, pages, bytes: sent }) => report(`round ${round}: ${pages} pages, ${(sent / 1e6).toFixed(1)} MB sent`),
    }).then(({ rounds, bytes, downtime }) => {
      report('');
      say(`moved: ${rounds} rounds, ${(bytes / 1e6).toFixed(1)} MB, the guest stood still for ${downtime.toFixed(0)} ms`);
    }, (error: Error) => error);
    if (!failure) return;
    const fate = failure instanceof MigrationUnknownError ? await settle(failure, to, secret) : 'runs here';
    if (fate === 'runs there') return say('moved: the link broke in the switch, but the guest runs there');
    if (!fate) {
      const { id } = await vm.freeze(store);
      throw new VmError('snapshot', `${failure.message}; it is kept as ${id.slice(0, 12)}, to be restored only when it does not run there`);
    }
    if (!started) throw failure;
    say(`not moved: ${failure.message}; the command goes on here`);
    await started.exited;
    process.exitCode = OWN_FAILURE;
  } finally {
    channel.close();
    await vm?.stop();
  }
}

/** Starts the command. What it says while the guest is here goes to stdout, which may be the link. */
async function start(vm: Vm, argv: string[], to: string): Promise<GuestProcess> {
  const started = vm.spawn(argv, { cwd: vm.shares[0]?.mountPoint });
  started.exited.catch(() => {});
  started.onStdout = (bytes) => (to === STDIO ? process.stderr : process.stdout).write(bytes);
  started.onStderr = (bytes) => process.stderr.write(bytes);
  await vm.exec(['true']);
  return started;
}

/** Asks the other side what has become of the machine; undefined when it can't be asked. */
async function settle(unknown: MigrationUnknownError, to: string, token: string): Promise<'runs there' | 'runs here' | undefined> {
  if (to === STDIO) return undefined;
  for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
    try {
      return await settleMigration(unknown, await dial(to), token);
    } catch {
      await new Promise((resolve) => setTimeout(resolve, SETTLE_INTERVAL));
    }
  }
  return undefined;
}

async function serve(argv: string[], { incoming, host, token, verbose }: ServeFlags): Promise<void> {
  const secret = token ?? process.env[TOKEN_VARIABLE] ?? randomBytes(9).toString('base64url');
  const target = new MigrationTarget<MigratedVm>({ ...Vm.takeOver(secret).options, maxMachines: 1 });
  let server: Server | undefined;
  let vm: Vm | undefined;
  const sockets = new Set<Socket>();
  try {
    if (incoming === STDIO) {
      vm = (await target.serve(duplexChannel(process.stdin, process.stdout)))?.vm;
    } else {
      // Each connection by itself: one that says nothing is in nobody's way.
      vm = await new Promise<Vm>((resolve, reject) => {
        server = createServer((socket) => {
          sockets.add(socket);
          socket.once('close', () => sockets.delete(socket));
          target.serve(duplexChannel(socket, socket)).then(
            (successor) => successor && resolve(successor.vm),
            (error: Error) => say(`not taken over: ${error.message}`),
          );
        });
        server.once('error', reject).listen(parsePort(incoming), host, () => {
          const { port } = server!.address() as AddressInfo;
          say(`waiting on ${host}:${port}${token || process.env[TOKEN_VARIABLE] ? '' : `, token ${secret}`}`);
        });
      });
    }
    if (!vm) return;
    const interrupted = argv.length ? undefined : new Promise<void>((resolve) => process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve()));
    if (verbose || !argv.length) say(`taken over: it runs here now${argv.length ? '' : '; Ctrl-C ends it'}`);
    if (argv.length) process.exitCode = await runIn(vm, argv);
    await interrupted;
  } finally {
    server?.close();
    for (const socket of sockets) socket.destroy();
    await vm?.stop();
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** @throws VmError `configuration` for what is no address, or where nobody listens. */
async function dial(address: string): Promise<MigrationChannel> {
  const at = address.lastIndexOf(':');
  if (at < 1) throw new VmError('configuration', `${address} is no address: give HOST:PORT, or ${STDIO}`);
  const socket = connect(parsePort(address.slice(at + 1)), address.slice(0, at));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) => reject(new VmError('configuration', `nobody answers at ${address}: ${error.message}; start \`v86-virtiofs serve --incoming PORT\` there`)));
  });
  return duplexChannel(socket, socket);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new VmError('configuration', `${text} is no TCP port: give 0 to 65535`);
  return port;
}

function parsePositive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError('Give a number above 0.');
  return value;
}
