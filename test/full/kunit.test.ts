import { expect } from 'chai';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { withMinimalKernel } from '../../guest-images/minimal-kernel.ts';
import { useCli } from '../support/cli.ts';

const CONFIG = new URL('../support/kernels/kunit.config', import.meta.url).pathname;

describe('KUnit', function () {
  this.timeout(60 * 60_000);
  const { run } = useCli();

  it('in a kernel with tests of lists: its results are told as TAP, all of them', async () => {
    const { kernel } = await withMinimalKernel(await ensureGuestImage(), { config: CONFIG });
    const { code, stdout } = await run(['run', '--kernel', kernel, '--no-cache', '--tap', '--', 'dmesg']);
    expect(code, stdout).to.equal(0);
    expect(stdout)
      .to.match(/^# Subtest: list-kunit-test$/m)
      .and.to.match(/^ {4}ok 39 - list_test_list_for_each_entry_reverse$/m);
    expect(stdout).to.match(/^ {4}ok \d+ - example_skip_test # SKIP /m);
  });
});
