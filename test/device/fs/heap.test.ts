import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';

const SCRIPT = fileURLToPath(new URL('../../support/heap-kinds.ts', import.meta.url));

interface Measured {
  kind: string;
  /** Bytes. */
  charged: number;
  heap: number;
}

describe('what the quota charges, and what it takes of the heap', function () {
  this.timeout(180_000);
  let measured: Measured[];
  before(async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', '--import', 'tsx', SCRIPT]);
    measured = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Measured);
  });

  it('fills the quota with things of more than twenty kinds', () => {
    expect(measured).to.have.length.above(20);
    for (const { kind, charged } of measured) expect(charged, kind).to.be.above(7 << 20);
  });

  it('no kind takes more than 1.25 times what it is charged', () => {
    for (const { kind, charged, heap } of measured) expect(heap / charged, kind).to.be.at.most(1.25);
  });

  it('none is charged much more than it takes, but for pages that are not full', () => {
    for (const { kind, charged, heap } of measured)
      if (kind !== 'files of a byte') expect(charged / heap, kind).to.be.at.most(1.35);
  });
});
