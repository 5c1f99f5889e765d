import { appendFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { baseMachine } from 'v86-virtiofs/testing';
import { cacheDirectory } from '../../../guest-images/paths.ts';

/** What was done, a line each, in a file beside the cache directory, which several machines may have: `prepared`, or the name of a test. */
function note(line: string): void {
  appendFileSync(join(dirname(cacheDirectory()), 'log'), `${line}\n`);
}

type Define = (name: string, test: () => Promise<void>) => unknown;

/** Two tests, named after their file, on the base machine that all such files have. */
export async function defineSharded(file: string): Promise<void> {
  const base = await baseMachine({
    prepare: async (vm) => {
      note('prepared');
      await vm.exec('echo 0 > count', { cwd: '/mnt/share', check: true });
    },
  }).ready();
  const { it } = globalThis as unknown as { it: Define };
  for (const name of ['one', 'two'])
    it(
      name,
      base.test(async (vm) => {
        const { stdout } = await vm.exec('cat count; echo 1 > count', { cwd: '/mnt/share', check: true });
        if (stdout !== '0\n') throw new Error(`another test was here: ${stdout}`);
        note(`${basename(file)} ${name}`);
      }),
    );
}
