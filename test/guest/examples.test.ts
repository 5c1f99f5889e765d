import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

/** As they are written, on the sources: test/full/package.test.ts runs them on the package. */
describe('the examples for Node', function () {
  this.timeout(300_000);
  for (const [name, says] of [
    ['vm', /^from the host\n\n[1-9]\d*\n/],
    ['own-emulator', /\d\d:\d\d:\d\d/],
    ['snapshots', /^INIT .*paused for \d+ ms\nfalse\n$/s],
    ['conformance', /pass [1-9]\d\n.*fail 0\n/s],
    ['migration', /^paused for \d+ ms\n[1-9]\d*\n/],
    ['session-only', /^from the host\n/],
    ['snapshot-tests', /pass 2\n.*fail 0\n/s],
    [
      'web-directory',
      /^\.\n\.\/docs\n\.\/docs\/read me\.txt\n\.\/hello\.txt\nfrom the web\n.*hello\.txt: Read-only file system\n\n$/,
    ],
  ] as const) {
    it(`${name}.ts`, async () => {
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ['--import', 'tsx', join(ROOT, 'examples/node', `${name}.ts`)],
        { cwd: ROOT },
      );
      expect(stdout).to.match(says);
    });
  }
  after(() => rm(join(ROOT, 'trace.json'), { force: true }));
});
