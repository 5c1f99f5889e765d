import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EXIT_CODES } from '../harness/node/cli/options.ts';
import { type CommandText, commandTexts, type Term } from './commands.ts';

/** package.json names it. */
export const MAN_PAGE = join(import.meta.dirname, '../docs/v86-virtiofs.1');
const ENVIRONMENT = join(import.meta.dirname, '../docs/environment.md');
/** Variables of the checkout's own commands. */
const OF_CHECKOUT = /of `npm run|makes a test|Rust toolchain/;

/** The manual of the command line, for man(7). */
export function manPage(): string {
  const { description, commands } = commandTexts();
  return [
    '.\\" Written by `npm run docs`.',
    '.TH V86\\-VIRTIOFS 1',
    '.SH NAME',
    `v86\\-virtiofs \\- ${roff('Linux guests that share directories over virtio-fs, and can be frozen')}`,
    '.SH SYNOPSIS',
    ...commands.flatMap(({ usage }) => ['.PP', bold(usage)]),
    '.SH DESCRIPTION',
    roff(description),
    '.SH COMMANDS',
    ...commands.flatMap(commandLines),
    '.SH EXIT STATUS',
    roff(EXIT_CODES.replace(/^Exit codes: t/, 'T')),
    '.SH ENVIRONMENT',
    ...environment().flatMap(termLines),
    '.SH SEE ALSO',
    '.BR virtiofsd (1),',
    '.BR mount (8)',
    '',
  ].join('\n');
}

function commandLines({ name, description, usage, arguments: args, options, examples, notes }: CommandText): string[] {
  return [
    `.SS ${roff(name)}`,
    bold(usage),
    '.PP',
    roff(description),
    ...args.flatMap(termLines),
    ...[...options].flatMap(([heading, terms]) => [
      ...(heading === 'Options' ? [] : ['.PP', `.I ${roff(heading)}`]),
      ...terms.flatMap(termLines),
    ]),
    ...notes.flatMap((text) => ['.PP', roff(text)]),
    ...(examples.length ? ['.PP', '.EX', ...examples.map((line) => `  ${roff(line)}`), '.EE'] : []),
  ];
}

function termLines({ term, text }: Term): string[] {
  return ['.TP', bold(term), roff(text)];
}

function bold(text: string): string {
  return `\\fB${roff(text)}\\fR`;
}

/** Text as it stands, whatever roff would make of it. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('’', "'")
    .replace(/^(?=[.'])/gm, '\\&')
    .replace(/\n+/g, '\n');
}

/** What docs/environment.md says of the command line's variables. */
function environment(): Term[] {
  const rows = readFileSync(ENVIRONMENT, 'utf8').matchAll(/^\| (`.*?) \| (.*?) \|(?: (.*?))? \|$/gm);
  const plain = (text: string) => text.replace(/ ?\(?\[([^\]]*\.md|[^\]]*)\]\([^)]*\)\)?/g, '').replaceAll('`', '');
  return [...rows].flatMap(([, name, meaning, fallback]) =>
    OF_CHECKOUT.test(meaning!)
      ? []
      : [{ term: plain(name!), text: `${plain(meaning!)}.${fallback ? ` Default: ${plain(fallback)}.` : ''}` }],
  );
}
