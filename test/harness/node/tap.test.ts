import { expect } from 'chai';
import fc from 'fast-check';
import { TapWriter } from '../../../harness/node/tap/tap-writer.ts';
import { hasFailed, ResultReader, type TestResult } from '../../../harness/node/tap/test-results.ts';

/** As `name outcome`, with those below in brackets. */
const shortly = ({ name, outcome, subtests }: TestResult): string =>
  `${name} ${outcome}${subtests.length ? ` [${subtests.map(shortly).join(', ')}]` : ''}`;

function read(text: string): { tests: TestResult[]; short: string[] } {
  const tests: TestResult[] = [];
  const reader = new ResultReader((test) => tests.push(test));
  for (const line of text.split('\n')) reader.add(line);
  reader.end();
  return { tests, short: tests.map(shortly) };
}

function write(text: string): { tap: string; failures: number } {
  let tap = '';
  const writer = new TapWriter((more) => (tap += more));
  // Byte by byte: lines and characters come in pieces.
  for (const byte of new TextEncoder().encode(text)) writer.add(Uint8Array.of(byte));
  writer.end();
  return { tap, failures: writer.failures };
}

const KSELFTEST = `TAP version 13
1..3
# timeout set to 45
# selftests: timers: posix_timers
# TAP version 13
# 1..2
# # Using clock
# ok 1 check setitimer
# not ok 2 check timer_create
# # Totals: pass:1 fail:1
not ok 1 selftests: timers: posix_timers # exit=1
# timeout set to 45
# selftests: timers: nanosleep
# it is ok 3 times
ok 2 selftests: timers: nanosleep # SKIP no clock
ok 3 selftests: timers: set-2038
`;

const KUNIT = `[    0.512345] KTAP version 1
[    0.512350] 1..2
[    0.512400]     KTAP version 1
[    0.512401]     # Subtest: list
[    0.512402]     1..2
[    0.512500] something else of the kernel
[    0.512510]     # list_test_add: EXPECTATION FAILED at lib/list-test.c:23
[    0.512520]     not ok 1 list_test_add
[    0.512530]         KTAP version 1
[    0.512531]         # Subtest: with parameters
[    0.512540]         ok 1 one
[    0.512541]         ok 2 two # SKIP not here
[    0.512550]     ok 2 with parameters
[    0.512560] # list: pass:1 fail:1 skip:0 total:2
[    0.512600] not ok 1 list
[    0.512700] ok 2 other
[    9.000000] KTAP version 1
[    9.000001] 1..1
[    9.000002] ok 1 module
`;

