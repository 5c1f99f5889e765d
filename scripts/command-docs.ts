// Writes docs/commands.md and the man page from what commander knows of the command line: `npm run docs`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EXIT_CODES } from '../harness/node/cli/options.ts';
import { type CommandText, commandTexts, type Term } from './commands.ts';
import { MAN_PAGE, manPage } from './man-page.ts';

export const COMMAND_DOCS = join(import.meta.dirname, '../docs/commands.md');

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '\\<');

function table(heading: string, terms: readonly Term[]): string {
  const rows = terms.map(({ term, text }) => `| \`${term.replaceAll('|', '\\|')}\` | ${cell(text)} |\n`);
  return rows.length ? `| ${heading} | |\n|---|---|\n${rows.join('')}` : '';
}

function afterOptions({ examples, notes }: CommandText): string {
  return [
    ...(examples.length ? [`\`\`\`sh\n${examples.join('\n')}\n\`\`\``] : []),
    ...notes.map((text) => text.replaceAll('<', '\\<')),
  ].join('\n\n');
}

export function commandDocs(): string {
  const { commands } = commandTexts();
  const sections = commands.map((command) =>
    [
      `## ${command.name}`,
      cell(command.description),
      `    ${command.usage}`,
      table('Arguments', command.arguments),
      [...command.options].map(([heading, terms]) => table(heading, terms)).join('\n'),
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
${commands.map(({ name, summary }) => `| [${name}](#${name.replaceAll(' ', '-')}) | ${cell(summary)} |`).join('\n')}

${sections.join('\n\n')}

## Exit codes

${EXIT_CODES.replace(/^Exit codes: t/, 'T')} [More of them](going-on.md#when-it-ends).
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(COMMAND_DOCS, commandDocs());
  writeFileSync(MAN_PAGE, manPage());
}
