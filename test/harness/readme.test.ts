import { expect } from 'chai';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

describe('README', () => {
  it('shows examples that are run', () => {
    const sources = ['node', 'page'].flatMap((name) => readdirSync(join(ROOT, 'examples', name)).map((file) => readFileSync(join(ROOT, 'examples', name, file), 'utf8')));
    const shown = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1]!);
    expect(shown).to.have.length.at.least(3);
    for (const text of shown) expect(sources.some((source) => source.includes(text)), text).to.equal(true);
  });
});
