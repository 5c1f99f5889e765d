import { expect } from 'chai';
import { LineReader } from '../../../../harness/machine/agent/line-reader.ts';

describe('a reader of lines', () => {
  const read = (...parts: (string | Uint8Array)[]) => {
    const lines: string[] = [];
    const reader = new LineReader((line) => lines.push(line));
    for (const part of parts) reader.push(typeof part === 'string' ? new TextEncoder().encode(part) : part);
    reader.end();
    return lines;
  };

  it('makes the same lines of any pieces', () => {
    const bytes = new TextEncoder().encode('eins\r\nzwölf\n\ndrei');
    const whole = read(bytes);
    expect(whole).to.deep.equal(['eins', 'zwölf', '', 'drei']);
    for (let at = 0; at <= bytes.length; at++)
      expect(read(bytes.subarray(0, at), bytes.subarray(at))).to.deep.equal(whole);
  });

  it('ends a line that never ends, and takes bytes that are no text', () => {
    const lines = read(...Array.from({ length: 5 }, () => 'x'.repeat(1 << 19)), Uint8Array.of(0xff, 10));
    expect(lines.map(({ length }) => length)).to.deep.equal([1 << 20, 1 << 20, (1 << 19) + 1]);
  });
});
