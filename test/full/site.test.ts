import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

describe('the site', () => {
  it('is built, with words on all that is exported, and without a link that leads nowhere', () => {
    const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'site'], { cwd: ROOT, encoding: 'utf8' });
    expect(status, stdout + stderr).to.equal(0);
    expect(stdout).to.match(/[1-9]\d\d links lead to where they should/);
    for (const name of ['index', 'docs/index', 'docs/commands', 'modules/v86-virtiofs', 'page/index'])
      expect(existsSync(join(ROOT, 'build/site', `${name}.html`)), name).to.equal(true);
  });
});
