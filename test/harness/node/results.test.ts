import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { JsonWriter } from '../../../harness/node/results/json-writer.ts';
import { JunitFile } from '../../../harness/node/results/junit-file.ts';
import { ResultStream, type ResultWriter } from '../../../harness/node/results/result-stream.ts';
import { TapWriter } from '../../../harness/node/results/tap-writer.ts';
import { hasFailed, ResultReader, type TestResult } from '../../../harness/node/results/test-results.ts';

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

function tell(text: string, writer: ResultWriter, trouble?: string): number {
  const results = new ResultStream([writer]);
  // Lines and characters come in pieces.
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += 7) results.add(bytes.subarray(at, at + 7));
  results.end(trouble === undefined ? { code: 0 } : { trouble });
  return results.failures;
}

function write(text: string): { tap: string; failures: number } {
  let tap = '';
  const failures = tell(text, new TapWriter((more) => (tap += more)));
  return { tap, failures };
}

function writeJson(text: string, trouble?: string): { json: string; value: Record<string, unknown> } {
  let json = '';
  tell(text, new JsonWriter((more) => (json += more)), trouble);
  return { json, value: JSON.parse(json) as Record<string, unknown> };
}

interface Case {
  classname: string;
  name: string;
  /** Elements in it: their tags, messages and texts. */
  verdicts: [string, string | null, string | null][];
}
interface Suite {
  counts: Record<string, string>;
  cases: Case[];
}

/** Reads JUnit's XML with a strict parser. */
const READ_XML = `
import json, sys, xml.etree.ElementTree as tree
def read(path):
    root = tree.parse(path).getroot()
    suite, = list(root)
    cases = [dict(case.attrib, verdicts=[(each.tag, each.get('message'), each.text) for each in case]) for case in suite]
    return dict(tags=[root.tag, suite.tag] + sorted({each.tag for each in suite}), counts=suite.attrib, cases=cases)
print(json.dumps([read(path) for path in sys.argv[1:]]))`;

