import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { privateSources } from '../guest-images/sources.ts';

const run = promisify(execFile);
const MAX_OUTPUT = 64 << 20;
const SUITE = 'unstable';
const WASM_STD = 'libstd-rust-dev-wasm32';
/** What the codec's bytes are made by and of. Their dependencies come along. */
const PACKAGES = [
  'rustc',
  'cargo',
  WASM_STD,
  'wasm-pack',
  'wasm-bindgen',
  'librust-blake3-dev',
  'librust-lz4-flex-dev',
  'librust-wasm-bindgen-dev',
];
/** What makes the packages runnable that only dash and coreutils would otherwise bring. */
const TOOLS = ['coreutils', 'dash'];
const VERSIONS_FILE = 'toolchain.json';
const CRATES_CONFIG =
  '[source.crates-io]\nreplace-with = "debian"\n\n[source.debian]\ndirectory = "/usr/share/cargo/registry"\n';

/** Debian packages unpacked into a folder, used by chroot in namespaces of its own. Needs no root where users may make namespaces. */
export class CodecToolchain {
  readonly #root: string;
  /** Of {@link PACKAGES} and the linker, by name. */
  readonly versions: Record<string, string>;

  private constructor(root: string, versions: Record<string, string>) {
    this.#root = root;
    this.versions = versions;
  }

  /** Undefined if none is installed there. */
  static async open(directory: string): Promise<CodecToolchain | undefined> {
    const file = join(directory, VERSIONS_FILE);
    if (!existsSync(file)) return undefined;
    return new CodecToolchain(join(directory, 'root'), JSON.parse(await readFile(file, 'utf8')));
  }

  /** Downloads (350 MB) and unpacks (1.3 GB) into `directory`, which is made anew. */
  static async install(directory: string): Promise<CodecToolchain> {
    await mkdir(dirname(directory), { recursive: true });
    const building = await mkdtemp(`${directory}.`);
    try {
      const options = await prepareApt(join(building, 'apt'));
      const apt = (program: string, ...args: string[]) => output(program, [...options, ...args]);
      await apt('apt-get', 'update', '--quiet');
      const linker = /Recommends: (lld-\d+)/.exec(await apt('apt-cache', 'depends', WASM_STD))?.[1];
      if (!linker) throw new Error(`${WASM_STD} recommends no linker`);
      const names = [...PACKAGES, linker];
      await apt(
        'apt-get',
        'install',
        '--quiet',
        '--yes',
        '--download-only',
        '--no-install-recommends',
        ...names,
        ...TOOLS,
      );

      const root = join(building, 'root');
      const versions = await unpackAll(join(building, 'apt/cache/archives'), root);
      for (const name of ['bin', 'sbin', 'lib', 'lib64']) await symlink(`usr/${name}`, join(root, name));
      for (const name of ['dev', 'proc', 'tmp', 'work']) await mkdir(join(root, name));
      await rm(join(building, 'apt'), { recursive: true });
      const recorded = Object.fromEntries(names.sort().map((name) => [name, versions.get(name)]));
      await writeFile(join(building, VERSIONS_FILE), `${JSON.stringify(recorded, null, 2)}\n`);
      await rm(directory, { recursive: true, force: true });
      await rename(building, directory);
    } catch (error) {
      await rm(building, { recursive: true, force: true });
      throw error;
    }
    return (await CodecToolchain.open(directory))!;
  }

  /** Runs wasm-pack on a copy of `crate` in `scratch`, an empty folder; returns the folder of the copy. */
  async build(crate: string, scratch: string): Promise<string> {
    const copy = join(scratch, 'crate');
    await cp(crate, copy, { recursive: true });
    await mkdir(join(scratch, 'cargo'));
    await writeFile(join(scratch, 'cargo/config.toml'), CRATES_CONFIG);
    const linker = Object.keys(this.versions)
      .find((name) => name.startsWith('lld-'))!
      .replace('lld', 'wasm-ld');
    const environment = {
      PATH: '/usr/bin',
      HOME: '/work',
      CARGO_HOME: '/work/cargo',
      RUSTFLAGS: '-Ctarget-feature=+simd128',
      CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER: linker,
      CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER: 'gcc',
    };
    const mounts =
      'mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" && mount --bind "$1" "$0/work" && shift && exec chroot "$0" "$@"';
    await run(
      'unshare',
      [
        '--mount',
        ...(process.getuid!() === 0 ? [] : ['--map-root-user']),
        'sh',
        '-c',
        mounts,
        this.#root,
        scratch,
        '/usr/bin/env',
        '-i',
        ...Object.entries(environment).map(([name, value]) => `${name}=${value}`),
        '/usr/bin/nice',
        'wasm-pack',
        'build',
        '/work/crate',
        '--target',
        'web',
        '--release',
        '--mode',
        'no-install',
      ],
      { maxBuffer: MAX_OUTPUT },
    );
    return copy;
  }
}

/** An apt with a state of its own that sees Debian unstable and a machine with nothing installed; returns its options. */
async function prepareApt(directory: string): Promise<string[]> {
  for (const name of ['state/lists/partial', 'cache/archives/partial'])
    await mkdir(join(directory, name), { recursive: true });
  const at = (name: string) => join(directory, name);
  const sources = (await privateSources()).split('\n').filter((line) => line.endsWith(' bookworm main'));
  await writeFile(
    at('sources.list'),
    sources.map((line) => `${line.replace(/bookworm main$/, `${SUITE} main`)}\n`).join(''),
  );
  await writeFile(at('state/status'), '');
  const settings = {
    'Dir::State': at('state'),
    'Dir::State::status': at('state/status'),
    'Dir::Cache': at('cache'),
    'Dir::Etc::sourcelist': at('sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'APT::Sandbox::User': 'root',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** The versions by package name. */
async function unpackAll(debs: string, root: string): Promise<Map<string, string>> {
  const versions = new Map<string, string>();
  for (const file of (await readdir(debs)).filter((name) => name.endsWith('.deb'))) {
    const path = join(debs, file);
    const [name, version] = (await output('dpkg-deb', ['--show', '--showformat=${Package} ${Version}', path])).split(
      ' ',
    ) as [string, string];
    versions.set(name, version);
    await run('dpkg', ['-x', path, root]);
  }
  return versions;
}

async function output(program: string, args: string[]): Promise<string> {
  const { stdout } = await run(program, args, { maxBuffer: MAX_OUTPUT, env: { ...process.env, LC_ALL: 'C' } });
  return stdout.trim();
}
