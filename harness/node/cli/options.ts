import { type Command, InvalidArgumentError, Option } from 'commander';
import { snapshotDirectory } from '../../../guest-images/paths.ts';
import { CommandError, type GuestEnd, VmError } from '../../machine/errors.ts';
import { printable, printableConsole } from '../../machine/printable.ts';
import { isNamed } from '../image.ts';
import { DEFAULT_MEMORY, type NamedDriver, type ShareOptions, type VmOptions } from '../vm-options.ts';
import type { ThreadVmOptions } from '../workers/messages.ts';
import { addExecOptions, type ExecFlags, parseSeconds } from './exec-options.ts';
import type { ResultFlags } from './results.ts';

/** Exit code when v86-virtiofs itself failed, out of the way of a guest command's. */
export const OWN_FAILURE = 125;
/** Exit codes when the guest has ended by itself, out of the way too. */
const GUEST_ENDS: Record<GuestEnd, number> = { crashed: 121, halted: 122, rebooted: 123 };

/** Exit code when a guest may run on another side, and can't go on here before that is settled. */
export const UNSETTLED = 120;

/** What `error` makes of the exit code. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommandError) return error.code;
  if (!(error instanceof VmError)) return OWN_FAILURE;
  return error.kind === 'unsettled' ? UNSETTLED : (GUEST_ENDS[error.kind as GuestEnd] ?? OWN_FAILURE);
}

/** How commands tell of exit codes in their help. */
export const EXIT_CODES = `Exit codes: the command's own; ${GUEST_ENDS.crashed} when the guest has crashed, ${GUEST_ENDS.halted} when it has halted, ${GUEST_ENDS.rebooted} when it has rebooted; ${OWN_FAILURE} when v86-virtiofs itself failed; 124 when --timeout ended the command; 126 when it can't be run, 127 when there is none of its name; 128 and the signal's number when a signal ended it.`;

/** What a guest boots from; one that goes on needs the same, to boot when it reboots. */
interface ImageFlags {
  kernel?: string;
  initrd?: string;
  modules?: string;
  bios?: string;
}

/** Of the commands that go on from a snapshot. */
export interface RenewalFlags extends ImageFlags {
  keepClock?: boolean;
  reseed: boolean;
  /** Directories that live shares are of. */
  live?: string[];
  /** Images that shares and roots are on. */
  image?: string[];
  /** Seconds. */
  imagePatience?: number;
}

export function addRenewalOptions(command: Command): Command {
  return addImageOptions(command)
    .option('--keep-clock', "keep the guest's clock as it was frozen, instead of setting it to the current time")
    .option('--no-reseed', 'let the guest draw the same random numbers as others from this snapshot')
    .addOption(
      new Option(
        '--live <dir>',
        'directory that a share was live of when the guest was frozen: it has to be the same one (again for more)',
      ).argParser(collect),
    )
    .addOption(imageOption())
    .addOption(patienceOption());
}

function patienceOption(): Option {
  return new Option(
    '--image-patience <seconds>',
    'how long the guest waits for content of an image while nothing comes; then it gets an I/O error (default: 60)',
  ).argParser(parseSeconds);
}

export function imageOption(): Option {
  return new Option(
    '--image <image>',
    'image that a share or the root of the frozen guest is on: a file, or a URL (again for more)',
  ).argParser(collect);
}

export function thawOptions({
  keepClock,
  reseed,
  live,
  image,
  imagePatience,
  kernel,
  initrd,
  modules,
  bios,
}: RenewalFlags): ThreadVmOptions & Pick<VmOptions, 'onImageTrouble'> {
  return {
    clock: keepClock ? 'keep' : 'host',
    reseed,
    live,
    images: image,
    ...imageUse(imagePatience),
    kernel,
    initrd,
    modules,
    bios,
  };
}

function imageUse(seconds: number | undefined): Pick<VmOptions, 'imagePatience' | 'onImageTrouble'> {
  let last = '';
  return {
    imagePatience: seconds && seconds * 1000,
    onImageTrouble(message) {
      if (message && message !== last) process.stderr.write(`v86-virtiofs: ${printable(message)}\n`);
      last = message;
    },
  };
}

export function storeOption(): Option {
  return new Option('--store <place>', 'where snapshots are: a directory, or s3://BUCKET/PREFIX').default(
    snapshotDirectory(),
  );
}

