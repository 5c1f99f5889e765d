import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { buildImage } from '../../../device/image/build.ts';
import { compareImages, type ListedFile, listImage } from '../../../device/image/list.ts';
import type { OpenImage } from '../../../device/image/open.ts';
import { verifyImage } from '../../../device/image/verify.ts';
import { formatBytes } from '../../../device/trees/report.ts';
import { makeDebianRoot } from '../../../guest-images/debian-root.ts';
import { VmError } from '../../machine/errors.ts';
import { printable } from '../../machine/printable.ts';
import { nodeFlate } from '../images/node-flate.ts';
import { openImageAt } from '../images/open.ts';
import { imageDirectory, imageStem } from '../images/write-image.ts';
import { loadSource } from '../shares/load-source.ts';
import { progressReporter } from './options.ts';
import { addProfileCommand } from './profile.ts';
import { addJsonOption, tellJson } from './store.ts';

const MIB = 1 << 20;
/** Exit code when something could not be taken into an image. */
const INCOMPLETE = 1;

interface JsonFlag {
  json?: boolean;
}

/** All that can be done with images, without a guest. */
export function addImageCommands(program: Command): void {
  const image = program
    .command('image')
    .summary('make and look at images: trees of files on any web server')
    .description('Makes and shows images: trees of files on any web server, in pieces that can be fetched one by one.')
    .addHelpText('after', example('build ./root public/debian.image', 'inspect public/debian.image'));
  const command = (name: string, summary: string) =>
    addJsonOption(
      image
        .command(name)
        .summary(summary)
        .description(`${summary[0]!.toUpperCase()}${summary.slice(1)}.`),
    );
  const which = ['<image>', 'a file, or a URL'] as const;

  command('build', 'make an image')
    .argument(
      '<source>',
      'a directory, a .tar, .tar.gz, .tgz or .json file, or a container image: an OCI layout, or what `docker save` writes',
    )
    .argument('[file]', 'the image, NAME.image; its content goes into .pack files beside it')
    .option(
      '--debian <packages>',
      'instead of a source, make a Debian root with these packages, such as python3,gcc,git,vim, and all that they depend on',
    )
    .option('-n, --name <name>', "what it is called (default: the file's name)")
    .addOption(
      new Option('--pack-size <MiB>', 'of each pack, at most; 1 to 32').default(16).argParser((value) => {
        const size = Number(value);
        if (Number.isInteger(size) && size >= 1 && size <= 32) return size;
        throw new InvalidArgumentError('Give a whole number of MiB from 1 to 32.');
      }),
    )
    .addHelpText(
      'after',
      `
The same files make the same image. Where the variable SOURCE_DATE_EPOCH is set, in seconds since 1970, what was changed later counts as changed then.

Examples:
  v86-virtiofs image build ./root public/debian.image
  v86-virtiofs image build --debian python3,gcc,libc6-dev,git,vim public/debian.image
  docker save -o debian.tar i386/debian && v86-virtiofs image build debian.tar debian.image
  SOURCE_DATE_EPOCH=1700000000 v86-virtiofs image build root.tar public/root.image`,
    )
    .action(build);
  addProfileCommand(command('profile', 'put what a command reads in front'));
  command('inspect', 'show what an image is')
    .argument(...which)
    .addHelpText('after', example('inspect debian.image', 'inspect https://example.org/debian.image'))
    .action(inspect);
  command('ls', 'list the files of an image')
    .argument(...which)
    .argument('[path]', 'a directory or file in it (default: all)')
    .addHelpText('after', example('ls debian.image etc'))
    .action(ls);
  command('verify', 'fetch and check all content of an image')
    .argument(...which)
    .addHelpText('after', example('verify https://example.org/debian.image'))
    .action(verify);
  command('diff', 'show the differences between two images')
    .argument('<from>', which[1])
    .argument('<to>', which[1])
    .addHelpText('after', example('diff before.image after.image'))
    .action(diff);
}

function example(...lines: string[]): string {
  return `\nExample${lines.length > 1 ? 's' : ''}:\n${lines.map((line) => `  v86-virtiofs image ${line}`).join('\n')}`;
}

async function build(
  first: string,
  second: string | undefined,
  { name, packSize, json, debian }: JsonFlag & { name?: string; packSize: number; debian?: string },
): Promise<void> {
  const file = debian === undefined ? second : first;
  if (file === undefined)
    throw new VmError('configuration', `${printable(first)} is to become an image: say which, NAME.image`);
  if (debian !== undefined && second !== undefined)
    throw new VmError('configuration', `--debian takes the place of ${printable(first)}: leave out one of them`);
  const stem = imageStem(file);
  const epoch = sourceDateEpoch();
  const report = progressReporter();
  const source = debian === undefined ? first : 'the Debian root';
  const load = (path: string) =>
    loadSource(path, epoch, (files, bytes) => report(`loading ${source}: ${files} files, ${formatBytes(bytes)}`));
  const { filesystem, report: taken } = await (debian === undefined
    ? load(first)
    : fromDebian(debian.split(','), report, load));
  for (const { path, reason } of taken.skipped)
    process.stderr.write(`${printable(`not taken from ${source}: ${path}: ${reason}`)}\n`);
  const built = await buildImage(filesystem, imageDirectory(dirname(file)), basename(file), {
    name: name ?? stem,
    epoch,
    packSize: packSize * MIB,
    flate: nodeFlate,
    onProgress: (count, bytes) =>
      report(`loading: ${count} files are packed, ${formatBytes(bytes)} of ${formatBytes(taken.bytes)}`),
  });
  report('');
  // What is said of the whole has no path.
  if (taken.skipped.some(({ path }) => path !== '')) process.exitCode = INCOMPLETE;
  if (json) return tellJson({ ...built, skipped: taken.skipped });
  console.log(
    printable(
      `${file}: ${built.inodes} entries, ${formatBytes(built.bytes)} in ${formatBytes(built.size)}, ${formatBytes(built.headSize)} of them are read first; id ${built.id.slice(0, 12)}`,
    ),
  );
  if (built.files.length > 1)
    console.log(
      printable(
        `publish it with ${built.files.length - 1} .pack files beside it: ${built.files
          .slice(1)
          .map((each) => `${each.slice(0, 12)}…`)
          .join(', ')}`,
      ),
    );
}

