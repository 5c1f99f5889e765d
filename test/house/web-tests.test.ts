import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '..');
const HELPERS = join('web', 'support.ts');

describe('tests of the page', () => {
  it('wait for what is saved from the press of its button on, which may come late on a busy machine: `Visit.download`', () => {
    const others = (readdirSync(ROOT, { recursive: true }) as string[])
      .filter((path) => /^(web|full)[/\\].*\.ts$/.test(path) && path !== HELPERS)
      .filter((path) => /waitForEvent\(\s*'download'/.test(readFileSync(join(ROOT, path), 'utf8')));
    expect(others).to.deep.equal([]);
  });
});

describe('workers of the page', () => {
  it('start no others, for which Firefox may wait for ever: `PageApi.serveImages`', () => {
    const place = join(ROOT, '../web/worker');
    const starting = (readdirSync(place, { recursive: true }) as string[])
      .filter((path) => path.endsWith('.ts'))
      .filter((path) => /new (Shared)?Worker\(/.test(readFileSync(join(place, path), 'utf8')));
    expect(starting).to.deep.equal([]);
  });
});
