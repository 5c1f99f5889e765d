import { expect } from 'chai';
import { runTests } from '../support/runners/index.ts';

describe('the test kit, for longer', function () {
  this.timeout(1_800_000);

  it('kills a database at 200 moments of one run', async () => {
    const { code, output } = await runTests(
      'node:test',
      ['examples/testing/database.test.ts'],
      { MOMENTS: '200' },
      1_700_000,
    );
    expect(code, output).to.equal(0);
    expect(output).to.match(/kill -9 at 200 moments/);
  });
});
