import { basename } from 'node:path';
import type { Command } from 'commander';
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
import { printable, printableJson } from '../../machine/printable.ts';
import { exportWithImages, treesOf } from '../images/shared-images.ts';
import { openFiles } from '../stores/open-files.ts';
import { PRIVATE, readRange, writeFileWhole } from '../stores/whole-file.ts';
import { imageOption, progressReporter, storeOption } from './options.ts';

/** How a store is found, and whether what a command has to tell is to be JSON, as commander gives it. */
export interface StoreFlags {
  store: string;
  json?: boolean;
}

/** A command that works on a store. */
export function addStoreCommand(
  program: Command,
  name: string,
  summary: string,
  description = `${summary[0]!.toUpperCase()}${summary.slice(1)}.`,
): Command {
  return program.command(name).summary(summary).description(description).addOption(storeOption());
}

/** What `--json` tells is described in docs/command-line.md. */
export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print JSON on stdout');
}

/** `isFresh`: what is there itself is read, and no copy of it in the cache. */
export function openStore({ store }: { store: string }, { isFresh = false } = {}): Promise<SnapshotStore> {
  return SnapshotStore.open(openFiles(store, { isFresh }), loadCodec());
}

/** Before anything runs. @throws VmError `configuration` when a snapshot other than `own` is called so. */
export function checkNewName(store: SnapshotStore, name: string | undefined, own?: string): void {
  const other = name && store.list().find((info) => info.name === name && info.id !== own);
  if (other)
    throw new VmError(
      'configuration',
      `there is a snapshot called ${printable(other.name)} (${other.id.slice(0, 12)}): choose another name, or rename or remove that one`,
    );
}

/** All that can be done with what `freeze` leaves in a store, without a guest. */
export function addStoreCommands(program: Command): void {
  const command = (name: string, summary: string, description?: string) =>
    addJsonOption(addStoreCommand(program, name, summary, description));
  const snapshot = ['<snapshot>', 'name, id, or beginning of an id'] as const;
  const example = (...lines: string[]) =>
    `\n${lines.length > 1 ? 'Examples' : 'Example'}:\n${lines.map((line) => `  v86-virtiofs ${line}`).join('\n')}`;

  command('list', 'list the snapshots of a store')
    .addHelpText('after', example('list', "list --json | jq -r '.[].name'"))
    .action(list);
  command(
    'inspect',
    'show what is in a snapshot',
    'Shows what is in a snapshot: its machine, memory, files, what is open, and locks.',
  )
    .argument(...snapshot)
    .option('-f, --files', 'every file too')
    .addOption(imageOption())
    .addHelpText(
      'after',
      example('inspect ready', 'inspect --files ready', 'inspect --files --image debian.image ready'),
    )
    .action(inspectCommand);
  command('diff', 'show the differences between two snapshots')
    .argument('<from>', snapshot[1])
    .argument('<to>', snapshot[1])
    .addOption(imageOption())
    .addHelpText('after', example('diff ready later'))
    .action(diffCommand);
  command('export', 'write a snapshot to one file that stands alone')
    .argument(...snapshot)
    .argument('<file>', 'where to; what is there is replaced')
    .option('-w, --whole', 'with all that the images have that it is on (give --image): it needs none of them then')
    .addOption(imageOption())
    .addHelpText('after', example('export ready ready.layer', 'export --whole --image debian.image ready ready.layer'))
    .action(exportCommand);
  command('import', 'take a file of `export` into a store')
    .argument('<file>', 'of `export`')
    .addHelpText('after', example('import ready.layer', 'import --store ./mine ready.layer'))
    .action(importCommand);
  command('verify', 'check every part of one snapshot, or of all')
    .argument('[snapshot]', 'name, id, or beginning of an id (default: all)')
    .addHelpText('after', example('verify', 'verify ready'))
    .action(verify);
  command('rename', 'give a snapshot another name')
    .argument(...snapshot)
    .argument('<name>', 'the other name')
    .addHelpText('after', example('rename ready before-the-update'))
    .action(rename);
  command('remove', 'remove snapshots; what others need stays')
    .argument('<snapshot...>', 'names, ids, or beginnings of ids')
    .addHelpText('after', example('remove ready later'))
    .action(remove);
  command('gc', 'remove what no snapshot needs, and what killed processes have left')
    .addHelpText('after', example('gc'))
    .action(gc);
}

