import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GuestImageError, provideImage } from './errors.ts';
import { missingPrograms } from './programs.ts';
import { privateSources } from './sources.ts';

const run = promisify(execFile);
const MAX_OUTPUT = 64 << 20;

export interface DebianPackage {
  name: string;
  architecture: string;
  version: string;
  /** Of the .deb file, hex. */
  sha256: string;
  /** The .deb file. */
  path: string;
}

/**
 * apt with a state of its own: it sees the machine's Debian sources and keys, as a machine that
 * has nothing installed and takes packages of the guest's architecture too. It needs no root and
 * changes nothing on the machine.
 */
export class PrivateApt {
  /** The machine's own architecture, for packages that run here. */
  readonly hostArchitecture: string;
  readonly #directory: string;
  readonly #options: string[];
  #updateFailure = '';

  private constructor(directory: string, hostArchitecture: string, architectures: string[]) {
    const at = (name: string) => join(directory, name);
    const settings: Record<string, string> = {
      'Dir::State': at('state'),
      'Dir::State::status': at('state/status'),
      'Dir::Cache': at('cache'),
      'Dir::Etc::sourcelist': at('sources.list'),
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::Etc::preferences': '/dev/null',
      'Dir::Etc::preferencesparts': '/dev/null',
      'APT::Architecture': hostArchitecture,
      'APT::Sandbox::User': 'root',
      'Acquire::Languages': 'none',
      'Acquire::Retries': '3',
      'APT::Update::Error-Mode': 'any',
      'Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled': 'false',
    };
    this.hostArchitecture = hostArchitecture;
    this.#directory = directory;
    this.#options = [
      ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
      ...architectures.map((name) => `APT::Architectures::=${name}`),
    ].flatMap((option) => ['-o', option]);
  }

  /**
   * `directory` has to be there, and empty. `native`: for packages that are not of `guestArchitecture`;
   * the machine's own by default. `codename`: of the release, bookworm by default.
   */
  static async create(
    directory: string,
    guestArchitecture: string,
    native?: string,
    codename?: string,
  ): Promise<PrivateApt> {
    const hostArchitecture = native ?? (await output('dpkg', ['--print-architecture']));
    const sources = await privateSources(codename);
    for (const name of ['state/lists/partial', 'cache/archives/partial', 'debs'])
      await mkdir(join(directory, name), { recursive: true });
    await writeFile(join(directory, 'state/status'), '');
    await writeFile(join(directory, 'sources.list'), sources);
    return new PrivateApt(directory, hostArchitecture, [...new Set([hostArchitecture, guestArchitecture])]);
  }

  /** Fetches the package lists. One that can't be had matters only when a package is missing: see {@link download}. */
  async update(): Promise<void> {
    try {
      await this.#apt('apt-get', ['update', '--quiet']);
    } catch (error) {
      this.#updateFailure = messageOf(error);
    }
  }

  /** The first package that `name:architecture` depends on and `pattern` matches, in that form too. */
  async dependency(name: string, pattern: RegExp): Promise<string> {
    const [, architecture] = name.split(':');
    const listed = await this.#apt('apt-cache', ['depends', name]).catch(() => '');
    const names = [...listed.matchAll(/Depends: ([^\s:]+)/g)].map((match) => match[1]!);
    const found = names.find((dependency) => pattern.test(dependency));
    if (!found) {
      throw new GuestImageError(
        `apt has no ${name} that depends on a package like ${pattern.source}.${this.#updateFailure && `\n${this.#updateFailure}`}\n\n${provideImage()}`,
      );
    }
    return `${found}:${architecture}`;
  }

  /** Fetches packages, given as `name:architecture`, checked by apt against the archive's signatures. */
  async download(packages: string[]): Promise<DebianPackage[]> {
    const debs = join(this.#directory, 'debs');
    try {
      await this.#apt('apt-get', ['download', '--quiet', ...packages], debs);
    } catch (error) {
      throw new GuestImageError(
        `apt can't fetch the guest's packages (${packages.join(', ')}):\n${messageOf(error)}${this.#updateFailure && `\n${this.#updateFailure}`}\n\n${provideImage()}`,
        { cause: error },
      );
    }
    const files = (await readdir(debs)).filter((name) => name.endsWith('.deb')).sort();
    return Promise.all(files.map((file) => readPackage(join(debs, file))));
  }

  /** Fetches packages and all that they depend on, recommendations left out. Returns the .deb files. */
  async downloadWithDependencies(packages: string[]): Promise<string[]> {
    await this.#apt('apt-get', [
      'install',
      '--quiet',
      '--yes',
      '--download-only',
      '--no-install-recommends',
      ...packages,
    ]);
    const archives = join(this.#directory, 'cache/archives');
    return (await readdir(archives))
      .filter((name) => name.endsWith('.deb'))
      .sort()
      .map((name) => join(archives, name));
  }

  async #apt(program: string, args: string[], cwd?: string): Promise<string> {
    return output(program, [...this.#options, ...args], cwd);
  }
}

/** What it takes of the machine, and is not there. */
export function missingAptPrograms(): string[] {
  return missingPrograms(['apt-get', 'apt-cache', 'dpkg', 'dpkg-deb']);
}

/** Throws {@link GuestImageError} where this can't work at all. */
export function checkAptIsThere(): void {
  const missing = missingAptPrograms();
  if (missing.length) {
    throw new GuestImageError(
      `The guest is made of Debian packages, and this machine has no ${missing.join(', ')}.\n\n${provideImage()}`,
    );
  }
}

export async function unpack(deb: { path: string }, directory: string): Promise<void> {
  await run('dpkg', ['-x', deb.path, directory], { maxBuffer: MAX_OUTPUT });
}

async function readPackage(path: string): Promise<DebianPackage> {
  const fields = await output('dpkg-deb', ['--show', '--showformat=${Package} ${Architecture} ${Version}', path]);
  const [name, architecture, version] = fields.split(' ') as [string, string, string];
  const sha256 = createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
  return { name, architecture, version, sha256, path };
}

async function output(program: string, args: string[], cwd?: string): Promise<string> {
  const { stdout } = await run(program, args, { cwd, maxBuffer: MAX_OUTPUT, env: { ...process.env, LC_ALL: 'C' } });
  return stdout.trim();
}

function messageOf(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message: string };
  const errors = (stderr ?? '').split('\n').filter((line) => /^[EW]:/.test(line));
  return errors.join('\n') || stderr?.trim() || message;
}
