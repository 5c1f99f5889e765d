import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { SOURCES } from './paths.ts';

const run = promisify(execFile);

/** Folders of `driver/`: the kernels that there is a series of patches for. */
export type Series = '6.1' | '6.12';

export interface Patch {
  path: string;
  content: string;
}

/** The patches of the fast driver for a kernel, in order. */
export async function readPatches(series: Series): Promise<Patch[]> {
  const directory = join(SOURCES, 'driver', series);
  const names = (await readdir(directory)).filter((name) => name.endsWith('.patch')).sort();
  return Promise.all(
    names.map(async (name) => {
      const path = join(directory, name);
      return { path, content: await readFile(path, 'utf8') };
    }),
  );
}

/** What they make of the source, to be hashed: not the reasons, so that a kernel stays when they are reworded. */
export function diffsOf(patches: readonly Patch[]): string {
  return patches.map(({ content }) => content.slice(content.indexOf('\ndiff --git '))).join('');
}

/** Paths below a kernel's source. */
export function patchedFiles(patches: readonly Patch[]): string[] {
  return [
    ...new Set(patches.flatMap(({ content }) => [...content.matchAll(/^\+\+\+ b\/(\S+)/gm)].map((match) => match[1]!))),
  ];
}

/** `source`: directory of a kernel's source. */
export async function applyPatches(patches: readonly Patch[], source: string, env: NodeJS.ProcessEnv): Promise<void> {
  for (const { path } of patches)
    await run('patch', ['--directory', source, '--strip=1', '--quiet', '--input', path], { env });
}
