import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
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

/**
 * Copies into the guest: bytes, or a file of the host, to the file `path`; what is in a directory or an archive of the host, into the directory `path`,
 * which is made. It goes through the agent, which is slow; a share is for more.
 *
 * @throws VmError `share` for what can't be read here, `guest` with what the guest says.
 */
export async function copyIn(vm: Machine, source: string | Uint8Array, path: string): Promise<void> {
  const options = { check: true, timeoutMs: PATIENCE, cwd: '/' };
  const toFile = ['/bin/sh', '-c', 'cat > "$1"', 'sh', path];
  if (typeof source !== 'string') {
    await vm.exec(toFile, { ...options, stdin: source });
    return;
  }
  const found = await stat(source).catch((error: Error) => {
    throw new VmError('share', `can't copy ${printable(source)} into the guest: ${printable(error.message)}`);
  });
  if (found.isFile() && !/\.(tar|tar\.gz|tgz)$/.test(source)) {
    await vm.exec(toFile, { ...options, stdin: createReadStream(source) });
    await vm.exec(['chmod', (found.mode & PERMISSIONS).toString(8), path], options);
    return;
  }
  const { filesystem } = await loadSource(source, Math.floor(Date.now() / 1000));
  const { stream } = dumpTar(filesystem);
  await vm.exec(['/bin/sh', '-c', 'mkdir -p "$1" && tar -x -f - -C "$1"', 'sh', path], { ...options, stdin: stream });
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
