import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { NODE_EXAMPLES } from '../../support/examples.ts';

const ROOT = join(import.meta.dirname, '../../..');

/** As they are written, on the sources: test/full/package.test.ts runs them on the package. */
describe('the examples for Node', function () {
  this.timeout(300_000);
  for (const [name, says] of NODE_EXAMPLES) {
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
