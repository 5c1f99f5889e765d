import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { makeToken } from '../../device/index.ts';
import { makeProgram } from '../../harness/node/cli/program.ts';
import { useCli } from '../support/cli.ts';
import { ENDINGS, type EndingRow, endWith, interrupt } from '../support/cli-endings.ts';

describe('command line: every command, whatever becomes of its stdio, and interrupted', function () {
  this.timeout(1_200_000);
  const { run } = useCli();
  const directory = mkdtempSync(join(tmpdir(), 'cli-endings-'));
  after(() => {
    for (const path of [directory, `${directory}.migrations`]) rmSync(path, { recursive: true, force: true });
  });
  const at = (name: string) => join(directory, name);
  const store = ['--store', at('store')];
  const other = ['--store', at('other')];
  const say = ['--', 'echo', 'said'];
  const token = makeToken();

  const rows: EndingRow[] = [
    { args: ['run', '--save', at('saved.tar'), ...say], tells: true },
    { args: ['replay', '--json', at('requests')], tells: true },
    { args: ['shell'], input: 'echo said\n', tells: true },
    { args: ['freeze', ...store, ...say], tells: true },
    { args: ['restore', ...store, 'base', ...say], tells: true },
    { args: ['shell', ...store, 'base'], input: 'echo said\n', tells: true },
    { args: ['fork', ...store, 'base', ...say], tells: true },
    { args: ['wake', ...store, 'base', ...say], tells: true },
    { args: ['suspend', ...store, '--driver', 'stock'], tells: false, code: 125 },
    { args: ['list', ...store], tells: true },
    { args: ['inspect', ...store, '--files', 'base'], tells: true },
    { args: ['diff', ...store, 'base', 'base'], tells: true },
    { args: ['export', ...store, '--json', 'base', at('again.layer')], tells: true },
    { args: ['import', ...other, '--json', at('base.layer')], tells: true },
    { args: ['verify', ...store, '--json', 'base'], tells: true },
    { args: ['rename', ...store, 'base', 'base'], tells: false },
    { args: ['remove', ...other, '--json'], tells: false, code: 125 },
    { args: ['gc', ...other, '--json'], tells: true },
    { args: ['migrate', ...store, 'base', '--to', 'localhost:1', '--token', token], tells: false, code: 125 },
    { args: ['serve', '--incoming', 'nowhere'], tells: false, code: 125 },
    { args: ['settle', ...store, 'base', '--runs-here'], tells: false, code: 125 },
    { args: ['token'], tells: true },
    { args: ['completion', 'bash'], tells: true },
    { args: ['demo'], tells: true },
    { args: ['--help'], tells: true },
    { args: ['--version'], tells: true },
  ];

  before(async () => {
    expect((await run(['freeze', ...store, '--name', 'base'])).code).to.equal(0);
    expect((await run(['export', ...store, 'base', at('base.layer')])).code).to.equal(0);
    expect((await run(['import', ...other, at('base.layer')])).code).to.equal(0);
    expect((await run(['run', '--record', at('requests'), '--', 'ls'])).code).to.equal(0);
  });

  it('has a row for each', () => {
    const names = new Set(rows.map(({ args }) => args[0]));
    expect(
      makeProgram()
        .commands.map((command) => command.name())
        .filter((name) => !names.has(name)),
    ).to.deep.equal([]);
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