async function list(flags: StoreFlags): Promise<void> {
  const store = await openStore(flags);
  const snapshots = store.list();
  const damaged = store.damaged();
  if (flags.json)
    return tellJson([
      ...snapshots.map(withoutOwn),
      ...damaged.map(({ id, file, reason }) => ({ id, file, damage: reason })),
    ]);
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

/** Leaves out where shares came from, which only `restore --write-back` needs, and output that nobody has read, which only the resumed machine needs. */
function withoutOwn<T extends { summary: unknown }>(told: T): T {
  const { shares: _, unheard: __, ...summary } = (told.summary ?? {}) as Record<string, unknown>;
  return { ...told, summary };
}

async function inspectCommand(
  snapshot: string,
  flags: StoreFlags & { image?: string[] } & { files?: boolean },
): Promise<void> {
  const store = await openStore(flags);
  const contents = await inspect(store, store.find(snapshot), await treesOf(flags.image));
  if (flags.json)
    return tellJson({
      ...withoutOwn(contents),
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
  filesystems.forEach(({ isElsewhere, isPartial, image, files, bytes, locks, waiters }, n) => {
    console.log();
    const on = image === undefined ? '' : `, on image ${image.slice(0, 12)}`;
    const what = isElsewhere
      ? 'is kept elsewhere'
      : isPartial
        ? `is what was changed of image ${image!.slice(0, 12)}: its files are told where that is given, with --image`
        : `${files.size} entries, ${formatBytes(bytes)}${on}`;
    tell(`filesystem ${n + 1}: ${what}`);
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

async function diffCommand(from: string, to: string, flags: StoreFlags & { image?: string[] }): Promise<void> {
  const store = await openStore(flags);
  const difference = await diff(store, store.find(from), store.find(to), await treesOf(flags.image));
  if (flags.json) return tellJson(difference);
  console.log(
    `${difference.pages} of ${difference.pageCount} pages of memory (${formatBytes(difference.pages * 4096)})`,
  );
  for (const [n, { added, removed, changed, needs }] of difference.filesystems.entries()) {
    if (needs !== undefined)
      tell(
        `filesystem ${n + 1} is on image ${needs.slice(0, 12)}: its files are compared where that is given, with --image`,
      );
    for (const [mark, paths] of [
      ['+', added],
      ['-', removed],
      ['~', changed],
    ] as const)
      for (const path of paths) tell(`${mark} ${path}`);
  }
}

async function exportCommand(
  snapshot: string,
  file: string,
  flags: StoreFlags & { image?: string[]; whole?: boolean },
): Promise<void> {
  const store = await openStore(flags);
  const id = store.find(snapshot);
  const { bases = [] } = store.frozen(id);
  if (!flags.whole && flags.image)
    throw new VmError(
      'configuration',
      'what images have is exported with --whole: give that too, or leave out --image',
    );
  const parts = await (flags.whole ? wholeParts(store, id, flags.image) : store.export(id));
  if (!flags.whole && bases.length)
    process.stderr.write(
      `whoever imports it needs the image ${bases.map((base) => base.slice(0, 12)).join(', ')} too: give --whole to have in it what that has\n`,
    );
  await writeFileWhole(file, parts, { mode: PRIVATE }).catch((error: Error) => {
    throw new VmError('snapshot', `can't write ${file}: ${error.message}`, { cause: error });
  });
  if (flags.json)
    tellJson({ id, name: store.info(id).name, file, bytes: parts.reduce((sum, { length }) => sum + length, 0) });
}

async function wholeParts(store: SnapshotStore, id: string, locations: string[] | undefined): Promise<Uint8Array[]> {
  const report = progressReporter();
  const parts = await exportWithImages(store, id, locations, report);
  report('');
  return parts;
}

async function importCommand(file: string, flags: StoreFlags): Promise<void> {
  const bytes = await readRange(file).catch((error: Error) => {
    throw new VmError('snapshot', `can't read ${file}: ${error.message}`, { cause: error });
  });
  const store = await openStore(flags);
  const { id, name } = store.info(await store.import(bytes));
  if (flags.json) return tellJson({ id, name, file });
  const isOnly = store.list().filter((info) => info.name === name).length === 1;
  const called = name && isOnly ? name : id.slice(0, 12);
  const clash =
    name && !isOnly ? `; another is called ${name}: \`v86-virtiofs rename ${called} NAME\` tells them apart` : '';
  process.stderr.write(`${printable(`${basename(file)} is ${called} now${clash}`)}\n`);
}

async function verify(snapshot: string | undefined, flags: StoreFlags): Promise<void> {
  const store = await openStore(flags, { isFresh: true });
  const ids = snapshot === undefined ? store.list().map(({ id }) => id) : [store.find(snapshot)];
  const problems = snapshot === undefined ? store.damaged().map(({ reason }) => reason) : [];
  const report = progressReporter();
  const sound: string[] = [];
  try {
    for (const [n, id] of ids.entries()) {
      try {
        await store.verify(id, (fraction) => report(`${n + 1} of ${ids.length}: ${Math.round(100 * fraction)} %`));
        sound.push(id);
      } catch (error) {
        if (!(error instanceof SnapshotError)) throw error;
        problems.push(`${id.slice(0, 12)}: ${error.message}`);
      }
    }
  } finally {
    report('');
  }
  if (flags.json) tellJson({ sound, problems });
  else process.stderr.write(`${sound.length} ${sound.length === 1 ? 'snapshot is' : 'snapshots are'} intact\n`);
  if (problems.length) throw new VmError('snapshot', problems.join('\n'));
}

async function rename(snapshot: string, name: string, flags: StoreFlags): Promise<void> {
  const store = await openStore(flags);
  const id = store.find(snapshot);
  checkNewName(store, name, id);
  await store.rename(id, name);
  if (flags.json) tellJson({ id, name });
}

async function remove(snapshots: string[], flags: StoreFlags): Promise<void> {
  const store = await openStore(flags);
  const removed: string[] = [];
  try {
    for (const id of new Set(snapshots.map((snapshot) => store.find(snapshot)))) {
      await store.remove(id);
      removed.push(id);
    }
  } finally {
    // What comes behind the one that could not be removed is there still.
    if (flags.json) tellJson({ removed });
  }
}

async function gc(flags: StoreFlags): Promise<void> {
  const store = await openStore(flags);
  const freed = (await store.gc()) + (await openFiles(flags.store).removeLeftovers());
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

export function tellJson(value: unknown): void {
  console.log(
    printableJson(JSON.stringify(value, (_, each: unknown) => (typeof each === 'bigint' ? Number(each) : each), 2)),
  );
}
