// Builds device/snapshot/codec/ from its crate: npx tsx scripts/build-codec.ts [--install]
// With --install, the toolchain is fetched from Debian first, else only if there is none.
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CodecToolchain } from './build-codec-toolchain.ts';

export const CODEC_DIRECTORY = fileURLToPath(new URL('../device/snapshot/codec/', import.meta.url));
export const TOOLCHAIN_DIRECTORY =
  process.env['CODEC_TOOLCHAIN'] ?? fileURLToPath(new URL('../.cache/codec-toolchain', import.meta.url));

const SOURCES = ['crate/Cargo.toml', 'crate/src'];
const PACKAGE_FILES = ['codec.js', 'codec.d.ts', 'codec_bg.wasm', 'codec_bg.wasm.d.ts', 'package.json'];
const RECORD = 'build.json';

export interface BuildRecord {
  /** Debian versions by package name. */
  toolchain: Record<string, string>;
  /** SHA-256 by path in {@link CODEC_DIRECTORY}. */
  sources: Record<string, string>;
  outputs: Record<string, string>;
}

/** What `toolchain` makes of the crate: contents by path in {@link CODEC_DIRECTORY}. */
export async function buildCodec(toolchain: CodecToolchain): Promise<Map<string, Uint8Array>> {
  const scratch = await mkdtemp(join(tmpdir(), 'build-codec-'));
  try {
    const built = await toolchain.build(join(CODEC_DIRECTORY, 'crate'), scratch);
    const outputs = new Map<string, Uint8Array>([['crate/Cargo.lock', await readFile(join(built, 'Cargo.lock'))]]);
    for (const name of PACKAGE_FILES) outputs.set(`pkg/${name}`, await readFile(join(built, 'pkg', name)));
    outputs.set(
      'codec-wasm.ts',
      Buffer.from(embed(await readFile(join(built, 'pkg/codec.js'), 'utf8'), outputs.get('pkg/codec_bg.wasm')!)),
    );
    return outputs;
  } finally {
    await rm(scratch, { recursive: true });
  }
}

export async function readRecord(): Promise<BuildRecord> {
  return JSON.parse(await readFile(join(CODEC_DIRECTORY, RECORD), 'utf8'));
}

/** SHA-256 of the sources as they are now, by path. */
export async function hashSources(): Promise<Record<string, string>> {
  const paths = await Promise.all(SOURCES.map((source) => filesOf(join(CODEC_DIRECTORY, source))));
  return hashFiles(paths.flat().map((path) => relative(CODEC_DIRECTORY, path)));
}

/** SHA-256 of files in {@link CODEC_DIRECTORY}, by path. */
export async function hashFiles(paths: string[]): Promise<Record<string, string>> {
  const contents = await Promise.all(
    paths.map(async (path) => [path, await readFile(join(CODEC_DIRECTORY, path))] as const),
  );
  return hashAll(contents);
}

export function hashAll(contents: Iterable<readonly [string, Uint8Array]>): Record<string, string> {
  const hashes = [...contents].map(
    ([path, bytes]) => [path, createHash('sha256').update(bytes).digest('hex')] as const,
  );
  return Object.fromEntries(hashes.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** One TypeScript module of glue and wasm: it goes through tsc, tsx and webpack alike, and nothing has to be fetched. */
function embed(glue: string, wasm: Uint8Array): string {
  const lines = Buffer.from(wasm)
    .toString('base64')
    .match(/.{1,120}/g)!;
  return [
    '// @ts-nocheck',
    '// pkg/codec.js and pkg/codec_bg.wasm in one. Made by scripts/build-codec.ts; not to be edited.',
    glue.replace(/^\/\* @ts-self-types.*\n/, '').trim(),
    '',
    "/** The module's bytes, base64. */",
    `export const WASM =\n${lines.map((line) => `  '${line}'`).join(' +\n')};`,
    '',
  ].join('\n');
}

async function filesOf(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => undefined);
  return entries
    ? entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name))
    : [path];
}

async function main(): Promise<void> {
  const installed = process.argv.includes('--install') ? undefined : await CodecToolchain.open(TOOLCHAIN_DIRECTORY);
  const toolchain = installed ?? (await CodecToolchain.install(TOOLCHAIN_DIRECTORY));
  const outputs = await buildCodec(toolchain);
  for (const [path, bytes] of outputs) {
    await mkdir(dirname(join(CODEC_DIRECTORY, path)), { recursive: true });
    await writeFile(join(CODEC_DIRECTORY, path), bytes);
  }
  const record: BuildRecord = {
    toolchain: toolchain.versions,
    sources: await hashSources(),
    outputs: hashAll(outputs),
  };
  await writeFile(join(CODEC_DIRECTORY, RECORD), `${JSON.stringify(record, null, 2)}\n`);
  console.log(
    `Built ${outputs.size} files with rustc ${toolchain.versions['rustc']}: ${relative(process.cwd(), CODEC_DIRECTORY)}`,
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
