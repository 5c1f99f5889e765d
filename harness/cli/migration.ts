import { InvalidArgumentError, Option, type Command } from 'commander';
import { randomBytes } from 'node:crypto';
import { createServer, connect, type AddressInfo, type Server, type Socket } from 'node:net';
import { loadCodec, MigrationTarget, SnapshotStore } from '../../device/index.ts';
import { cacheDirectory } from '../boot-cache.ts';
import { DirectoryStore } from '../directory-store.ts';
import { VmError } from '../errors.ts';
import { duplexChannel } from '../migration/duplex-channel.ts';
import { Vm, type MigratedVm } from '../vm.ts';
import { progressReporter } from './options.ts';
import { runIn } from './run.ts';

/** In place of an address: this process's stdin and stdout. */
const STDIO = 'stdio';
const TOKEN_VARIABLE = 'V86_VIRTIOFS_TOKEN';

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
When the link breaks before the switch the guest goes on here, and this exits with 125 when its commands have been told.`)
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
  const channel = to === STDIO ? duplexChannel(process.stdin, process.stdout) : duplexChannel(...twice(await dial(to)));
  let vm: Vm | undefined;
  try {
    const store = await SnapshotStore.open(new DirectoryStore(directory), loadCodec());
    vm = await Vm.thaw(store, store.find(snapshot));
    if (argv.length) {
      const started = vm.spawn(argv, { cwd: vm.shares[0]?.mountPoint });
      started.exited.catch(() => {});
      await vm.exec(['true']);
    }
    const report = progressReporter(verbose);
    const { rounds, bytes, downtime } = await vm.migrate(channel, {
      token: secret,
      bandwidth: bandwidth && bandwidth * 1e6,
      policy,
      onProgress: ({ round, pages, bytes: sent }) => report(`round ${round}: ${pages} pages, ${(sent / 1e6).toFixed(1)} MB sent`),
    });
    report('');
    process.stderr.write(`moved: ${rounds} rounds, ${(bytes / 1e6).toFixed(1)} MB, the guest stood still for ${downtime.toFixed(0)} ms\n`);
  } finally {
    channel.close();
    await vm?.stop();
  }
}

async function serve(argv: string[], { incoming, host, token, verbose }: ServeFlags): Promise<void> {
  const secret = token ?? process.env[TOKEN_VARIABLE] ?? randomBytes(9).toString('base64url');
  const say = (text: string) => process.stderr.write(`${text}\n`);
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

function twice<T>(value: T): [T, T] {
  return [value, value];
}

/** @throws VmError `configuration` for what is no address, or where nobody listens. */
async function dial(address: string): Promise<Socket> {
  const at = address.lastIndexOf(':');
  if (at < 1) throw new VmError('configuration', `${address} is no address: give HOST:PORT, or ${STDIO}`);
  const socket = connect(parsePort(address.slice(at + 1)), address.slice(0, at));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) => reject(new VmError('configuration', `nobody answers at ${address}: ${error.message}; start \`v86-virtiofs serve --incoming PORT\` there`)));
  });
  return socket;
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
