import type { Scenario } from './scenarios/index.ts';

/** Of each feature the steps that need it; nothing where scenarios name it in their heading: `[needs: openUnlinked]`. */
const STEPS = {
  /** link: files with several names. */
  hardLinks: /^link(fd)? /,
  symlinks: /^symlink /,
  /** mknod of FIFOs, sockets and devices. */
  specialFiles: /^mknod \S+ (?!file)/,
  /** Permission bits are kept: chmod, set-id bits, set-gid directories. */
  modes: /^(f?chmod|umask) /,
  /** User and group are kept: chown. A new file is its caller's, and root's writes leave set-id bits. */
  owners: /^chown /,
  /** Times are kept, set by utimensat, and moved by whatever changes something. */
  times: /^(utimens|mark|changed) /,
  /** Times are exact to a nanosecond. Without it they need not be exact to more than a millisecond. */
  nanoseconds: undefined,
  /** Times before 1902 and after 2446, as in ext4. */
  farTimes: undefined,
  /** Reading moves the access time, as the mount option `relatime` does. */
  atime: undefined,
  /** A directory has 2 links, and one more for each directory in it. */
  directoryLinks: undefined,
  /** Names are any bytes but NUL and slash, and differ where one byte does: no folding of case, no normalization. */
  byteNames: undefined,
  /** Whatever is created or removed meanwhile, a listing resumes at a cookie with the entry after it. */
  directoryCookies: undefined,
  /** A file without a name stays while it is open: `retain` and `release`. */
  openUnlinked: undefined,
  /** Inodes are found by their number after the guest has forgotten them: `inode`, and `lookup` of "..". */
  fileHandles: /^(know|openknown) /,
  /** Sizes and offsets beyond 2 and 4 GiB, up to 1 TiB in files with holes. */
  largeFiles: /^(write|read|f?truncate) \S+ \d{10,}/,
  /** SEEK_DATA and SEEK_HOLE in units of 4 KiB, and `blocks` counts what is allocated of them. */
  holes: /^seek /,
  /** fallocate without flags. */
  fallocate: /^fallocate \S+ 0 /,
  /** FALLOC_FL_KEEP_SIZE. */
  fallocateKeepSize: /^fallocate \S+ keep /,
  /** FALLOC_FL_PUNCH_HOLE. */
  punchHole: /^fallocate \S+ punch /,
  /** FALLOC_FL_ZERO_RANGE. */
  zeroRange: /^fallocate \S+ zero(-keep)? /,
  /** FALLOC_FL_COLLAPSE_RANGE. */
  collapseRange: /^fallocate \S+ collapse /,
  /** FALLOC_FL_INSERT_RANGE. */
  insertRange: /^fallocate \S+ insert /,
  copyFileRange: /^copy /,
  /** O_TMPFILE. */
  tmpfile: /O_TMPFILE/,
  renameNoreplace: /^rename \S+ \S+ noreplace/,
  renameExchange: /^rename \S+ \S+ (noreplace-)?exchange/,
  renameWhiteout: /^rename \S+ \S+ whiteout/,
  /** Extended attributes `user.*`. */
  xattrs: /^(set|get|remove|list)xattr /,
  /** Extended attributes `trusted.*`, of links and special files too. */
  trustedXattrs: / trusted\./,
  /** POSIX ACLs: `system.posix_acl_*` is the mode's other face, and default ACLs are handed down. */
  acls: undefined,
  /** It has at most 64 MiB of free space: ENOSPC beyond what `statfs` tells, and what is deleted is free again. */
  quotas: undefined,
} satisfies Record<string, RegExp | undefined>;

/** What a filesystem may have beyond files and directories that are made, written, renamed and removed. */
export type Feature = keyof typeof STEPS;

/** The name of every feature. */
export const FEATURES = Object.keys(STEPS) as Feature[];

/** What a filesystem declares: the features that it has are `true`. */
export type Features = { readonly [K in keyof typeof STEPS]?: boolean } & {
  /** Nothing in it can be changed: all that would is refused. What is there is looked at in place of all else. Default: false. */
  readonly readOnly?: boolean;
  /** Milliseconds that two changes of a file have to be apart to have different times: 10 for most of Linux's. Default: 1. */
  readonly timeGranularity?: number;
};

/** What a scenario is left out for. */
export type Need = Feature | 'writable' | 'readOnly';

/** Fields of a `stat` that say nothing without a feature. */
const FIELDS: Record<string, Feature> = {
  mode: 'modes',
  uid: 'owners',
  gid: 'owners',
  blocks: 'holes',
  atime: 'times',
  mtime: 'times',
};

/** What the steps of a scenario need. */
export function needsOf({ needs, steps }: Scenario): Need[] {
  const found = FEATURES.filter(
    (feature) => needs.includes(feature) || steps.some(({ text }) => STEPS[feature]?.test(text)),
  );
  return ['writable', ...found];
}

export function lacks(features: Features, needs: readonly Need[]): Need[] {
  return needs.filter((need) => (need === 'writable' ? features.readOnly : !features[need]));
}

const nameOf = (field: string) => field.slice(0, field.indexOf('='));
const isStat = (expected: string) => /^[a-z]+=/.test(expected);

/** The feature that a field of a `stat` needs. */
function featureOf(field: string, isDirectory: boolean): Feature | undefined {
  return field === 'nlink' && isDirectory ? 'directoryLinks' : FIELDS[field];
}

/** What is expected of a `stat`, without the fields that say nothing here. */
export function expectedOf(features: Features, expected: string, actual: string): string {
  if (!isStat(expected)) return expected;
  const isDirectory = actual.startsWith('type=directory');
  const fields = expected.split(' ').filter((field) => {
    const feature = featureOf(nameOf(field), isDirectory);
    return !feature || features[feature];
  });
  return fields.join(' ') || 'ok';
}

/** Fields that {@link expectedOf} may leave out of a scenario's steps, and for the lack of which feature. */
export function unseenFields(features: Features, { steps }: Scenario): Map<string, Feature> {
  const unseen = new Map<string, Feature>();
  for (const { expected } of steps)
    if (isStat(expected))
      for (const field of expected.split(' ').map(nameOf)) {
        const feature = featureOf(field, true);
        if (feature && !features[feature]) unseen.set(field, feature);
      }
  return unseen;
}
