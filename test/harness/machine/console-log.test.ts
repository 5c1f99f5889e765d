import { expect } from 'chai';
import { ConsoleLog, type ConsoleLogOptions } from '../../../harness/machine/console-log.ts';

function log(text: string, options?: ConsoleLogOptions, encoding?: BufferEncoding): ConsoleLog {
  const console = new ConsoleLog(options);
  for (const byte of Buffer.from(text, encoding)) console.write(byte);
  return console;
}

describe('console log', () => {
  const cases: { name: string; input: string; encoding?: BufferEncoding; expect: string[] }[] = [
    { name: 'nothing', input: '', expect: [] },
    { name: 'a line that goes on', input: 'one\r\ntwo', expect: ['one', 'two'] },
    { name: 'characters of several bytes', input: 'grüß €\n', expect: ['grüß €'] },
    {
      name: 'bytes that are no characters',
      input: 'a\xc3\nb\xff\n',
      encoding: 'latin1',
      expect: ['a\ufffd', 'b\ufffd'],
    },
    {
      name: 'a line that never ends',
      input: 'x'.repeat(40_000),
      expect: [16_384, 16_384, 7232].map((n) => 'x'.repeat(n)),
    },
    { name: 'empty lines', input: '\n\na\n', expect: ['', '', 'a'] },
  ];
  for (const { name, input, encoding, expect: lines } of cases) {
    it(name, () => expect(log(input, {}, encoding).lines).to.deep.equal(lines));
  }

  it('keeps the last lines', () => {
    const text = Array.from({ length: 100 }, (_, index) => `${index}\n`).join('');
    expect(log(text, { capacity: 3 }).lines).to.deep.equal(['97', '98', '99']);
    expect(log(text).tail(2)).to.equal('  | 98\n  | 99');
  });

  it('goes on from earlier lines, and tells of each that ends', () => {
    const told: string[] = [];
    const console = log('b\nc', { lines: ['a'], onLine: (line) => told.push(line) });
    expect(console.lines).to.deep.equal(['a', 'b', 'c']);
    expect(told).to.deep.equal(['b']);
  });

  it('takes as many lines from before as a snapshot may have', () => {
    const log = new ConsoleLog({ capacity: 2 });
    log.precede(Array.from({ length: 200_000 }, (_, n) => `${n}`));
    expect(log.lines).to.deep.equal(['199998', '199999']);
  });
});
