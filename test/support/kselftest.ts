import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { debianRoot } from './debian-root.ts';

const SOURCE = 'linux-source-6.1';

/**
 * Puts kselftest there as `make install` does: its runner and the collections named, of Debian's kernel source, of which only shell scripts run, and those in
 * `more`, by collection and name.
 */
export async function installKselftest(
  directory: string,
  collections: readonly string[],
  more: Record<string, Record<string, string>>,
): Promise<void> {
  const root = await debianRoot('linux-source', { codename: 'bookworm', packages: [SOURCE] });
  const work = await mkdtemp(join(tmpdir(), 'kselftest-'));
  try {
    const parts = ['run_kselftest.sh', 'kselftest', ...collections];
    const below = (name: string) => `${SOURCE}/tools/testing/selftests/${name}`;
    await promisify(execFile)('tar', ['-xJf', join(root, `usr/src/${SOURCE}.tar.xz`), '-C', work, ...parts.map(below)]);
    for (const name of parts) await cp(join(work, below(name)), join(directory, name), { recursive: true });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  for (const [collection, tests] of Object.entries(more)) {
    await mkdir(join(directory, collection), { recursive: true });
    for (const [name, text] of Object.entries(tests)) {
      await writeFile(join(directory, collection, name), text);
      await chmod(join(directory, collection, name), 0o755);
    }
  }
}
