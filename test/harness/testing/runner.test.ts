import { expect } from 'chai';
import { runnerTest } from '../../../harness/testing/runner.ts';

describe('what a test runner says of a test', () => {
  const { signal } = new AbortController();

  it('is read, whichever runner it is', () => {
    const node = { name: 'a test', signal };
    expect(runnerTest(undefined, [node])).to.deep.equal({ name: 'a test', signal, context: node });
    const newer = { ...node, fullName: 'suite > a test' };
    expect(runnerTest(undefined, [newer]).name).to.equal('suite > a test');
    // vitest's is a function that throws.
    const vitest = Object.assign(() => expect.fail('it was called'), { task: { name: 'a test' }, signal });
    expect(runnerTest(undefined, [vitest])).to.deep.include({ name: 'a test', signal });
    const limits: number[] = [];
    const mocha = { test: { fullTitle: () => 'suite a test' }, timeout: (ms: number) => limits.push(ms) };
    expect(runnerTest(mocha, [])).to.deep.equal({ name: 'suite a test', signal: undefined, context: mocha });
    expect(limits).to.deep.equal([0]);
  });

  it('may be nothing, as of jest, or anything', () => {
    for (const given of [undefined, null, 1, 'text', {}, { name: 1 }, { task: null }, () => {}])
      expect(runnerTest(given, [given])).to.deep.equal({ name: '', signal: undefined, context: given });
  });
});
