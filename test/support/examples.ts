import type { Page } from 'playwright-core';

/** The examples for Node, and what they print, on the sources as on the package. */
export const NODE_EXAMPLES = [
  ['vm', /^from the host\n\n[1-9]\d*\n/],
  ['own-emulator', /\d\d:\d\d:\d\d/],
  ['snapshots', /^INIT .*paused for \d+ ms\nfalse\n$/s],
  ['conformance', /pass [1-9]\d\n.*fail 0\n/s],
  ['limits', /^1 dd: .*No space left on device\n.*\ntimeout\n$/s],
  ['migration', /^paused for \d+ ms\n[1-9]\d*\n/],
  ['session-only', /^from the host\n/],
  [
    'web-directory',
    /^\.\n\.\/docs\n\.\/docs\/read me\.txt\n\.\/hello\.txt\nfrom the web\n.*hello\.txt: Read-only file system\n\n$/,
  ],
] as const;

/** Test files for `node:test` among the examples; the others are run by their runners. */
export const TEST_EXAMPLES = ['node', 'database', 'faults', 'module'];
/** Those for each runner. */
export const RUNNER_EXAMPLES = {
  'node:test': 'node.test.ts',
  mocha: 'mocha.test.ts',
  vitest: 'vitest.test.ts',
  jest: 'jest.test.mjs',
} as const;

/** What a visitor of own-page.html does: gives it a file, and reads that in the guest. */
export async function visitOwnPage(page: Page): Promise<void> {
  await page.waitForFunction('window.emulator');
  await page.evaluate(
    `window.shown = ''; emulator.add_listener('serial0-output-byte', (byte) => (shown += String.fromCharCode(byte)))`,
  );
  await page.setInputFiles('input', {
    name: 'hello.txt',
    mimeType: 'text/plain',
    buffer: Buffer.from('from the visitor\n'),
  });
  await page.waitForFunction(`shown.includes('guest:~#')`);
  await page.evaluate(`emulator.serial0_send('mount -t virtiofs share /mnt && cat /mnt/hello.txt\\n')`);
  await page.waitForFunction(`shown.includes('\\nfrom the visitor')`);
}
