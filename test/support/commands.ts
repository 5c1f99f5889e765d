import type { Command } from 'commander';
import { makeProgram } from '../../harness/node/cli/program.ts';

/** `image build` */
export const nameOf = (command: Command): string =>
  command.parent?.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();
const commandsOf = (command: Command): Command[] =>
  command.commands.length ? command.commands.flatMap(commandsOf) : [command];
/** `--json` say. */
export const has = (command: Command, flag: string) => command.options.some(({ long }) => long === flag);

/** All commands that do something. */
export const COMMANDS = commandsOf(makeProgram());
