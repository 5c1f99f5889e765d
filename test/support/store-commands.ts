import { expect } from 'chai';
import type { Cli } from './cli.ts';

/** For running commands of a store, which have to succeed. Gives their stdout. `location`: of the store, asked for at each command. */
export function commandsOf(cli: Cli, location: () => string) {
  return async (command: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await cli.run([command, '--store', location(), ...args]);
    expect(code, `${command} ${args.join(' ')}\n${stdout}${stderr}`).to.equal(0);
    return stdout;
  };
}
