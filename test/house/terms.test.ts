import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

function filesIn(directory: string, ending: RegExp): string[] {
  return readdirSync(join(ROOT, directory), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => join(directory, name));
}

/** Texts that people read: what is no comment, in programs. */
function textOf(file: string): string {
  const text = readFileSync(join(ROOT, file), 'utf8');
  return file.endsWith('.ts') ? text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '') : text;
}

describe('the terms of docs/terms.md', () => {
  const avoided = [...readFileSync(join(ROOT, 'docs/terms.md'), 'utf8').matchAll(/^\|[^|]+\|[^|]+\|([^|]+)\|$/gm)]
    .flatMap(([, words]) => words!.split(','))
    .map((words) => words.trim())
    .filter((words) => words && words !== 'not' && !/^-+$/.test(words));

  it('have no straight apostrophes in what the page says', () => {
    const found = ['page', 'embed', 'worker', 'protocol']
      .flatMap((directory) => filesIn(`web/${directory}`, /(?<!network-watch)\.ts$/))
      .flatMap((file) => [...textOf(file).matchAll(/\b[a-z]+n't\b/gi)].map(([words]) => `${file}: ${words}`));
    expect(found).to.deep.equal([]);
  });

  it('are used in the page, the command line and the documents, and no others in their place', () => {
    expect(avoided.length).to.be.above(30);
    const pattern = new RegExp(`\\b(?:${avoided.join('|')})\\b`, 'gi');
    const found = [
      ...filesIn('web', /\.(ts|html|md)$/),
      ...filesIn('harness/node/cli', /\.ts$/),
      ...filesIn('docs', /(?<!terms)\.md$/),
      ...filesIn('web/share', /\.txt$/),
      'README.md',
    ].flatMap((file) => [...textOf(file).matchAll(pattern)].map(([words]) => `${file}: ${words}`));
    expect(found).to.deep.equal([]);
  });
});
