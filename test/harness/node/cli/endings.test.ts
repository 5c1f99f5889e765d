import { expect } from 'chai';
import { makeProgram } from '../../../../harness/node/cli/program.ts';
import { endingRows } from '../../../support/cli-endings.ts';

describe('command line: test/full/cli-endings', () => {
  it('has a row for each command', () => {
    const names = makeProgram().commands.flatMap((command) =>
      command.commands.length ? command.commands.map((sub) => [command.name(), sub.name()]) : [[command.name()]],
    );
    const rows = endingRows('/nowhere').map(({ args }) => args);
    const missing = names.filter((name) => !rows.some((args) => name.every((word, n) => args[n] === word)));
    expect(missing.map((name) => name.join(' '))).to.deep.equal([]);
  });
});
