import { readFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import {
  type Contents,
  diff,
  inspect,
  type LockContents,
  loadCodec,
  SnapshotError,
  SnapshotStore,
} from '../../../device/index.ts';
import { formatBytes } from '../../../device/trees/report.ts';
import { VmError } from '../../machine/errors.ts';
import { printable, printableJson, printableLines } from '../../machine/printable.ts';
import { DirectoryStore } from '../stores/directory-store.ts';
import { PRIVATE, writeFileWhole } from '../stores/whole-file.ts';
import { compileV86 } from '../v86.ts';
import { Vm } from '../vm.ts';
import { addExecOptions, type ExecFlags, execution, TIMED_OUT } from './exec-options.ts';
import { checkRestoredTargets, checkTargets, type KeepFlags, keepingShares } from './keep.ts';
import {
  addGuestOptions,
  addMachineOptions,
  addRenewalOptions,
  EXIT_CODES,
  type MachineFlags,
  type RenewalFlags,
  storeOption,
  thawOptions,
} from './options.ts';
import { bootWithShares, runIn } from './run.ts';
import { shellIn } from './shell.ts';

interface StoreFlags {
  store: string;
  json?: boolean;
}

/** `freeze`, `restore`, and all that can be done with what they leave in a store. */
export function addSnapshotCommands(program: Command): void {
  const command = (name: string, summary: string, description = `${summary[0]!.toUpperCase()}${summary.slice(1)}.`) =>
    program.command(name).summary(summary).description(description).addOption(storeOption());
  const json = (made: Command) => made.option('--json', 'as JSON');

  addMachineOptions(
    command(
      'freeze',
      'start a guest, run a command in it, and freeze it',
      'Starts a guest, runs a command in it, and freezes it into the store, with all that still runs and is open.',
    ),
  )
    .option('-n, --name <name>', 'name of the snapshot')
    .argument('[command...]', 'command and arguments; put -- before them')
    .addHelpText('after', '\nExample:\n  v86-virtiofs freeze --name ready --share . -- sh -c "tail -f log &"')
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

  addExecOptions(
    addRenewalOptions(
      command(
        'fork',
        'let several copies of a frozen guest run side by side',
        "Lets several copies of a frozen guest run a command side by side, each with files of its own. FORK in the command's environment is the number of the copy.",
      ),
    ),
  )
    .argument('<snapshot>', 'name, id, or beginning of an id')
    .argument('<command...>', 'command and arguments; put -- before them')
    .addOption(new Option('-c, --copies <n>', 'how many').default(2).argParser(parseCount))
    .action(fork);

  json(command('list', 'list the snapshots of a store')).action(list);
  json(
    command(
      'inspect',
      'show what is in a snapshot',
      'Shows what is in a snapshot: its machine, memory, files, what is open, and locks.',
    ),
  )
    .argument('<snapshot>')
    .option('-f, --files', 'every file too')
    .action(inspectCommand);
  json(command('diff', 'show the differences between two snapshots'))
    .argument('<from>')
    .argument('<to>')
    .action(diffCommand);
  command('export', 'write a snapshot to one file that stands alone')
    .argument('<snapshot>')
    .argument('<file>')
    .action(exportCommand);
  command('import', 'take a file of `export` into a store').argument('<file>').action(importCommand);
  json(command('verify', 'check every part of one snapshot, or of all'))
    .argument('[snapshot]', 'name, id, or beginning of an id (default: all)')
    .action(verify);
  command('rename', 'give a snapshot another name')
    .argument('<snapshot>', 'name, id, or beginning of an id')
    .argument('<name>')
    .action(rename);
  command('remove', 'remove snapshots; what others need stays').argument('<snapshot...>').action(remove);
  json(command('gc', 'remove what no snapshot needs, and what killed processes have left')).action(gc);
}

/** Milliseconds: a day. */
const LONG = 24 * 60 * 60 * 1000;

function parseCount(value: string): number {
  const count = Number(value);
  if (!Number.isInteger(count) || count < 1 || count > 100)
    throw new InvalidArgumentError('Give a number from 1 to 100.');
  return count;
}

function open({ store }: StoreFlags): Promise<SnapshotStore> {
  return SnapshotStore.open(new DirectoryStore(store), loadCodec());
}

async function freeze(argv: string[], flags: MachineFlags & StoreFlags & { name?: string }): Promise<void> {
  const store = await open(flags);
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
  const store = await open(flags);
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

async function fork(
  snapshot: string,
  argv: string[],
  flags: StoreFlags & RenewalFlags & ExecFlags & { copies: number },
): Promise<void> {
  const store = await open(flags);
  const id = store.find(snapshot);
  const codes = await Promise.all(
    Array.from({ length: flags.copies }, async (_, n) => {
      const vm = await Vm.thaw(store, id, thawOptions(flags));
      try {
        const { argv: words, options } = execution(vm, argv, flags);
        const { stdout, stderr, code } = await vm.exec(words, {
          ...options,
          env: { ...flags.env, FORK: `${n + 1}` },
          timeoutMs: flags.timeout === undefined ? LONG : flags.timeout * 1000,
        });
        // On a terminal, one guest's output must not move what the others have written.
        const prefixed = (text: string) =>
          (process.stdout.isTTY ? printableLines(text) : text).replace(/^(?=[\s\S])/gm, `${n + 1} | `);
        process.stdout.write(prefixed(stdout));
        process.stderr.write(prefixed(stderr));
        return code;
      } catch (error) {
        if (!(error instanceof VmError && error.kind === 'timeout')) throw error;
        process.stderr.write(`${n + 1} | it took longer than ${flags.timeout} s\n`);
        return TIMED_OUT;
      } finally {
        await vm.stop();
      }
    }),
  );
  process.exitCode = Math.max(...codes);
}

async function list(flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  const snapshots = store.list();
  const damaged = store.damaged();
  if (flags.json)
    return tellJson([...snapshots, ...damaged.map(({ id, file, reason }) => ({ id, file, damage: reason }))]);
  if (!snapshots.length && !damaged.length)
    process.stderr.write(`no snapshots in ${flags.store}: make one with \`freeze\`\n`);
  for (const { id, name, created, addedBytes, ramBytes, parent, damage } of snapshots) {
    tell(
      [
        id.slice(0, 12),
        name.padEnd(20),
        created,
        formatBytes(ramBytes).padStart(10),
        `+${formatBytes(addedBytes)}`.padStart(11),
        parent && `after ${parent.slice(0, 12)}`,
      ]
        .join('  ')
        .trimEnd(),
    );
    if (damage) tell(`  damaged: ${damage}`);
  }
  for (const { id, reason } of damaged) tell(`${id.slice(0, 12)}  damaged: ${reason}`);
}

async function inspectCommand(snapshot: string, flags: StoreFlags & { files?: boolean }): Promise<void> {
  const store = await open(flags);
  const contents = await inspect(store, store.find(snapshot));
  if (flags.json)
    return tellJson({
      ...contents,
      filesystems: contents.filesystems.map((filesystem) => ({
        ...filesystem,
        files: Object.fromEntries(filesystem.files),
      })),
    });
  tellContents(contents, flags.files);
}

function tellContents(
  { id, name, created, parent, machine, ramBytes, addedBytes, devices, filesystems }: Contents,
  everyFile = false,
): void {
  tell(`${name || '(no name)'}  ${id}`);
  tell(
    `taken ${created}${parent ? `, after ${parent.slice(0, 12)}` : ''}; ${formatBytes(addedBytes)} added to the store`,
  );
  tell(
    `machine: ${Object.entries(machine)
      .map(([key, value]) => `${key} ${key === 'image' ? String(value).slice(0, 12) : value}`)
      .join(', ')}`,
  );
  tell(`memory: ${formatBytes(ramBytes)} in use`);
  for (const { tag, slot, filesystem, negotiated, nodes, handles, waiting } of devices) {
    console.log();
    tell(
      `share ${JSON.stringify(tag)}, PCI slot ${slot}, filesystem ${filesystem + 1}: ${negotiated ? `mounted, FUSE ${negotiated.major}.${negotiated.minor}` : 'not mounted'}, ${nodes} nodes known to the guest${waiting ? `, ${waiting} requests waiting for locks` : ''}`,
    );
    for (const { fh, kind, ino, path } of handles) tell(`  open ${kind} ${path}  (handle ${fh}, inode ${ino})`);
  }
  filesystems.forEach(({ isElsewhere, files, bytes, locks, waiters }, n) => {
    console.log();
    tell(`filesystem ${n + 1}: ${isElsewhere ? 'is kept elsewhere' : `${files.size} entries, ${formatBytes(bytes)}`}`);
    if (everyFile)
      for (const [path, { mode, size }] of files)
        tell(`  ${mode.toString(8).padStart(6, '0')} ${String(size).padStart(12)} ${path}`);
    for (const lock of locks) tell(`  ${describe(lock)}`);
    for (const lock of waiters) tell(`  waiting for: ${describe(lock)}`);
  });
}

function describe({ space, path, pid, type, start, end }: LockContents): string {
  return `${space} ${type ? 'write' : 'read'} lock on ${path}, bytes ${start} to ${end}, of process ${pid}`;
}

async function diffCommand(from: string, to: string, flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  const difference = await diff(store, store.find(from), store.find(to));
  if (flags.json) return tellJson(difference);
  console.log(
    `${difference.pages} of ${difference.pageCount} pages of memory (${formatBytes(difference.pages * 4096)})`,
  );
  for (const { added, removed, changed } of difference.filesystems) {
    for (const [mark, paths] of [
      ['+', added],
      ['-', removed],
      ['~', changed],
    ] as const)
      for (const path of paths) tell(`${mark} ${path}`);
  }
}

async function exportCommand(snapshot: string, file: string, flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  await writeFileWhole(file, await store.export(store.find(snapshot)), PRIVATE);
}

async function importCommand(file: string, flags: StoreFlags): Promise<void> {
  const bytes = await readFile(file).catch((error: Error) => {
    throw new VmError('snapshot', `can't read ${file}: ${error.message}`, { cause: error });
  });
  const store = await open(flags);
  const { id, name } = store.info(await store.import(bytes));
  process.stderr.write(`${printable(`${basename(file)} is ${name || id.slice(0, 12)} now`)}\n`);
}

async function verify(snapshot: string | undefined, flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  const ids = snapshot === undefined ? store.list().map(({ id }) => id) : [store.find(snapshot)];
  const problems = snapshot === undefined ? store.damaged().map(({ reason }) => reason) : [];
  const { default: ora } = await import('ora');
  const spinner = ora().start();
  const sound: string[] = [];
  try {
    for (const [n, id] of ids.entries()) {
      try {
        await store.verify(id, (fraction) => {
          spinner.text = `${n + 1} of ${ids.length}: ${Math.round(100 * fraction)} %`;
        });
        sound.push(id);
      } catch (error) {
        if (!(error instanceof SnapshotError)) throw error;
        problems.push(`${id.slice(0, 12)}: ${error.message}`);
      }
    }
  } finally {
    spinner.stop();
  }
  if (flags.json) tellJson({ sound, problems });
  else process.stderr.write(`${sound.length} ${sound.length === 1 ? 'snapshot is' : 'snapshots are'} intact\n`);
  if (problems.length) throw new VmError('snapshot', problems.join('\n'));
}

async function rename(snapshot: string, name: string, flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  await store.rename(store.find(snapshot), name);
}

async function remove(snapshots: string[], flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  for (const id of snapshots.map((snapshot) => store.find(snapshot))) await store.remove(id);
}

async function gc(flags: StoreFlags): Promise<void> {
  const store = await open(flags);
  const freed = (await store.gc()) + (await new DirectoryStore(flags.store).removeLeftovers());
  if (flags.json)
    return tellJson({
      freedBytes: freed,
      keptFor: store
        .damaged()
        .filter(({ mayNeed }) => mayNeed)
        .map(({ id, file, reason }) => ({ id, file, damage: reason })),
    });
  process.stderr.write(`${formatBytes(freed)} freed\n`);
  for (const { reason, mayNeed } of store.damaged())
    if (mayNeed)
      process.stderr.write(`nothing that this snapshot may need was removed: ${printable(reason)}; or remove it\n`);
}

/** A line. What a snapshot says may be anybody's words: it must not steer the terminal. */
function tell(line: string): void {
  console.log(printable(line));
}

function tellJson(value: unknown): void {
  console.log(
    printableJson(JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? Number(each) : each), 2)),
  );
}
