import { execFile } from 'node:child_process';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../../..');
const at = (name: string) => join(ROOT, name);
const RUNNERS = at('test/support/runners');

/** How each test runner is asked to run files on the sources: arguments of Node. */
const RUNNERS_ON_SOURCES: Record<string, (files: string[]) => string[]> = {
  'node:test': (files) => ['--import', 'tsx', '--test', '--test-reporter', 'spec', ...files],
  mocha: (files) => ['--import', 'tsx', at('node_modules/mocha/bin/mocha.js'), '--no-config', '--exit', ...files],
  // Another of its commands than `run` goes first.
  vitest: (words) => [
    at('node_modules/vitest/vitest.mjs'),
    ...(['run', 'list'].includes(words[0]!) ? words : ['run', ...words]),
    ...['--config', join(RUNNERS, 'vitest.config.ts'), '--no-color', '--reporter', 'verbose'],
  ],
  jest: (files) => [
    '--experimental-vm-modules',
    at('node_modules/jest/bin/jest.js'),
    ...['--config', join(RUNNERS, 'jest.config.mjs'), '--no-color', '--verbose', '--runTestsByPath'],
    ...files,
  ],
};

/** Runs test files by a runner to their end. Paths begin at the root of the repository. */
export function runTests(
  runner: string,
  files: string[],
  env: NodeJS.ProcessEnv = {},
  timeout = 280_000,
): Promise<{ code: number; output: string }> {
  // This is not to be taken for a part of the test that runs it.
  const { NODE_TEST_CONTEXT: _, NODE_OPTIONS: __, ...own } = process.env;
  return new Promise((resolve) =>
    execFile(
      process.execPath,
      RUNNERS_ON_SOURCES[runner]!(files),
      { cwd: ROOT, env: { ...own, ...env, NO_COLOR: '1' }, timeout, maxBuffer: 1 << 26 },
      (error, stdout, stderr) =>
        resolve({
          code: error ? Number(error.code ?? 255) : 0,
          output: stdout + stderr + (error?.killed ? `${runner} was ended after ${timeout / 1000} s\n` : ''),
        }),
    ),
  );
}
