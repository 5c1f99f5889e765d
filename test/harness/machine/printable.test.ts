import { expect } from 'chai';
import { decodeName } from '../../../device/fs/names.ts';
import { printable, printableConsole, printableJson, printableLines } from '../../../harness/machine/printable.ts';

describe('printable text', () => {
  for (const [what, text, shown] of [
    ['words of any script', 'ä 日本 🎉 naïve', 'ä 日本 🎉 naïve'],
    ['C0 and DEL', 'a\x1b]0;PWNED\x07b\r\n\x7f', 'a\\x1b]0;PWNED\\x07b\\x0d\\x0a\\x7f'],
    ['C1', 'a\u009b31m', 'a\\x9b31m'],
    ['bidirectional overrides and isolates', 'gpj.\u202eexe\u2066', 'gpj.\\u202eexe\\u2066'],
    ['what can’t be seen', 'a\u200bb\ufeff\u{e0041}', 'a\\u200bb\\ufeff\\u{e0041}'],
    ['separators of lines', 'a\u2028b\u2029c\u0085d', 'a\\u2028b\\u2029c\\x85d'],
    ['bytes that are not UTF-8', decodeName(Buffer.of(0x66, 0xff, 0x80)), 'f\\xff\\x80'],
    ['other halves of surrogate pairs', 'a\ud800b', 'a\\ud800b'],
  ] as const) {
    it(`${what}`, () => expect(printable(text)).to.equal(shown));
  }

  it('of several lines keeps line breaks and tabs', () => {
    expect(printableLines('a\tb\nc\x1b[2J')).to.equal('a\tb\nc\\x1b[2J');
  });

  it('of a console loses its colours, and can’t move the cursor', () => {
    expect(printableConsole('\x1b[32m  OK\x1b[0m\tdone\x1b[2A\x1b]0;title\x07')).to.equal(
      '  OK    done\\x1b]0;title\\x07',
    );
  });

  it('in JSON is the same value', () => {
    const value = { 'a\x1b\u009b\u202e\u{e0041}\udcff': ['b\n'] };
    const json = printableJson(JSON.stringify(value, null, 2));
    expect(JSON.parse(json)).to.deep.equal(value);
    expect(json).to.match(/^[\x20-\x7e\n]+$/);
  });
});