function writeJunit(texts: string[], trouble?: string): (Suite & { tags: string[] })[] {
  const directory = mkdtempSync(join(tmpdir(), 'junit-'));
  try {
    const paths = texts.map((text, n) => {
      const path = join(directory, `${n}.xml`);
      writeFileSync(path, 'x'.repeat(10_000));
      tell(text, new JunitFile(path, 'run "all" <tests>'), trouble);
      return path;
    });
    return JSON.parse(execFileSync('python3', ['-c', READ_XML, ...paths], { encoding: 'utf8' }));
  } finally {
    rmSync(directory, { recursive: true });
  }
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

  it('is written as one JSON value, harmless to terminals, with all that is known', () => {
    const { json, value } = writeJson('# why\x1b[2J\n    ok 1 in\nnot ok 1 a "b" # ünï\u202e\nok 2 b # SKIP\n');
    expect(json).to.match(/^[\x20-\x7e\n\u00fc\u00ef]*$/);
    expect(value).to.deep.equal({
      tests: [
        {
          name: 'a "b"',
          outcome: 'failed',
          reason: 'ünï\u202e',
          log: ['# why\x1b[2J'],
          subtests: [{ name: 'in', outcome: 'passed', reason: '', log: [], subtests: [] }],
        },
        { name: 'b', outcome: 'skipped', reason: '', log: [], subtests: [] },
      ],
      count: 2,
      failures: 1,
      code: 0,
    });
    expect(writeJson('').value).to.deep.equal({ tests: [], count: 0, failures: 0, code: 0 });
    expect(writeJson('ok 1 a', 'the guest has crashed').value).to.deep.include({
      count: 1,
      code: null,
      trouble: 'the guest has crashed',
    });
  });

  it('is written as JUnit’s XML: a case for each test that has none in it', () => {
    const [kselftest, kunit, empty] = writeJunit([KSELFTEST, KUNIT, '']);
    expect(kselftest!.tags).to.deep.equal(['testsuites', 'testsuite', 'testcase']);
    const shortly = ({ cases }: Suite) =>
      cases.map(({ classname, name, verdicts }) => [classname, name, ...verdicts.flat().slice(0, 2)]);
    const suite = 'run "all" <tests>';
    const timers = 'selftests: timers: posix_timers';
    expect(shortly(kselftest!)).to.deep.equal([
      [timers, 'check setitimer'],
      [timers, 'check timer_create', 'failure', null],
      [suite, 'selftests: timers: nanosleep', 'skipped', 'no clock'],
      [suite, 'selftests: timers: set-2038'],
    ]);
    expect(kselftest!.counts).to.deep.include({ name: suite, tests: '4', failures: '1', errors: '0', skipped: '1' });
    expect(kselftest!.counts).to.include.keys('time', 'timestamp');
    expect(shortly(kunit!)).to.deep.equal([
      ['list', 'list_test_add', 'failure', null],
      ['list.with parameters', 'one'],
      ['list.with parameters', 'two', 'skipped', 'not here'],
      [suite, 'other'],
      [suite, 'module'],
    ]);
    expect(kunit!.cases[0]!.verdicts[0]![2]).to.include('EXPECTATION FAILED at lib/list-test.c:23');
    expect(empty!.cases).to.deep.equal([]);
  });

  it('in JUnit’s XML what failed as was expected is skipped, and what failed though none in it did is a case', () => {
    const [excused, failed] = writeJunit(['    not ok 1 in\nnot ok 1 a # TODO', '    ok 1 in\nnot ok 1 a # exit=2']);
    expect(excused!.cases).to.deep.equal([{ classname: 'a', name: 'in', verdicts: [['skipped', null, null]] }]);
    expect(failed!.cases.map(({ name, verdicts }) => [name, verdicts])).to.deep.equal([
      ['in', []],
      ['a', [['failure', 'exit=2', null]]],
    ]);
  });

  it('in JUnit’s XML a guest that has crashed is an error', () => {
    const [crashed] = writeJunit(['1..2\nok 1 a'], 'the guest has crashed: <panic> & "more"');
    expect(crashed!.cases.map(({ name, verdicts }) => [name, ...verdicts.flat().slice(0, 2)])).to.deep.equal([
      ['a'],
      ['1 of 2 tests have a result', 'failure', 'the guest has crashed: <panic> & "more"'],
      ['run "all" <tests>', 'error', 'the guest has crashed: <panic> & "more"'],
    ]);
    expect(crashed!.counts).to.deep.include({ tests: '3', failures: '1', errors: '1' });
  });

  it('in JUnit’s XML no name and no output is anything but text', () => {
    const name = `</testcase>"'<!--&amp;]]>`;
    const [hostile] = writeJunit([`\x00\x1b[2J<![CDATA[\ufffe\uffff&\nnot ok 1 ${name} # <b>\u0085\u202e`]);
    expect(hostile!.cases).to.deep.equal([
      {
        classname: 'run "all" <tests>',
        name,
        verdicts: [['failure', '<b>\\x85\\u202e', '\\x00\\x1b[2J<![CDATA[\ufffd\ufffd&']],
      },
    ]);
    const line = fc.oneof(
      fc.constantFrom(...KSELFTEST.split('\n'), ...KUNIT.split('\n')),
      fc.string({ unit: 'binary', maxLength: 30 }).map((text) => `not ok 1 ${text}`),
      fc.string({ unit: 'binary', maxLength: 30 }),
    );
    const texts = fc.sample(fc.array(line, { maxLength: 20 }), 40).map((lines) => lines.join('\n'));
    writeJunit(texts).forEach(({ counts, cases }, n) => {
      const told = cases.flatMap(({ verdicts }) => verdicts.map(([tag]) => tag));
      expect(Number(counts['tests'])).to.equal(cases.length);
      expect(Number(counts['failures'])).to.equal(told.filter((tag) => tag === 'failure').length);
      expect(Number(counts['skipped'])).to.equal(told.filter((tag) => tag === 'skipped').length);
      expect(Number(counts['failures']) > 0, texts[n]).to.equal(read(texts[n]!).tests.some(hasFailed));
    });
  });

  it('a file of JUnit’s XML that can’t be written is told of', () => {
    expect(() => new JunitFile('/nowhere/x.xml', 'all')).to.throw(/can't write test results to \/nowhere\/x\.xml/);
    expect(() => new JunitFile('/dev/null', 'all')).to.throw(/not a file/);
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
