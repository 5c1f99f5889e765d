import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import type { ReadableStream } from 'node:stream/web';
import { createGzip } from 'node:zlib';
import { dumpTar } from '../../device/index.ts';
import { VmError } from '../machine/errors.ts';
import type { Machine } from '../machine/machine.ts';
import { printable } from '../machine/printable.ts';
import { loadSource } from './shares/load-source.ts';
import { writeFileWhole } from './stores/whole-file.ts';

/** Bytes that come out at once. */
const MAX_OUT = 1 << 30;
/** Milliseconds: the agent is in between. */
const PATIENCE = 600_000;
const PERMISSIONS = 0o7777;
const OPTIONS = { check: true, timeoutMs: PATIENCE, cwd: '/' };
/** Bytes. */
const WORTH_PACKING = 1 << 14;

/**
 * Copies into the guest: bytes, or a file of the host, to the file `path`; what is in a directory or an archive of the host, into the directory `path`,
 * which is made. It goes through the agent, which is slow, packed where the guest has gzip; a share is for more.
 *
 * @throws VmError `share` for what can't be read here, `guest` with what the guest says.
 */
export async function copyIn(vm: Machine, source: string | Uint8Array, path: string): Promise<void> {
  if (typeof source !== 'string') {
    if (source.length < WORTH_PACKING) await vm.exec(toFile('cat', path), { ...OPTIONS, stdin: source });
    else await send(vm, Readable.from([source]), toFile, path);
    return;
  }
  const found = await stat(source).catch((error: Error) => {
    throw unreadable(source, error);
  });
  if (found.isFile() && !/\.(tar|tar\.gz|tgz)$/.test(source)) {
    await send(vm, Readable.from(contentOf(source)), toFile, path);
    await vm.exec(['chmod', (found.mode & PERMISSIONS).toString(8), path], OPTIONS);
    return;
  }
  const { filesystem } = await loadSource(source, Math.floor(Date.now() / 1000));
  const { stream } = dumpTar(filesystem);
  await send(vm, Readable.fromWeb(stream as ReadableStream<Uint8Array>), toDirectory, path);
}

/** A file's bytes. It is opened when they are asked for, and closed when nobody asks any more. @throws VmError `share`. */
async function* contentOf(source: string): AsyncGenerator<Uint8Array> {
  try {
    yield* createReadStream(source);
  } catch (error) {
    throw unreadable(source, error as Error);
  }
}

function unreadable(source: string, { message }: Error): VmError {
  return new VmError('share', `can't copy ${printable(source)} into the guest: ${printable(message)}`);
}

/** Commands of the guest that take what a program writes, which unpacks what comes. A file has all of it only if that program has ended well. */
type Taking = (unpack: string, path: string) => string[];
const toFile: Taking = (unpack, path) => ['/bin/sh', '-c', `${unpack} > "$1"`, 'sh', path];
const toDirectory: Taking = (unpack, path) => [
  '/bin/sh',
  '-c',
  `mkdir -p "$1" && ${unpack} | tar -x -f - -C "$1"`,
  'sh',
  path,
];

async function send(vm: Machine, data: Readable, taking: Taking, path: string): Promise<void> {
  // What is written to the port takes the guest much longer than unpacking it.
  const { code } = await vm.exec('command -v gzip', { cwd: '/', timeoutMs: PATIENCE });
  const words = taking(code === 0 ? 'gzip -d -c' : 'cat', path);
  await vm.exec(words, { ...OPTIONS, stdin: code === 0 ? pipeline(data, createGzip(), () => {}) : data });
}

/**
 * What is in a file of the guest; with `target` it is written there, whole or not at all. A directory is copied to a `target` that ends in `.tar`.
 *
 * @throws as {@link copyIn}.
 */
export async function copyOut(vm: Machine, path: string, target?: string): Promise<Uint8Array> {
  const words = target?.endsWith('.tar') ? ['tar', '-c', '-f', '-', '-C', path, '.'] : ['cat', path];
  const { stdout } = await vm.execBytes(words, { check: true, timeoutMs: PATIENCE, maxOutput: MAX_OUT, cwd: '/' });
  if (target !== undefined) await writeFileWhole(target, [stdout]);
  return stdout;
}
