import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

describe('README', () => {
  it('shows examples that are run', () => {
    const sources = ['node', 'page'].flatMap((name) =>
      readdirSync(join(ROOT, 'examples', name)).map((file) => readFileSync(join(ROOT, 'examples', name, file), 'utf8')),
    );
    const shown = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/```ts\n(.*?)```/gs)].map(
      (match) => match[1]!,
    );
    expect(shown).to.have.length.at.least(3);
    for (const text of shown)
      expect(
        sources.some((source) => source.includes(text)),
        text,
      ).to.equal(true);
  });
});

describe('SECURITY.md', () => {
  it('names tests that are there, one for each promise', () => {
    const tests = (readdirSync(join(ROOT, 'test'), { recursive: true }) as string[]).map(
      (path) => `test/${path.replaceAll('\\', '/')}`,
    );
    const rows = readFileSync(join(ROOT, 'SECURITY.md'), 'utf8')
      .split('\n')
      .filter((line) => /^\| [^|-]/.test(line) && !line.includes('| test |'));
    expect(rows).to.have.length.at.least(15);
    for (const row of rows) {
      const named = [...row.split('|')[2]!.matchAll(/`([a-z/-]+)`/g)].map((match) => match[1]!);
      expect(named, row).not.to.deep.equal([]);
      for (const name of named)
        expect(
          tests.some(
            (path) => path.endsWith(`${name.startsWith('test/') ? name : `/${name}`}.test.ts`) || path === name,
          ),
          `${name} in ${row}`,
        ).to.equal(true);
    }
  });
});
