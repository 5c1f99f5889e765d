import { expect } from 'chai';
import fc from 'fast-check';
import { hashBytes, hashName } from '../../../device/filesystems/memory/name-hash.ts';
import { NameTable } from '../../../device/filesystems/memory/name-table.ts';
import { encodeName } from '../../../device/fs/names.ts';

interface Row {
  name: string;
  number: number;
}

/** Names by cookie, which are found by hashes that tell few of them apart. */
class Table extends NameTable<string> {
  readonly rows = new Map<number, Row>();

  readonly hash: (name: string) => number;

  constructor(hash: (name: string) => number) {
    super();
    this.hash = hash;
  }

  protected override isNamed(row: number, name: string): boolean {
    return this.rows.get(this.cookieAt(row))!.name === name;
  }

  add(name: string, number: number, cookie: number): void {
    this.rows.set(cookie, { name, number });
    this.put(number, cookie, this.hash(name));
  }

  drop(name: string): void {
    const row = this.find(this.hash(name), name);
    this.rows.delete(this.cookieAt(row));
    this.remove(row);
  }

  check(names: readonly string[]): void {
    const ordered = [...this.rows].sort(([a], [b]) => a - b);
    const found: [number, Row][] = [];
    for (let row = this.rowAfter(0); row >= 0; row = this.rowAfter(this.cookieAt(row), row))
      found.push([this.cookieAt(row), { name: this.rows.get(this.cookieAt(row))!.name, number: this.numberAt(row) }]);
    expect(found).to.deep.equal(ordered);
    expect(this.length).to.equal(ordered.length);
    const byName = new Map(ordered.map(([cookie, { name }]) => [name, cookie]));
    for (const name of names) {
      const row = this.find(this.hash(name), name);
      expect(row < 0 ? undefined : this.cookieAt(row), name).to.equal(byName.get(name));
    }
    for (const [cookie] of ordered) expect(this.cookieAt(this.rowOfCookie(cookie))).to.equal(cookie);
  }
}

const NAMES = Array.from({ length: 60 }, (_, n) => `name ${n}`);
const HASHES: Record<string, (name: string) => number> = {
  'that are good': hashName,
  'of three values': (name) => hashName(name) % 3,
  'that are all at the end of the table': () => -1,
};

describe('a table of names', () => {
  for (const [kind, hash] of Object.entries(HASHES)) {
    it(`has what was put there and not removed, by hashes ${kind}`, () => {
      const step = fc.record({ name: fc.constantFrom(...NAMES), isDown: fc.boolean() });
      fc.assert(
        fc.property(fc.array(step, { minLength: 1, maxLength: 300 }), fc.boolean(), (steps, isOdd) => {
          const table = new Table(hash);
          let cookie = 1000;
          steps.forEach(({ name, isDown }, n) => {
            if (table.find(hash(name), name) >= 0) table.drop(name);
            else if (isDown && isOdd) {
              // As when a snapshot brings back what was there earlier.
              table.add(name, n + 1, ++cookie - 1000);
              table.add(`${name}'`, n + 1, ++cookie);
              expect(table.order()).to.equal(undefined);
              table.drop(`${name}'`);
            } else table.add(name, n + 1, ++cookie);
          });
          table.check(NAMES);
        }),
        { numRuns: 60 },
      );
    });
  }

  it('tells of a cookie that is there twice', () => {
    const table = new Table(hashName);
    [5, 3, 9, 3, 7].forEach((cookie, n) => table.put(n + 1, cookie, n));
    expect(table.order()).to.equal(3);
  });

  it('has a hash of each name that is that of its bytes', () => {
    for (const name of ['a', 'abcd', 'ä', '\udc80', 'x'.repeat(255), 'Ā'.repeat(300)])
      expect(hashName(name), name).to.equal(hashBytes(encodeName(name)));
    const hashes = new Set(Array.from({ length: 10_000 }, (_, n) => hashName(`${n}`)));
    expect(hashes.size).to.be.above(9990);
  });
});
