import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { checkAptIsThere } from './apt.ts';
import { keepDebs } from './deb-cache.ts';
import { GuestImageError } from './errors.ts';
import { writableCacheDirectory } from './paths.ts';
import { privateSources } from './sources.ts';
import { ensureHostPackages } from './userland.ts';
import { inTemporaryDirectory, inWorkDirectory } from './work-directory.ts';

/** What people expect of a Debian that they sit in front of, besides what is essential, and apt. */
const COMFORT = ['bash-completion', 'less', 'locales', 'procps', 'sudo'];
/** The beginning of 2025, where SOURCE_DATE_EPOCH does not say: the same bytes whenever it is made. */
const DATE = '1735689600';
/** Documentation that a program opens itself stays: vim's, say. */
const LEFT_OUT = [
  '/usr/share/doc/*',
  '/usr/share/info/*',
  '/usr/share/locale/*',
  '/usr/share/man/*',
  '/usr/share/lintian/*',
];
/** Licences have to stay with what they are of. */
const KEPT = ['/usr/share/doc/*/copyright', '/usr/share/locale/locale.alias'];
/** Lines of what a failing program has said that are told. */
const TOLD_LINES = 20;

/** Fetches the package lists. One that can't be had matters only when a package is missing. $1 is the root; mmdebstrap, which would end there, finds them. */
const UPDATE = `export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
echo 'I: running apt-get update...' >&2
apt-get update >&2
mkdir -p "$1/var/lib/apt/lists/auxfiles"
apt-cache gencaches >&2
`;

/** Makes it a place to sit down at. $1 is the root. */
const CONFIGURE = `set -e
echo debian > "$1/etc/hostname"
printf '127.0.0.1 localhost\\n127.0.1.1 debian\\n' > "$1/etc/hosts"
: > "$1/etc/fstab"
chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash user
chroot "$1" passwd --quiet --delete root
chroot "$1" passwd --quiet --delete user
sed -i 's/^#force_color_prompt=yes/force_color_prompt=yes/' "$1/etc/skel/.bashrc"
cp "$1/etc/skel/.bashrc" "$1/root/.bashrc"
cp "$1/etc/skel/.bashrc" "$1/home/user/.bashrc"
printf 'user ALL=(ALL) NOPASSWD: ALL\\n' > "$1/etc/sudoers.d/user"
chmod 440 "$1/etc/sudoers.d/user"
chroot "$1" localedef -i en_US -f UTF-8 en_US.UTF-8
echo LANG=C.UTF-8 > "$1/etc/default/locale"
# What Python has compiled is compared with the source's time, which may be clamped; else it would read both.
if [ -x "$1/usr/bin/python3" ]; then
  find "$1/usr/lib" "$1/usr/share" "$1/etc" -name '*.py' -newermt "@$SOURCE_DATE_EPOCH" -exec touch -hcd "@$SOURCE_DATE_EPOCH" {} +
  chroot "$1" find /usr/lib /usr/share -type d -name __pycache__ | sed 's|/__pycache__$||' | LC_ALL=C sort |
    chroot "$1" env -u SOURCE_DATE_EPOCH PYTHONHASHSEED=0 xargs python3 -m compileall -lqf --invalidation-mode timestamp || true
fi
rm -f "$1"/etc/passwd- "$1"/etc/group- "$1"/etc/shadow- "$1"/etc/gshadow- "$1"/etc/subuid- "$1"/etc/subgid-
`;

export interface DebianRootOptions {
  /** Names of Debian packages, which come with all that they depend on. */
  packages: readonly string[];
  /** Called with what is being done, and how much of it is done (0 to 1). */
  onProgress?: (message: string, fraction?: number) => void;
}

/**
 * Makes the root filesystem of a Debian for i386 with these packages, configured, as a tar archive at `tar`. It has the users root and `user`, who
 * may use sudo, without passwords, and the locales C.UTF-8 and en_US.UTF-8. What is made of the same packages is the same to the byte: no time in it is
 * after SOURCE_DATE_EPOCH, or the beginning of 2025. Packages that were fetched are kept for the next time.
 *
 * It takes mmdebstrap, which is fetched too, on a Debian that runs 32-bit programs; as root, or as a user who may make namespaces with several users.
 *
 * @throws GuestImageError that says what is missing.
 */
