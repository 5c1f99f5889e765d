// What commander knows of the command line, for docs/commands.md and the man page.
import type { Command, Option } from 'commander';
import { EXIT_CODES } from '../harness/node/cli/options.ts';
import { makeProgram } from '../harness/node/cli/program.ts';

/** A name and what it means. */
export interface Term {
  term: string;
  text: string;
}

export interface CommandText {
  /** `image build` */
  name: string;
  summary: string;
  description: string;
  usage: string;
  arguments: Term[];
  /** Options by their headings. */
  options: Map<string, Term[]>;
  /** Lines of a shell. */
  examples: string[];
  /** Paragraphs. The exit codes, which many commands have, are not among them. */
  notes: string[];
}

/** All commands that are not hidden, those with others below them left out. */
export function commandTexts(): { description: string; commands: CommandText[] } {
  // The default of --store is in it, which is this user's own.
  const before = process.env['XDG_DATA_HOME'];
  process.env['XDG_DATA_HOME'] = '~/.local/share';
  const program = makeProgram();
  if (before === undefined) delete process.env['XDG_DATA_HOME'];
  else process.env['XDG_DATA_HOME'] = before;
  const help = program.createHelp();
  const commandsOf = (command: Command): Command[] => {
    const below = help.visibleCommands(command).filter((each) => each.name() !== 'help');
    return below.length ? below.flatMap(commandsOf) : [command];
  };
  const nameOf = (command: Command): string =>
    command.parent === program ? command.name() : `${nameOf(command.parent!)} ${command.name()}`;
  return {
    description: program.description(),
    commands: commandsOf(program).map((command) => ({
      name: nameOf(command),
      summary: help.subcommandDescription(command),
      description: help.commandDescription(command),
      usage: help.commandUsage(command),
      arguments: help.visibleArguments(command).map((argument) => ({
        term: help.argumentTerm(argument),
        text: help.argumentDescription(argument),
      })),
      options: optionsOf(command),
      ...afterOptions(command),
    })),
  };
}

function optionsOf(command: Command): Map<string, Term[]> {
  const help = command.createHelp();
  const groups = new Map<string, Term[]>();
  const termOf = (option: Option) => ({ term: help.optionTerm(option), text: help.optionDescription(option) });
  for (const option of help.visibleOptions(command)) {
    if (option.long === '--help') continue;
    const heading = (option.helpGroupHeading ?? 'Options:').replace(/:$/, '');
    groups.set(heading, [...(groups.get(heading) ?? []), termOf(option)]);
  }
  return groups;
}

/** What the help has after the options: notes, then examples. */
function afterOptions(command: Command): Pick<CommandText, 'examples' | 'notes'> {
  let told = '';
  command.configureOutput({ writeOut: (text) => (told += text) });
  command.outputHelp();
  const [notes = '', examples = ''] = told
    .slice(command.helpInformation().length)
    .replace(EXIT_CODES, '')
    .split(/^Examples?:\n/m);
  const [lines = '', ...more] = examples.split(/\n\n/);
  return {
    examples: lines
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean),
    notes: [notes, ...more].map((text) => text.trim()).filter(Boolean),
  };
}
