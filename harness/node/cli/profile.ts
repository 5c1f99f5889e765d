import { basename, dirname } from 'node:path';
import { type Command, Option } from 'commander';
import type { OpenImage } from '../../../device/image/open.ts';
import { ReadRecorder, repackImage } from '../../../device/image/profile.ts';
import { MemoryFileSystem } from '../../../device/index.ts';
import { formatBytes } from '../../../device/trees/report.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { isUrl, openImageAt } from '../images/open.ts';
import { imageCache, imageLocation } from '../images/share-image.ts';
import { imageDirectory, imageStem } from '../images/write-image.ts';
import { Vm } from '../vm.ts';
import { addExecOptions, type ExecFlags } from './exec-options.ts';
import {
  addImageOptions,
  EXIT_CODES,
  type MachineFlags,
  machineOptions,
  memoryOption,
  progressReporter,
  storeOption,
} from './options.ts';
import { runIn } from './run.ts';
import { openStore, tellJson } from './store.ts';

interface ProfileFlags
  extends ExecFlags,
    Pick<MachineFlags, 'kernel' | 'initrd' | 'modules' | 'bios' | 'memory' | 'init' | 'verbose'> {
  at?: string;
  store: string;
  output?: string;
  json?: boolean;
}

/** `image profile`, whose `command` is there with its name. */
export function addProfileCommand(command: Command): void {
  addImageOptions(
    addExecOptions(
      command.description(
        'Boots a guest from the image, runs a command in it, and writes the image again, with what was read then in front: readers fetch that with the list of files, in one request.',
      ),
    )
      .optionsGroup('Profile:')
      .option(
        '--at <snapshot>',
        'do not boot: resume this frozen guest, whose root is on the image; for those who will do the same',
      )
      .addOption(storeOption())
      .option('-o, --output <file>', 'write the image there, beside its packs (default: in its place)')
      .optionsGroup('Machine:')
      .addOption(new Option('--init <command>', 'what becomes process 1 (default: a small init of our own)'))
      .addOption(memoryOption()),
  )
    .option('-v, --verbose', "show the guest's console and progress on stderr")
    .argument('<image>', 'a file, or a URL with --output')
    .argument('<command...>', 'command and arguments; put -- before them')
    .addHelpText(
      'after',
      `
Packs and id stay as they are, and snapshots too. What the profile before had in front is not kept. If the command fails, nothing is written.

Examples:
  v86-virtiofs image profile --kernel minimal debian.image -- sh -c 'python3 -c 1; gcc --version'
  v86-virtiofs image profile --at ready -o debian-ready.image debian.image -- bash -lc true

${EXIT_CODES}`,
    )
    .action(profile);
}

async function profile(given: string, argv: string[], flags: ProfileFlags): Promise<void> {
  const location = imageLocation(given) ?? given;
  const { output = location, json } = flags;
  if (isUrl(output))
    throw new VmError(
      'configuration',
      `can't write ${printable(output)}: give --output FILE, and publish that beside the packs of the image`,
    );
  imageStem(output);
  const report = progressReporter(flags.verbose);
  const image = await openImageAt(location, { cache: imageCache(), onTrouble: ({ error }) => report(error.message) });
  try {
    const recorder = new ReadRecorder(image.origin);
    const filesystem = new MemoryFileSystem({ origin: recorder });
    const code = await runOn(filesystem, image, argv, flags);
    if (code !== 0) {
      process.stderr.write(`v86-virtiofs: the command has failed, so ${printable(output)} stays as it is\n`);
      process.exitCode = code;
      return;
    }
    report('writing the image');
    const done = await repackImage(image, recorder.chunks, imageDirectory(dirname(output)), basename(output));
    report('');
    if (json) return tellJson({ id: image.info.id, file: output, ...done });
    process.stderr.write(
      `${printable(output)}: ${done.chunks} of ${image.info.chunks} chunks are in front, ${formatBytes(done.bytes)}${done.leftOut ? `; ${done.leftOut} more were read, for which there is no room` : ''}\n`,
    );
  } finally {
    image.origin.close();
  }
}

async function runOn(
  filesystem: MemoryFileSystem,
  { state }: OpenImage,
  argv: string[],
  flags: ProfileFlags,
): Promise<number> {
  const { root, ...machine } = machineOptions({ ...flags, root: '', xattr: true, cache: false });
  let vm: Vm;
  if (flags.at === undefined) {
    filesystem.restore(filesystem.checkState(state));
    vm = await Vm.boot({ ...machine, root: { filesystem, init: flags.init } });
  } else {
    const store = await openStore(flags);
    vm = await Vm.thaw(store, store.find(flags.at), { root: { filesystem } });
  }
  try {
    return await runIn(vm, argv, flags);
  } finally {
    await vm.stop();
  }
}