describe('Test results in what a guest prints', () => {
  it('kselftest: results of a test’s own tests behind "# ", and nothing else there', () => {
    const { short, tests } = read(KSELFTEST);
    expect(short).to.deep.equal([
      'selftests: timers: posix_timers failed [check setitimer passed, check timer_create failed]',
      'selftests: timers: nanosleep skipped',
      'selftests: timers: set-2038 passed',
    ]);
    expect(tests[0]!.reason).to.equal('exit=1');
    expect(tests[1]!.reason).to.equal('no clock');
    expect(tests[1]!.log.join('\n')).to.include('it is ok 3 times');
  });

  it('KUnit in the kernel’s log: suites, parameters, modules that are loaded later', () => {
    const { short, tests } = read(KUNIT);
    expect(short).to.deep.equal([
      'list failed [list_test_add failed, with parameters passed [one passed, two skipped]]',
      'other passed',
      'module passed',
    ]);
    expect(tests[0]!.subtests[0]!.log.join('\n')).to.include('EXPECTATION FAILED at lib/list-test.c:23');
  });

  it('a test whose own test has failed has failed, whatever it says', () => {
    const { tests } = read('    not ok 1 inner\nok 1 outer');
    expect(tests.map(hasFailed)).to.deep.equal([true]);
    expect(write('    not ok 1 inner\nok 1 outer').tap).to.include('\nnot ok 1 - outer\n');
  });

  it('what was announced and never came has failed', () => {
    expect(read('1..3\nok 1 a').short).to.deep.equal(['a passed', '1 of 3 tests have a result failed']);
    expect(read('KTAP version 1\n1..1\n    1..2\n    ok 1 a').short).to.deep.equal([
      'a test failed [a passed, 1 of 2 tests have a result failed]',
    ]);
    expect(read('1..1\n    1..2\n    ok 1 a\nok 1 b').tests.map(hasFailed)).to.deep.equal([true]);
    expect(read('ok 1 a\nBail out! no disk').short).to.deep.equal(['a passed', 'Bail out! no disk failed']);
  });

  it('failures that were expected, and documents that are skipped whole, are none', () => {
    expect(read('not ok 1 a # TODO later\nnot ok 2 b # XFAIL').short).to.deep.equal(['a excused', 'b excused']);
    expect(read('1..0 # SKIP no such hardware').short).to.deep.equal(['all tests skipped']);
  });

  it('is written as TAP 14, names and logs harmless', () => {
    const { tap, failures } = write('# why \x1b[2J\nnot ok 1 a#b\\c\nok 2 ünï\n');
    expect(failures).to.equal(1);
    expect(tap).to.equal(
      'TAP version 14\nnot ok 1 - a\\#b\\\\c\n  ---\n  log: |\n    # why \\x1b[2J\n  ...\nok 2 - ünï\n1..2\n',
    );
  });

  it('its own output read again gives the same', () => {
    for (const text of [KSELFTEST, KUNIT]) {
      const { tap } = write(text);
      expect(read(tap).short).to.deep.equal(read(text).short);
    }
  });

  it('no text makes it throw, or lose a failure at the outermost level', () => {
    const line = fc.oneof(
      fc.constantFrom(
        ...[...KSELFTEST.split('\n'), ...KUNIT.split('\n')],
        '1..9999999',
        '                                        ok 1 deep',
        '# # # # # # # # # # # # # # # # # # # # ok 1',
      ),
      fc.string({ maxLength: 40 }),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 40 }), (lines) => {
        const { tests } = read(lines.join('\n'));
        const failed = lines
          .flatMap((each) => each.split('\n'))
          .filter((each) => /^not ok \d+( - )?( \w[\w: ]*)?$/.test(each));
        expect(tests.filter(hasFailed).length).to.be.at.least(failed.length);
      }),
      { numRuns: 300 },
    );
  });

  it('a guest that prints without end fills no memory', () => {
    const tests: TestResult[] = [];
    const reader = new ResultReader((test) => tests.push(test));
    for (let n = 1; n <= 300_000; n++) reader.add(`    ok ${n} ${'x'.repeat(20)}`);
    for (let n = 0; n < 1000; n++) reader.add('#'.repeat(100_000));
    reader.add('ok 1 all');
    reader.end();
    expect(tests[0]!.subtests).to.have.length(100_000);
    expect(tests[0]!.log.join('').length).to.be.below(300_000);
    expect(tests.at(-1)!.name).to.include('more in it than is kept');
  });

  const long = 'x'.repeat(1000);
  const talk = Array.from({ length: 200 }, () => long);
  const endless: [string, string[]][] = [
    ['tests that say much', ['    ok 1 a', ...talk]],
    ['tests in tests that say much', ['        1..2', ...talk, '    ok 1 a']],
    ['documents that end early', ['    1..2', '    TAP version 14', ...talk]],
    ['results with long names', [`    not ok 1 ${long} # ${long}`]],
  ];
  for (const [name, lines] of endless)
    it(`${name}, without end: some megabytes are kept, and the rest is a failure`, () => {
      const tests: TestResult[] = [];
      const reader = new ResultReader((test) => tests.push(test));
      for (let said = 0; said < 64 << 20; said += lines.join('\n').length) for (const line of lines) reader.add(line);
      reader.add('ok 1 all');
      reader.end();
      expect(JSON.stringify(tests).length).to.be.within(1 << 20, 16 << 20);
      expect(tests.at(-1)!.name).to.include('more in it than is kept');
    });

  it('lines that a pattern could be long about are read at once', () => {
    const spaces = ' '.repeat(65_000);
    for (let n = 0; n < 100; n++)
      for (const start of ['ok 1', 'ok 1 a', '1..1', '#', '    ok 1'])
        read(`${start}${spaces}\r${spaces}#${spaces}\u2028x`);
  });
});
