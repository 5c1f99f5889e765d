import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const root = join(import.meta.dirname, '../../..');

describe('docs/virtio-conformance.md', () => {
  const tests = readdirSync(join(root, 'test/device'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => readFileSync(join(root, 'test/device', name), 'utf8'))
    .join('\n');
  const rows = readFileSync(join(root, 'docs/virtio-conformance.md'), 'utf8')
    .split('\n')
    .filter((line) => /^\| (?!statement)/.test(line));

  it('names a test for each statement, and each test is there', () => {
    expect(rows.length).to.be.greaterThan(40);
    for (const row of rows) {
      const names = [
        ...row
          .split('|')
          .at(-2)!
          .matchAll(/`([^`]+)`/g),
      ].map(([, name]) => name!);
      expect(names, row).not.to.deep.equal([]);
      for (const name of names) expect(tests, row).to.contain(name);
    }
  });
});