export async function makeDebianRoot(
  tar: string,
  { packages, onProgress = () => {} }: DebianRootOptions,
): Promise<void> {
  const unknown = packages.find((name) => !/^[a-z0-9][a-z0-9+.-]+$/.test(name));
  if (unknown !== undefined)
    throw new GuestImageError(
      `${JSON.stringify(unknown)} is not the name of a Debian package: give names like python3`,
    );
  checkAptIsThere();
  onProgress('fetching mmdebstrap', 0);
  const tools = await ensureHostPackages(['mmdebstrap']);
  const debs = join(writableCacheDirectory(), 'debs');
  await mkdir(debs, { recursive: true });
  const build = async (work: string, unfinished: string): Promise<void> => {
    const [sources, update, configure, fetched] = ['sources.list', 'update', 'configure', 'debs'].map((name) =>
      join(work, name),
    ) as [string, string, string, string];
    await writeFile(sources, await privateSources());
    await writeFile(update, UPDATE);
    await writeFile(configure, CONFIGURE);
    await mkdir(fetched);
    const archives = '/var/cache/apt/archives';
    await mmdebstrap(
      join(tools, 'usr/bin'),
      [
        '--variant=minbase',
        '--architectures=i386',
        '--format=tar',
        // It looks for a program that this machine need not have.
        '--skip=check/qemu',
        // The kernel makes its own.
        '--skip=output/dev',
        `--include=${[...new Set([...COMFORT, ...packages])].sort()}`,
        ...['APT::Sandbox::User "root"', 'Acquire::Languages "none"', 'Acquire::Retries "3"'].map(
          (option) => `--aptopt=${option}`,
        ),
        ...LEFT_OUT.map((path) => `--dpkgopt=path-exclude=${path}`),
        ...KEPT.map((path) => `--dpkgopt=path-include=${path}`),
        '--skip=download/empty',
        '--skip=essential/unlink',
        `--setup-hook=mkdir -p "$1"${archives}`,
        `--setup-hook=sync-in ${debs} ${archives}`,
        `--setup-hook=sh ${update} "$1"`,
        `--customize-hook=sync-out ${archives} ${fetched}`,
        `--customize-hook=sh ${configure} "$1"`,
        'bookworm',
        unfinished,
        sources,
      ],
      onProgress,
    );
    await keepDebs(fetched, debs);
  };
  await inWorkDirectory(`${tar}.building-`, async (beside) => {
    const unfinished = join(beside, 'root.tar');
    await inTemporaryDirectory('debian-root', (work) => build(work, unfinished));
    await rename(unfinished, tar);
  });
  onProgress('');
}

/** Names how a root with these packages is made, in 12 hexadecimal digits. */
export function debianRecipe(packages: readonly string[]): string {
  const recipe = JSON.stringify([COMFORT, CONFIGURE, LEFT_OUT, KEPT, [...packages].sort()]);
  return createHash('sha256').update(recipe).digest('hex').slice(0, 12);
}

/** The same, kept in the cache: made when it is first asked for. Returns the archive's path. */
export async function ensureDebianRoot({ packages, onProgress }: DebianRootOptions): Promise<string> {
  const tar = join(writableCacheDirectory(), `debian-${debianRecipe(packages)}.tar`);
  if (!existsSync(tar)) await makeDebianRoot(tar, { packages, onProgress });
  return tar;
}

/** What it says, by which its progress is known; from, to: of the whole. */
const STEPS: [RegExp, string, number, number][] = [
  [/^I: running apt-get update/, 'fetching the package lists', 0, 0.03],
  [/^I: downloading packages/, 'fetching packages', 0.03, 0.3],
  [/^I: extracting archives/, 'unpacking what is essential', 0.3, 0.35],
  [/^I: installing essential/, 'configuring what is essential', 0.35, 0.45],
  [/^I: (downloading|installing) remaining/, 'installing packages', 0.45, 0.9],
  [/^I: creating tarball/, 'packing', 0.92, 1],
];

/** Runs it to its end. @throws GuestImageError. */
async function mmdebstrap(
  directory: string,
  args: string[],
  onProgress: NonNullable<DebianRootOptions['onProgress']>,
): Promise<void> {
  const child = spawn('perl', [join(directory, 'mmdebstrap'), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: {
      ...process.env,
      // It has helpers beside it.
      PATH: `${directory}:${process.env['PATH']}`,
      LC_ALL: 'C.UTF-8',
      SOURCE_DATE_EPOCH: process.env['SOURCE_DATE_EPOCH'] ?? DATE,
    },
  });
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve));
  const said: string[] = [];
  let [text, from, to] = ['', 0, 0];
  let [done, total] = [0, 0];
  const reading = (async () => {
    for await (const line of createInterface(child.stderr)) {
      said.push(line);
      if (said.length > 200) said.shift();
      const step = STEPS.find(([pattern]) => pattern.test(line));
      if (step) {
        [, text, from, to] = step;
        done = 0;
      }
      const count = /(\d+) newly installed/.exec(line);
      // Each is fetched, unpacked and set up.
      if (count) total = 3 * Number(count[1]);
      if (/^(Get:|Unpacking |Setting up )/.test(line)) done++;
      else if (!step) continue;
      onProgress(text, Math.min(to, from + ((to - from) * done) / (total || 300)));
    }
  })();
  const code = await ended.catch((error: Error) => {
    throw new GuestImageError(`A Debian root is made with Perl: ${error.message}`, { cause: error });
  });
  await reading;
  if (code === 0) return;
  const output = said.join('\n');
  const cure = /Exec format error/.test(output)
    ? 'This machine does not run 32-bit x86 programs, which configure the packages: make the image on one that does, or let QEMU run them, as docs/root-filesystem.md says.'
    : /unshare|newuidmap|subuid|CLONE_NEWUSER/.test(output)
      ? 'Run it as root, or install the package uidmap and give this user ids in /etc/subuid and /etc/subgid.'
      : /Unable to locate package/.test(output)
        ? 'Check the names of the packages.'
        : '';
  throw new GuestImageError(
    `The Debian root can't be made.${cure && ` ${cure}`} mmdebstrap says:\n${said.slice(-TOLD_LINES).join('\n')}`,
  );
}
