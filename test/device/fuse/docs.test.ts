import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { OPERATIONS } from '../../../device/fuse/opcodes.ts';
import { FUSE_DOCS, fuseDocs } from '../../../scripts/fuse-docs.ts';

describe('docs/fuse-opcodes.md', () => {
  it('is what the code says: else run `npm run docs`', () =>
    expect(readFileSync(FUSE_DOCS, 'utf8')).to.equal(fuseDocs()));

  it('has a row for each opcode that is served', () => {
    for (const { opcode, name } of OPERATIONS.values()) expect(fuseDocs()).to.include(`| ${opcode} | ${name} |`);
  });
});
