import { expect } from 'chai';
import { makeProgram } from '../../../../harness/node/cli/program.ts';

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
