import { createReadStream } from 'node:fs';
import { type Command, Option } from 'commander';
import {
  type FileSystem,
  MemoryFileSystem,
  RecordingError,
  type ReplayDifference,
  type ReplayReport,
  readRecording,
  replayRequests,
} from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { ImageLeases } from '../images/image-leases.ts';
import { withImage } from '../images/shared-images.ts';
import { openLive } from '../live/live-share.ts';
import { loadSource, tellingOf } from '../shares/load-source.ts';
import { progressReporter } from './options.ts';
import { put } from './output.ts';
import { addJsonOption, tellJson } from './store.ts';

/** Exit code when something is answered otherwise. */
const DIFFERENT = 1;
/** Differences that are printed as JSON. */
const MAX_TOLD = 10_000;

interface ReplayFlags {
  share?: string;
  live?: boolean;
  json?: boolean;
}

/** Adds `replay`. */
export function addReplayCommand(program: Command): void {
  addJsonOption(program.command('replay'))
    .summary('ask another filesystem what a guest has asked, and compare the answers')
    .description(
      'Asks a filesystem what `run --record` has recorded, without a guest, and prints each answer that differs. It should begin with the files that the recorded share began with.',
    )
    .argument('<recording>', 'file of `run --record`')
    .option(
      '-s, --share <source>',
      'what to ask: a copy of a host directory, or of what is in a .tar, .tar.gz, .tgz or .json file, or an image, as image:FILE or image:URL (default: an empty filesystem)',
    )
    .addOption(new Option('--live', 'ask this directory itself, which is changed as the guest has changed its share'))
    .addHelpText(
      'after',
      `
Times, inode numbers, free space, and sizes and link counts of directories may differ, and so may the order of names.

Examples:
  v86-virtiofs run --record requests -- sh -c 'mkdir a; echo x > a/b; ls -l a'
  v86-virtiofs replay requests
  v86-virtiofs replay requests --share ./empty --live

It exits with ${DIFFERENT} when something differs.`,
    )
    .action(replay);
}

async function replay(path: string, flags: ReplayFlags): Promise<void> {
  const images = new ImageLeases();
  const { filesystem, end } = await openFilesystem(flags, images);
  const told: ReplayDifference[] = [];
  const onDifference = (difference: ReplayDifference) => {
    if (!flags.json) tell(difference);
    else if (told.length < MAX_TOLD) told.push(difference);
  };
  let report: ReplayReport;
  try {
    report = await replayRequests(readRecording(createReadStream(path)), filesystem, { onDifference });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!(error instanceof RecordingError) && code === undefined) throw error;
    throw new VmError('share', `can't replay ${printable(path)}: ${message}`, { cause: error });
  } finally {
    end();
  }
  const { requests, skipped, differences } = report;
  if (flags.json) tellJson({ requests, skipped, differences: told });
  else
    put(
      'stderr',
      `${requests} requests were asked again, ${differences} ${differences === 1 ? 'difference was' : 'differences were'} found${skipped ? `; ${skipped} more could not be asked, as they are about what was not there` : ''}\n`,
    );
  if (differences > 0 || skipped > 0) process.exitCode = DIFFERENT;
}

async function openFilesystem(
  { share: source, live }: ReplayFlags,
  images: ImageLeases,
): Promise<{ filesystem: FileSystem; end: () => void }> {
  if (live) {
    if (source === undefined)
      throw new VmError('configuration', '--live says that a directory itself is asked: name it with --share');
    const filesystem = openLive(source);
    return { filesystem, end: () => filesystem.end() };
  }
  if (source === undefined) return { filesystem: new MemoryFileSystem(), end: () => {} };
  const onProgress = progressReporter();
  const { filesystem } = await withImage({ tag: 'share', source }, images, { onProgress });
  const epoch = Math.floor(Date.now() / 1000);
  const loaded = filesystem ?? (await loadSource(source, epoch, tellingOf(source, onProgress))).filesystem;
  onProgress('');
  return { filesystem: loaded, end: () => images.release() };
}

/** What a recording says may be anybody's words. */
function tell({ number, opcode, path, what, recorded, replayed }: ReplayDifference): void {
  put('stdout', `${printable(`#${number} ${opcode} ${path}: ${what} was ${recorded}, and is ${replayed}`)}\n`);
}
