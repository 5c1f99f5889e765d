import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

/** Without indentation: what is within something else begins at the margin in a document. */
const flat = (text: string) => text.replace(/^ +/gm, '');

describe('README and the guide to filesystems', () => {
  it('show examples that are run', () => {
    const sources = ['filesystems', 'node', 'page'].flatMap((name) =>
      readdirSync(join(ROOT, 'examples', name)).map((file) => readFileSync(join(ROOT, 'examples', name, file), 'utf8')),
    );
    const shown = ['README.md', 'docs/write-your-own-filesystem.md'].flatMap((name) =>
      [...readFileSync(join(ROOT, name), 'utf8').matchAll(/```ts\n(.*?)```/gs)].map((match) => match[1]!),
    );
    expect(shown).to.have.length.at.least(11);
    for (const text of shown)
      expect(
        sources.some((source) => flat(source).includes(flat(text))),
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

describe('all documents', () => {
  const documents = (readdirSync(ROOT, { recursive: true }) as string[]).filter(
    // The last one speaks of Linux's own folders.
    (path) => path.endsWith('.md') && !/(^|\/)(node_modules|dist|build|guest-images)\/|driver-cover-letter/.test(path),
  );

  it('name files and folders that are there', () => {
    expect(documents).to.include.members(['README.md', 'CONTRIBUTING.md', 'docs/architecture.md']);
    const gone = documents.flatMap((document) => {
      const text = readFileSync(join(ROOT, document), 'utf8');
      const places = [
        ...text.matchAll(/(?<![\w./-])(?:device|docs|examples|guest-images|harness|scripts|test|web)\/[\w./-]*[\w/]/g),
      ].map(([place]) => place);
      const links = [...text.matchAll(/\]\((?![a-z]+:|#)([^)#]+)/g)].map(([, link]) => join(dirname(document), link!));
      return [...places, ...links]
        .filter((place) => !['', '.ts', '.test.ts'].some((suffix) => existsSync(join(ROOT, place + suffix))))
        .map((place) => `${document}: ${place}`);
    });
    expect(gone).to.deep.equal([]);
  });
});
