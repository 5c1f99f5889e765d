import { expect } from 'chai';
import {
  Collector,
  cellsOf,
  formatTable,
  markdownTable,
  median,
  medianOf,
  target,
  withSection,
} from '../../../harness/bench/report.ts';

describe('benchmark report', () => {
  const cases: { name: string; input: number[]; expect: number }[] = [
    { name: 'one value', input: [3], expect: 3 },
    { name: 'an odd count', input: [9, 1, 5], expect: 5 },
    { name: 'an even count', input: [4, 1, 2, 100], expect: 3 },
  ];
  it('reaches targets, the least or the most, and misses what was not measured', () => {
    const collector = new Collector(['ours']);
    const time = { name: 'time', unit: 'ms', isRate: false };
    for (const value of [5, 9, 7]) collector.add('ours', time, value);
    const measured = medianOf(collector.rows(), time, 'ours');
    const missing = medianOf(collector.rows(), time, 'theirs');
    const reached = (value: number, goal: number, isLeast?: boolean) => target('', '', value, goal, isLeast).isReached;
    expect([reached(measured, 7), reached(measured, 6), reached(missing, 7)]).to.deep.equal([true, false, false]);
    expect([reached(measured, 7, true), reached(measured, 8, true), reached(missing, 7, true)]).to.deep.equal([
      true,
      false,
      false,
    ]);
  });

  for (const { name, input, expect: expected } of cases) {
    it(`takes the median of ${name}`, () => expect(median(input)).to.equal(expected));
  }

  it('compares so that more than 1 is better, for rates and for times', () => {
    const collector = new Collector(['ours', 'theirs']);
    const rate = { name: 'read', unit: 'MB/s', isRate: true };
    const time = { name: 'stat', unit: 'µs', isRate: false };
    for (const [subject, read, stat] of [
      ['ours', 100, 10],
      ['theirs', 50, 40],
    ] as const) {
      collector.add(subject, rate, read);
      collector.add(subject, time, stat);
    }
    const rows = collector.rows();
    expect(rows.map(({ ratios }) => ratios)).to.deep.equal([{ theirs: 2 }, { theirs: 4 }]);
    const cells = cellsOf({ rows, subjects: ['ours', 'theirs'] });
    expect(markdownTable(cells).split('\n')).to.deep.equal([
      '|  | unit | ours | theirs | ours / theirs |',
      '| --- | --- | ---: | ---: | ---: |',
      '| read | MB/s | 100 | 50.0 | 2.00× |',
      '| stat | µs | 10.0 | 40.0 | 4.00× |',
    ]);
    expect(formatTable(cells).split('\n')).to.deep.equal([
      '      unit  ours  theirs  ours / theirs',
      '----  ----  ----  ------  -------------',
      'read  MB/s   100    50.0          2.00×',
      'stat  µs    10.0    40.0          4.00×',
    ]);
  });

  it('puts a section in the place of the one before, and at the end where there is none', () => {
    const first = withSection('# Title\n\nText.\n', 'bench files', 'old');
    expect(first).to.equal('# Title\n\nText.\n\n<!-- bench files -->\n\nold\n\n<!-- end of bench files -->\n');
    const both = withSection(first, 'bench boot', 'boot');
    expect(withSection(both, 'bench files', 'new')).to.equal(both.replace('old', 'new'));
    expect(withSection('', 'a', 'b')).to.equal('<!-- a -->\n\nb\n\n<!-- end of a -->\n');
  });
});
