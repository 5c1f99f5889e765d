import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';

const ROOT = join(import.meta.dirname, '../..');

describe('copies of bytes', () => {
  it("are made by `copyOf`, and those of arrays by `[...all]`: the `slice()` of Node's Buffer, which is a Uint8Array, is a view", () => {
    const found = ['device', 'guest-images', 'harness', 'web'].flatMap((part) =>
      (readdirSync(join(ROOT, part), { recursive: true }) as string[])
        .filter((path) => path.endsWith('.ts') && /\.slice\(\)/.test(readFileSync(join(ROOT, part, path), 'utf8')))
        .map((path) => join(part, path)),
    );
    expect(found).to.deep.equal([]);
  });
});
