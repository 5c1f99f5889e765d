import { expect } from 'chai';
import fc from 'fast-check';
import { encodeCommand } from '../../../../harness/machine/agent/command.ts';
import { VmError } from '../../../../harness/machine/errors.ts';

/** What guest-images/src/agent-spawn.c reads: counted strings up to their zero bytes, and nothing behind them. */
function decode(bytes: Uint8Array) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const [pty, columns, rows, args, variables] = [0, 2, 4, 6, 8].map((at) => view.getUint16(at, true));
  let at = 10;
  const take = (count: number) =>
    Array.from({ length: count }, () => {
      const end = bytes.indexOf(0, at);
      expect(end, 'a string ends').to.be.at.least(at);
      const text = new TextDecoder().decode(bytes.subarray(at, end));
      at = end + 1;
      return text;
    });
  const [cwd] = take(1);
  const decoded = { pty, columns, rows, cwd, args: take(args!), variables: take(variables!) };
  expect(at, 'nothing is left').to.equal(bytes.length);
  return decoded;
}

describe('a command on its way to the guest', () => {
  it('arrives as it is, or is refused: whatever is in its words, variables and directory', () => {
    const text = fc.string({ unit: fc.constantFrom('a', '', '\0', '=', '\n', ' ', 'ä', '🐧', '\ud800', '-', '"') });
    fc.assert(
      fc.property(
        text,
        fc.array(text, { maxLength: 5 }),
        fc.dictionary(text, text, { maxKeys: 5 }),
        (cwd, args, env) => {
          const isSound =
            args.length &&
            args[0] &&
            cwd &&
            Object.keys(env).every((name) => name && !name.includes('=')) &&
            ![cwd, ...args, ...Object.entries(env).flat()].some((each) => each.includes('\0'));
          let bytes: Uint8Array;
          try {
            bytes = encodeCommand(cwd, args, env, {});
          } catch (error) {
            expect(error).to.be.instanceOf(VmError).with.property('kind', 'configuration');
            expect(isSound, (error as Error).message).to.not.equal(true);
            return;
          }
          expect(isSound).to.equal(true);
          expect(decode(bytes)).to.deep.equal({
            pty: 0,
            columns: 0,
            rows: 0,
            cwd: cwd.toWellFormed(),
            args: args.map((each) => each.toWellFormed()),
            variables: Object.entries(env).map(([name, value]) => `${name}=${value}`.toWellFormed()),
          });
        },
      ),
      { numRuns: 5000 },
    );
  });

  const refused: [string, Parameters<typeof encodeCommand>, RegExp][] = [
    ['no word', ['/', [], {}, {}], /no words; give a program/],
    ['a zero byte in an argument', ['/', ['sh', 'a\0b'], {}, {}], /"sh": argument 1 has a zero byte/],
    ['a zero byte in a variable', ['/', ['sh'], { A: 'b\0C=d' }, {}], /the variable A has a zero byte/],
    ['a variable with = in its name', ['/', ['sh'], { 'A=B': 'c' }, {}], /variable "A=B" can't have that name/],
    [
      'an argument longer than Linux takes',
      ['/', ['sh', 'x'.repeat(131_072)], {}, {}],
      /argument 1 is longer than 131071 bytes; write it to a file/,
    ],
    ['one that is longer in UTF-8', ['/', ['sh', 'ä'.repeat(65_536)], {}, {}], /argument 1 is longer/],
    [
      'more than the agent holds',
      ['/', ['sh', ...Array<string>(3).fill('x'.repeat(100_000))], {}, {}],
      /take 300018 bytes, and at most 262144/,
    ],
    [
      'more words than can be counted',
      ['/', ['sh', ...Array<string>(65_536).fill('')], {}, {}],
      /arguments and variables take/,
    ],
    ['a terminal of half a column', ['/', ['sh'], {}, { pty: { columns: 0.5, rows: 1 } }], /0.5 columns or rows/],
  ];
  for (const [what, args, says] of refused) {
    it(`is refused for ${what}`, () => expect(() => encodeCommand(...args)).to.throw(VmError, says));
  }
});
