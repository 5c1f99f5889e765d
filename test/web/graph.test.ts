import { expect } from 'chai';
import { layOut } from '../../web/page/timeline/graph.ts';

/** Rows as `id: lane`, with the lanes that join and those that pass. */
function rowsOf(parents: Record<string, string>, main: string, created: Record<string, number> = {}): string[] {
  const nodes = Object.entries(parents).map(([id, parent], n) => ({ id, parent, created: created[id] ?? -n }));
  return layOut(nodes, main).map(({ node, lane, hasChild, hasParent, joins, passing }) =>
    [
      `${node.id}: ${lane}`,
      hasChild ? 'child' : '',
      hasParent ? 'parent' : '',
      joins.length ? `joins ${joins.join(' ')}` : '',
      passing.length ? `passing ${passing.join(' ')}` : '',
    ]
      .filter(Boolean)
      .join(', '),
  );
}

describe('the page: the graph of the timeline', () => {
  it('is one line without branches', () => {
    expect(rowsOf({ now: 'b', b: 'a', a: '' }, 'now')).to.deep.equal([
      'now: 0, parent',
      'b: 0, child, parent',
      'a: 0, child',
    ]);
  });

  it('keeps the first lane for what leads to the present', () => {
    // After a rewind to a: what came of it before is newer than the present's parent.
    expect(rowsOf({ now: 'a', left: 'b', b: 'a', a: 'start', start: '' }, 'now')).to.deep.equal([
      'now: 0, parent',
      'left: 1, parent, passing 0',
      'b: 1, child, parent, passing 0',
      'a: 0, child, parent, joins 1',
      'start: 0, child',
    ]);
  });

  it('draws branches of branches, and those that nothing leads to', () => {
    expect(
      rowsOf({ now: 'c', x: 'b', y: 'b', c: 'a', b: 'a', other: '', a: '' }, 'now', { now: Infinity }),
    ).to.deep.equal([
      'now: 0, parent',
      'x: 1, parent, passing 0',
      'y: 2, parent, passing 0 1',
      'c: 0, child, parent, passing 1 2',
      'b: 1, child, parent, joins 2, passing 0',
      'other: 2, passing 0 1',
      'a: 0, child, joins 1',
    ]);
  });

  it('puts a node above the one it came from, whatever their clocks said', () => {
    expect(rowsOf({ now: 'b', b: 'a', a: '' }, 'now', { b: 1, a: 9 })).to.deep.equal([
      'now: 0, parent',
      'b: 0, child, parent',
      'a: 0, child',
    ]);
  });

  it('ends for nodes that came from each other, or from themselves, or from nowhere', () => {
    for (const parents of [{ a: 'b', b: 'a' }, { a: 'a' }, { a: 'gone', b: 'gone' }, {}] as Record<string, string>[])
      expect(rowsOf(parents, 'a')).to.have.length(Object.keys(parents).length);
  });
});
