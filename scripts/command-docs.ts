// Writes docs/commands.md from what commander knows of the command line: `npm run docs`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command, Option } from 'commander';
import { EXIT_CODES } from '../harness/node/cli/options.ts';
import { makeProgram } from '../harness/node/cli/program.ts';

export const COMMAND_DOCS = join(import.meta.dirname, '../docs/commands.md');

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '\\<');

function argumentTable(command: Command): string {
  const help = command.createHelp();
  const rows = help
    .visibleArguments(command)
    .map((argument) => `| \`${help.argumentTerm(argument)}\` | ${cell(help.argumentDescription(argument))} |\n`);
  return rows.length ? `| Arguments | |\n|---|---|\n${rows.join('')}` : '';
}

function optionTables(command: Command): string {
  const help = command.createHelp();
  const groups = new Map<string, Option[]>();
  for (const option of help.visibleOptions(command)) {
    if (option.long === '--help') continue;
    const heading = option.helpGroupHeading ?? 'Options:';
    groups.set(heading, [...(groups.get(heading) ?? []), option]);
  }
  return [...groups]
    .map(([heading, options]) => {
      const rows = options.map(
        (option) =>
          `| \`${help.optionTerm(option).replaceAll('|', '\\|')}\` | ${cell(help.optionDescription(option))} |`,
      );
      return `| ${heading.replace(/:$/, '')} | |\n|---|---|\n${rows.join('\n')}\n`;
    })
    .join('\n');
}

/** What the help has after the options: notes, then examples. The exit codes, which many commands have, stand once at the end of the page. */
function afterOptions(command: Command): string {
  let told = '';
  command.configureOutput({ writeOut: (text) => (told += text) });
  command.outputHelp();
  const [notes = '', examples = ''] = told
    .slice(command.helpInformation().length)
    .replace(EXIT_CODES, '')
    .split(/^Examples?:\n/m);
  const [lines = '', ...more] = examples.split(/\n\n/);
  const texts = [notes, ...more].map((text) => text.trim()).filter(Boolean);
  const code = lines
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean);
  return [
    ...(code.length ? [`\`\`\`sh\n${code.join('\n')}\n\`\`\``] : []),
    ...texts.map((text) => text.replaceAll('<', '\\<')),
  ].join('\n\n');
}

export function commandDocs(): string {
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
  const commands = commandsOf(program);
  /** `image build` */
  const nameOf = (command: Command): string =>
    command.parent === program ? command.name() : `${nameOf(command.parent!)} ${command.name()}`;
  const sections = commands.map((command) =>
    [
      `## ${nameOf(command)}`,
      cell(help.commandDescription(command)),
      `    ${help.commandUsage(command)}`,
      argumentTable(command),
      optionTables(command),
      afterOptions(command),
    ]
      .map((part) => part.trimEnd())
      .filter(Boolean)
      .join('\n\n'),
  );
  return `# Commands

Written by \`npm run docs\` from the command line's own definitions; a test compares. What holds for several commands, and the fields of \`--json\`, are in
[command-line.md](command-line.md).

| command | what it does |
|---|---|
${commands.map((command) => `| [${nameOf(command)}](#${nameOf(command).replaceAll(' ', '-')}) | ${cell(help.subcommandDescription(command))} |`).join('\n')}

${sections.join('\n\n')}

## Exit codes

${EXIT_CODES.replace(/^Exit codes: t/, 'T')} [More of them](going-on.md#when-it-ends).
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(COMMAND_DOCS, commandDocs());
