import { expect } from 'chai';
import { findBreaches, findCircles, importsOf, type Layer, readLayers } from '../../scripts/layers.ts';

const TABLE = [
  '| Part | may use | packages |',
  '|---|---|---|',
  '| `device/bytes.ts` | | |',
  '| `device/fs/` | `device/bytes.ts` | |',
  '| `device/fs/memfs/` | `device/fs/` | `memfs` |',
  '| `harness/` | `device/` | `node:` `ora` |',
  '| `test/` | `device/` `harness/` | `*` |',
].join('\n');

describe('the arrows of docs/architecture.md', () => {
  let layers: Layer[];
  before(() => (layers = readLayers(TABLE)));

  const breaches = (imports: Record<string, string[]>) => findBreaches(layers, new Map(Object.entries(imports)));
  const circles = (imports: Record<string, string[]>) => findCircles(layers, new Map(Object.entries(imports)));

  it('allow what a row names, and its own part', () => {
    expect(
      breaches({
        'device/bytes.ts': [],
        'device/fs/tree/tree.ts': ['device/bytes.ts', 'device/fs/names.ts'],
        'device/fs/names.ts': [],
        'device/fs/memfs/views.ts': ['device/fs/names.ts', 'memfs', 'memfs/lib/node.js'],
        'harness/vm.ts': ['device/fs/memfs/views.ts', 'node:fs', 'node:fs/promises', 'ora'],
        'test/vm.test.ts': ['harness/vm.ts', 'chai'],
      }),
    ).to.deep.equal([]);
  });

  for (const [from, to] of [
    ['device/bytes.ts', 'device/fs/names.ts'],
    ['device/fs/names.ts', 'device/fs/memfs/views.ts'],
    ['device/fs/names.ts', 'harness/vm.ts'],
    ['device/fs/names.ts', 'memfs'],
    ['device/fs/memfs/views.ts', 'memfs-extra'],
    ['device/fs/memfs/views.ts', 'device/bytes.ts'],
    ['device/fs/names.ts', 'node:fs'],
    ['harness/vm.ts', 'oracle'],
    ['harness/vm.ts', 'test/vm.test.ts'],
    ['harness/vm.ts', 'web/page.ts'],
  ] as const)
    it(`forbid ${from} → ${to}`, () => {
      const files = { 'device/fs/memfs/views.ts': [], 'harness/vm.ts': [], 'test/vm.test.ts': [] };
      expect(breaches({ ...files, 'device/fs/names.ts': [], [from]: [to] })).to.deep.equal([`${from} → ${to}`]);
    });

  it('know every file', () => {
    expect(breaches({ 'web/page.ts': [] })).to.deep.equal(['web/page.ts is in no row of the table']);
  });

  it('never point upwards', () => {
    const row = '| `device/fuse/` | `harness/agent/` | |';
    expect(() => readLayers(TABLE.replace('| `harness/`', `${row}\n| \`harness/\``))).to.throw(
      'device/fuse/ may use harness/agent/, which no row above it has',
    );
    expect(() => readLayers(`${TABLE}\n${row}`)).not.to.throw();
    expect(() => readLayers('no table')).to.throw('has no table');
  });

  it('make no circles among the folders of a part', () => {
    const [a, b, c] = ['harness/a/one.ts', 'harness/b/two.ts', 'harness/c/three.ts'];
    expect(circles({ [a]: [b], [b]: [c], [c]: ['harness/vm.ts'], 'harness/vm.ts': [a] })).to.deep.equal([]);
    const circle = ['harness/a/ → harness/b/ → harness/c/ → harness/a/'];
    expect(circles({ [a]: [b], [b]: [c], [c]: [a] })).to.deep.equal(circle);
    expect(circles({ [c]: [a], [b]: [c], [a]: [b] })).to.deep.equal(circle);
    expect(
      circles({
        'device/fs/names.ts': ['device/fs/memfs/views.ts'],
        'device/fs/memfs/views.ts': ['device/fs/names.ts'],
      }),
    ).to.deep.equal([]);
  });

  it('are found in every kind of import', () => {
    const source = `
      import type { A } from './a.ts';
      import { type B } from "../b.ts";
      import 'c';
      export * from '../../d.ts';
      export type { E } from './e/e.ts';
      const f = await import('node:f');
      // import './comment.ts';
      const text = "import './text.ts'";`;
    expect(importsOf('device/fs/file.ts', source)).to.deep.equal([
      'device/fs/a.ts',
      'device/b.ts',
      'c',
      'd.ts',
      'device/fs/e/e.ts',
      'node:f',
    ]);
    expect(() => importsOf('device/broken.ts', 'import {')).to.throw('device/broken.ts: ');
  });
});