/** What `run` and `shell` have in common, as commander gives it. */
export interface MachineFlags extends ExecFlags, ResultFlags {
  /** Of `run`. */
  record?: string;
  share?: string[];
  live?: boolean;
  tag?: string[];
  /** Bytes. */
  size?: number;
  xattr: boolean;
  root?: string;
  init?: string;
  memory: number;
  kernel?: string;
  initrd?: string;
  modules?: string;
  bios?: string;
  cmdline?: string;
  boot?: 'direct' | 'bios';
  driver?: NamedDriver;
  cache: boolean;
  writeBack?: boolean;
  owners?: boolean;
  save?: string;
  /** Seconds. */
  imagePatience?: number;
  verbose?: boolean;
}

/** Of commands that run something in a guest whose shares came from a snapshot. */
export function addGuestOptions(command: Command): Command {
  return addExecOptions(command)
    .optionsGroup('Shares:')
    .addOption(
      new Option(
        '--write-back <dir>',
        'when the command is done, carry changes back to this host directory, which a share was loaded from before the snapshot (again for more)',
      ).argParser(collect),
    )
    .option('--owners', OWNERS)
    .option('--save <file>', SAVE);
}

const OWNERS = 'with --write-back, also carry owners, set-user-ID, set-group-ID and sticky bits back';
export const LIVE =
  'share these directories themselves, and not copies: guest and host see and change the same files at once';
export const SET_IDS = 'let the guest give files set-user-ID and set-group-ID bits';
const SAVE = 'when the command is done, write the (first) share to a .tar, .tar.gz, .tgz or .json file';

export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

const MIN_MEMORY = 64;
const MAX_MEMORY = 2048;

export function addMachineOptions(command: Command): Command {
  const shares = addExecOptions(command)
    .optionsGroup('Shares:')
    .option(
      '-s, --share <source>',
      'share a copy of a host directory, or of what is in a .tar, .tar.gz, .tgz or .json file, or an image, as image:FILE or image:URL (again for more); without it, an empty share',
      collect,
    )
    .option('--live', LIVE);
  const root = addShareForm(shares)
    .option(
      '--write-back',
      'when the command is done, and whatever its exit code, carry changes back to where the shares came from',
    )
    .option('--owners', `${OWNERS}; with --live, ${SET_IDS}`)
    .option('--save <file>', SAVE)
    .addOption(patienceOption())
    .optionsGroup('Machine:')
    .option(
      '--root <source>',
      'boot from a copy of a host directory, or of what is in a .tar, .tar.gz or .tgz file, or an image, as image:FILE or image:URL, as root filesystem: a Debian, say',
    )
    .option(
      '--init <command>',
      'with --root, what becomes process 1 there, /sbin/init say (default: a small one of our own)',
    );
  return addBootOptions(root)
    .option('--no-cache', 'boot again, even when a booted machine is in the cache')
    .option('-v, --verbose', "show the guest's console and progress on stderr");
}

/** What a share is, whatever is in it. */
export function addShareForm(command: Command): Command {
  return command
    .option(
      '-t, --tag <tag>',
      'tag of the share, for the n-th --share the n-th --tag (default: "share", "share2", …)',
      collect,
    )
    .addOption(
      new Option(
        '--size <size>',
        'size limit of each share, such as 512M or 4G; holes take no space (default: 2G)',
      ).argParser(parseSize),
    )
    .option(
      '--no-xattr',
      'shares without extended attributes: the guest asks no new file for them, which saves a request each',
    );
}

/** What a guest boots from, and on. */
export function addBootOptions(command: Command): Command {
  return addImageOptions(command.addOption(memoryOption()))
    .option('--append, --cmdline <words>', "extra words for the kernel's command line")
    .addOption(
      new Option(
        '--boot <method>',
        'load the kernel into RAM, or let a BIOS do it (default: direct where the kernel can be unpacked)',
      ).choices(['direct', 'bios']),
    )
    .addOption(
      new Option(
        '--driver <which>',
        "virtio-fs driver of the guest: the kernel's own, or a fast one, which can suspend too",
      ).choices(['stock', 'fast']),
    );
}

export function memoryOption(): Option {
  return new Option('-m, --memory <MiB>', `guest memory, ${MIN_MEMORY} to ${MAX_MEMORY}`)
    .default(DEFAULT_MEMORY)
    .argParser(parseMemory);
}

