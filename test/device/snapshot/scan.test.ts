import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { PAGE_SIZE } from '../../../device/bytes.ts';
import { RamScanner } from '../../../device/snapshot/scan/ram-scanner.ts';
import { buildScan } from '../../../scripts/build-scan.ts';

const BASE = 65536 + 128;
const PAGES = 64;

describe('RAM scanner', () => {
  const memory = new WebAssembly.Memory({ initial: 8 });
  const bytes = () => new Uint8Array(memory.buffer, BASE, PAGES * PAGE_SIZE);
  let scanner: RamScanner;
  beforeEach(() => {
    bytes().fill(0);
    scanner = new RamScanner({ memory, base: BASE, size: PAGES * PAGE_SIZE });
  });

  it('takes pages for zeros at first', () => {
    expect([...scanner.scan()]).to.deep.equal([]);
    expect(scanner.isZero(5)).to.equal(true);
  });

  it('finds any single byte that has changed, and only its page', () => {
    for (let at = 0; at < 3 * PAGE_SIZE; at += 7) {
      bytes()[at] = 1 + (at % 255);
      expect([...scanner.scan()], `byte ${at}`).to.deep.equal([Math.floor(at / PAGE_SIZE)]);
    }
    expect([...scanner.scan()]).to.deep.equal([]);
  });

  it('tells bits and places apart: every one gives another hash', () => {
    for (let at = 0; at < PAGE_SIZE; at += 61) {
      for (let bit = 0; bit < 8; bit++) {
        bytes().fill(0);
        bytes()[at] = 1 << bit;
        expect([...scanner.scan()], `byte ${at} bit ${bit}`).to.deep.equal([0]);
      }
    }
  });

  it('sees words that changed places, and pages that did', () => {
    const page = crypto.getRandomValues(new Uint8Array(PAGE_SIZE));
    bytes().set(page);
    bytes().set(
      page.map((byte) => byte ^ 1),
      PAGE_SIZE,
    );
    expect([...scanner.scan()]).to.deep.equal([0, 1]);
    bytes().copyWithin(0, 8, 16);
    expect([...scanner.scan()]).to.deep.equal([0]);
    bytes().set(
      page.map((byte) => byte ^ 1),
      0,
    );
    bytes().set(page, PAGE_SIZE);
    expect([...scanner.scan()]).to.deep.equal([0, 1]);
  });

  it('knows pages of zeros again', () => {
    bytes().fill(9, 0, 2 * PAGE_SIZE);
    scanner.scan();
    expect([scanner.isZero(0), scanner.isZero(2)]).to.deep.equal([false, true]);
    bytes().fill(0, 0, PAGE_SIZE);
    expect([...scanner.scan()]).to.deep.equal([0]);
    expect([scanner.isZero(0), scanner.isZero(1)]).to.deep.equal([true, false]);
  });

  it('goes on when the memory has grown, and looks at nothing beside RAM', () => {
    bytes()[0] = 1;
    scanner.scan();
    memory.grow(1);
    const all = new Uint8Array(memory.buffer);
    all[BASE - 1] = 1;
    all[BASE + PAGES * PAGE_SIZE] = 1;
    expect([...scanner.scan()]).to.deep.equal([]);
    bytes()[PAGE_SIZE * (PAGES - 1)] = 3;
    expect([...scanner.scan()]).to.deep.equal([PAGES - 1]);
  });

  it('is what its source says', async () => {
    const committed = readFileSync(new URL('../../../device/snapshot/scan/scan-wasm.ts', import.meta.url), 'utf8');
    expect(committed).to.equal(await buildScan());
  });
});