/** Does something with the archive of a Debian root, which goes away then. */
async function fromDebian<T>(
  packages: string[],
  report: (message: string) => void,
  action: (tar: string) => Promise<T>,
): Promise<T> {
  const work = await mkdtemp(join(tmpdir(), 'debian-'));
  try {
    const tar = join(work, 'root.tar');
    await makeDebianRoot(tar, {
      packages,
      onProgress: (message, done = 0) => report(message && `${message}: ${Math.round(100 * done)} %`),
    });
    return await action(tar);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @throws VmError `configuration` for what is no time. */
function sourceDateEpoch(): number | undefined {
  const value = process.env['SOURCE_DATE_EPOCH'];
  if (value === undefined || value === '') return undefined;
  if (!/^\d{1,11}$/.test(value))
    throw new VmError(
      'configuration',
      `SOURCE_DATE_EPOCH is ${printable(JSON.stringify(value))}: give seconds since 1970`,
    );
  return Number(value);
}

async function open(location: string): Promise<OpenImage> {
  const image = await openImageAt(location, { patience: 10_000 });
  return image;
}

async function inspect(location: string, { json }: JsonFlag): Promise<void> {
  const { info } = await open(location);
  if (json) return tellJson(info);
  const { id, name, created, inodes, bytes, packedBytes, chunks, packs, firstBytes } = info;
  console.log(printable(`${name || '(no name)'}  ${id}`));
  console.log(printable(`made ${created}; ${inodes} entries`));
  console.log(`content: ${formatBytes(bytes)} in ${formatBytes(packedBytes)}, ${chunks} chunks in ${packs} packs`);
  if (firstBytes) console.log(`in front: ${formatBytes(firstBytes)}, fetched with the list of files`);
}

async function ls(location: string, path: string | undefined, { json }: JsonFlag): Promise<void> {
  const { state } = await open(location);
  const files = [...listImage(state)];
  const wanted = path?.split('/').filter(Boolean).join('/') ?? '';
  const found = files.filter(([each]) => wanted === '' || each === wanted || each.startsWith(`${wanted}/`));
  if (!found.length) throw new VmError('share', `${printable(location)} has no ${printable(path!)}`);
  if (json)
    return tellJson(
      found.map(([each, { content: _, mode, ...file }]) => ({ path: `/${each}`, mode: mode.toString(8), ...file })),
    );
  const width = found.reduce((most, [, { size }]) => Math.max(most, String(size).length), 0);
  for (const [each, file] of found) console.log(printable(line(each, file, width)));
}

/** As `ls -l`. */
function line(path: string, { mode, uid, gid, size, mtime, target }: ListedFile, width: number): string {
  const time = new Date(mtime.sec * 1000).toISOString().slice(0, 19);
  return `${modeText(mode)} ${uid}:${gid} ${String(size).padStart(width)} ${time} /${path}${target === undefined ? '' : ` -> ${target}`}`;
}

const TYPES: Record<number, string> = { 0o04: 'd', 0o12: 'l', 0o10: '-', 0o02: 'c', 0o06: 'b', 0o01: 'p', 0o14: 's' };

function modeText(mode: number): string {
  const bits = 'rwxrwxrwx'.split('').map((letter, n) => (mode & (0o400 >> n) ? letter : '-'));
  for (const [bit, at, letter] of [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const)
    if (mode & bit) bits[at] = bits[at] === '-' ? letter.toUpperCase() : letter;
  return (TYPES[mode >>> 12] ?? '?') + bits.join('');
}

async function verify(location: string, { json }: JsonFlag): Promise<void> {
  const report = progressReporter();
  const image = await open(location);
  const check = await verifyImage(image, (fraction) => report(`loading: ${Math.round(100 * fraction)} %`));
  report('');
  if (json) tellJson({ id: image.info.id, ...check });
  else if (!check.damaged)
    process.stderr.write(check.chunks === 1 ? 'its one chunk is intact\n' : `all ${check.chunks} chunks are intact\n`);
  if (check.damaged)
    throw new VmError(
      'share',
      [`${check.damaged} of ${check.chunks} chunks are not what they should be:`, ...check.reasons].join('\n'),
    );
}

async function diff(from: string, to: string, { json }: JsonFlag): Promise<void> {
  const [before, after] = [await open(from), await open(to)];
  const difference = compareImages(before.state, after.state);
  if (json) return tellJson(difference);
  for (const path of difference.added) console.log(printable(`+ /${path}`));
  for (const path of difference.removed) console.log(printable(`- /${path}`));
  for (const { path, what } of difference.changed) console.log(printable(`~ /${path}  (${what.join(', ')})`));
}