export function addImageOptions(command: Command): Command {
  return command
    .option('--kernel <which>', "stock (Debian's), minimal (Linux 6.12, small), or a kernel's file, bzImage or vmlinux")
    .option('--initrd <file>', 'initial RAM disk for such a kernel (default: a small one with BusyBox)')
    .option(
      '--modules <dir>',
      'modules for such a kernel, as `make modules_install INSTALL_MOD_PATH=DIR` puts them there; shared with the guest, for modprobe',
    )
    .option('--bios <file>', 'SeaBIOS image; implies --boot bios');
}

/** Throws {@link VmError} when the flags don't fit together. */
export function machineOptions(flags: MachineFlags): VmOptions {
  const {
    share = [],
    live,
    owners,
    tag = [],
    size,
    xattr,
    root,
    init,
    memory,
    kernel,
    initrd,
    modules,
    bios,
    cmdline,
    boot,
    driver,
    cache,
    save,
    verbose,
  } = flags;
  if (init !== undefined && root === undefined)
    throw new VmError('configuration', '--init says what runs first in a root: give --root too');
  // A kernel of the caller's may have no virtio-fs, and needs none as long as nothing is shared.
  const needsNone = root !== undefined || (isOwn(kernel) && !tag.length && save === undefined);
  const count = Math.max(share.length, needsNone ? 0 : 1);
  if (tag.length > count) {
    throw new VmError(
      'configuration',
      `${tag.length} tags for ${count === 1 ? 'one share' : `${count} shares`}: give a --share for each --tag`,
    );
  }
  const shares = Array.from(
    { length: count },
    (_, index): ShareOptions => ({
      tag: tag[index] ?? (index === 0 ? 'share' : `share${index + 1}`),
      source: share[index],
      size,
      xattr,
      ...(live && { live, setIds: owners }),
    }),
  );
  return {
    shares,
    root: root === undefined ? undefined : { source: root, size, xattr, init },
    memory,
    kernel,
    initrd,
    modules,
    bios,
    cmdline,
    bootMethod: boot,
    driver,
    cache,
    ...imageUse(flags.imagePatience),
    onConsole: verbose ? (line) => process.stderr.write(`guest | ${printableConsole(line)}\n`) : undefined,
    onProgress: progressReporter(verbose),
  };
}

function isOwn(kernel: string | undefined): boolean {
  return kernel !== undefined && !isNamed(kernel);
}

/** Bytes, with a binary unit. */
function parseSize(value: string): number {
  const [, digits, unit] = /^(\d{1,9})([KMGT])$/i.exec(value) ?? [];
  if (digits === undefined)
    throw new InvalidArgumentError('Give a whole number and a unit, K, M, G or T, such as 512M.');
  return Number(digits) * 1024 ** ('KMGT'.indexOf(unit!.toUpperCase()) + 1);
}

function parseMemory(value: string): number {
  const memory = Number(value);
  if (!Number.isInteger(memory) || memory < MIN_MEMORY || memory > MAX_MEMORY) {
    throw new InvalidArgumentError(`Give a whole number of MiB from ${MIN_MEMORY} to ${MAX_MEMORY}.`);
  }
  return memory;
}

/** What takes long, and is worth a line where nobody sees a status line. */
const LONG_STEP = /^(?!loading|saving|writing back|round)[^:\d]+/;

/** A status line on a terminal, plain lines with `--verbose`. Otherwise one line for each long step, of a first run say: stderr belongs to the guest's command. */
export function progressReporter(verbose = false): (message: string) => void {
  const { stderr } = process;
  if (verbose) return (message) => stderr.write(`${printable(message)}\n`);
  if (stderr.isTTY) return (message) => stderr.write(`\r\x1b[K${message ? dim(printable(message)) : ''}`);
  let last = '';
  return (message) => {
    const step = LONG_STEP.exec(message)?.[0].trim();
    if (step === undefined || step === last) return;
    last = step;
    stderr.write(`${printable(step)}\n`);
  };
}

/** On stderr, if that is a terminal and nobody minds (no-color.org). */
export function dim(text: string): string {
  return process.stderr.isTTY && !process.env['NO_COLOR'] ? `\x1b[2m${text}\x1b[22m` : text;
}
