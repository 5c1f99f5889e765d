import { expect } from 'chai';
import { makeProgram } from '../../../../harness/node/cli/program.ts';
import { COMMANDS, has, nameOf } from '../../../support/commands.ts';

/** Commands that have no result of their own to print as JSON, and what their stdout is. */
const WITHOUT: Record<string, string> = {
  shell: 'of the shell in the guest',
  freeze: 'of the command in the guest',
  restore: 'of the command in the guest',
  suspend: 'of the command in the guest',
  wake: 'of the command in the guest',
  migrate: 'of the command in the guest',
  serve: 'of the command in the guest',
  daemon: 'nothing',
  token: 'the token',
  completion: 'a script for a shell',
  demo: 'a story',
};

describe('help', () => {
  for (const command of makeProgram().commands) {
    it(`of ${command.name()} has an example that begins with its name`, () => {
      let told = '';
      command.configureOutput({ writeOut: (text) => (told += text) });
      command.outputHelp();
      expect(told).to.match(new RegExp(`Examples?:\\n(.*\\n)*.*v86-virtiofs ${command.name()}\\b`));
    });
  }
});

describe('what commands print', () => {
  for (const command of COMMANDS)
    it(`of ${nameOf(command)}: ${WITHOUT[nameOf(command)] ?? 'JSON, where that is wanted'}`, () =>
      expect(has(command, '--json')).to.equal(!(nameOf(command) in WITHOUT)));
});
