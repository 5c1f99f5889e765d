import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @throws Error where it is not installed. */
const buildDirectory = () => dirname(fileURLToPath(import.meta.resolve('v86')));

let v86Module: Promise<WebAssembly.Module> | undefined;

/** One compilation for every emulator of this process; whoever will need it later may begin it. */
export function compileV86(): Promise<WebAssembly.Module> {
  return (v86Module ??= readFile(join(buildDirectory(), 'v86.wasm')).then((bytes) => WebAssembly.compile(bytes)));
}

/** One that another thread has compiled. */
export function useV86(module: WebAssembly.Module): void {
  v86Module = Promise.resolve(module);
}

let version: Promise<string> | undefined;

export function v86Version(): Promise<string> {
  return (version ??= readVersion());
}

async function readVersion(): Promise<string> {
  const manifest = JSON.parse(await readFile(join(buildDirectory(), '..', 'package.json'), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}
