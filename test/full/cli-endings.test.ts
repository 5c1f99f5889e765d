import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useCli } from '../support/cli.ts';
import { ENDINGS, type EndingRow, endingRows, endWith, interrupt } from '../support/cli-endings.ts';

describe('command line: every command, whatever becomes of its stdio, and interrupted', function () {
  this.timeout(1_200_000);
  const { run } = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'cli-endings-'));
  after(() => {
    for (const path of [directory, `${directory}.migrations`]) rmSync(path, { recursive: true, force: true });
  });
  const at = (name: string) => join(directory, name);
  const store = ['--store', at('store')];

  const rows = endingRows(directory);

  before(async () => {
    expect((await run(['freeze', ...store, '--name', 'base'])).code).to.equal(0);
    expect((await run(['export', ...store, 'base', at('base.layer')])).code).to.equal(0);
    expect((await run(['import', '--store', at('other'), at('base.layer')])).code).to.equal(0);
    mkdirSync(at('tree/below'), { recursive: true });
    expect((await run(['image', 'build', at('tree'), at('tree.image')])).code).to.equal(0);
    expect((await run(['run', '--record', at('requests'), '--', 'ls'])).code).to.equal(0);
  });

  const inParallel = async (action: (row: EndingRow) => Promise<void>) => {
    const left = [...rows];
    await Promise.all(
      [0, 1].map(async () => {
        for (let row = left.shift(); row; row = left.shift()) await action(row);
      }),
    );
    const { code, stderr } = await run(['verify', ...store]);
    expect(code, stderr).to.equal(0);
  };

  for (const name of Object.keys(ENDINGS)) it(`when ${name}`, () => inParallel((row) => endWith(name, row)));

  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    it(`ended by ${signal}`, () => inParallel((row) => interrupt(row, signal)));
});
