import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { parseLesson } from '../../web/page/lessons/course-format.ts';
import { factsOfResult } from '../../web/page/lessons/facts.ts';
import type { BareResult } from '../../web/protocol/bare.ts';
import { Bare } from '../../web/worker/bare/bare.ts';

const COURSE = join(import.meta.dirname, '../../web/course');
const lessonOf = (name: string) => parseLesson(readFileSync(join(COURSE, name), 'utf8'), name);
/** Steps with a program, and the lesson's solution. */
function exercisesOf(name: string) {
  const exercises = lessonOf(name).steps.flatMap(({ title, exercise }) => (exercise ? [{ title, ...exercise }] : []));
  return { exercises, solution: exercises.findLast((each) => each.solution)?.solution ?? '' };
}
const { exercises, solution } = exercisesOf('driver.md');
/** A driver as far as INIT, without what it does with it. */
const upTo = (mark: string) => solution.slice(0, solution.indexOf(mark));

const run = (program: string, patience?: number): Promise<BareResult> => new Bare(patience).run(program);

/** Texts of the goals of a step that are not reached. */
function missed(step: number, result: BareResult, all = exercises): string[] {
  const facts = factsOfResult(result);
  return all[step]!.goals.filter(({ done }) => done.evaluate(facts) !== true).map(({ text }) => text);
}

describe('a bare device, and a driver of the visitor', () => {
  it('the solution reaches every goal, and reads another text each time', async () => {
    const [first, second] = [await run(solution), await run(solution)];
    expect(first.error).to.equal('');
    for (const step of exercises.keys()) expect(missed(step, first), exercises[step]!.title).to.deep.equal([]);
    expect(first.requests.map(({ opcode }) => opcode)).to.deep.equal(['INIT', 'LOOKUP', 'OPEN', 'READ', 'RELEASE']);
    expect(first.secret).not.to.equal(second.secret);
    expect(second.output.at(-1)).to.equal(second.secret);
  });

  it('a driver that stops half way has reached what comes before, and nothing after', async () => {
    for (const [step, mark] of ['// 2.', '// 3.', '// 4.', '// 5.'].entries()) {
      const result = await run(upTo(mark));
      expect(result.error).to.equal('');
      expect(missed(step, result), exercises[step]!.title).to.deep.equal([]);
      expect(missed(step + 1, result), exercises[step + 1]!.title).not.to.deep.equal([]);
    }
  });

  it('what a visitor begins with reaches no step’s goals', async () => {
    const result = await run(exercises[0]!.code);
    expect(result.error).to.equal('');
    for (const step of exercises.keys()) expect(missed(step, result)).not.to.deep.equal([]);
  });

  for (const name of readdirSync(COURSE).filter((each) => /```driver/.test(readFileSync(join(COURSE, each), 'utf8'))))
    it(`the exercises of ${name} can be done`, async () => {
      const own = exercisesOf(name);
      const [first, last] = [await run(own.exercises[0]!.code), await run(own.solution)];
      expect(last.error).to.equal('');
      // Whoever has done the lesson has the solution, and may do the lesson again.
      for (const [step, { isGiven, code }] of own.exercises.entries())
        expect(missed(step, isGiven ? await run(code) : last, own.exercises), own.exercises[step]!.title).to.deep.equal(
          [],
        );
      expect(missed(own.exercises.length - 1, first, own.exercises), 'what it begins with').not.to.deep.equal([]);
    });

  for (const [what, program, error, complaint] of [
    ['an exception', 'const x = 1;\n\nthrow new Error("wrong")', /^Error: wrong \(line 3\)$/, /^$/],
    ['a syntax error', 'let let;', /^SyntaxError/, /^$/],
    ['an address outside of RAM', 'ram.write32(2 ** 20 - 2, 1)', /0xffffe/, /^$/],
    ['a register that does not exist', 'pci.read32(254)', /configuration space has 256 bytes/, /^$/],
    ['a ring outside of RAM', upTo('// 4.').replace('0x2000', '0x7fffff00').concat('outw(notify, 1)'), /^$/, /./],
    [
      'a chain that goes round',
      upTo('// 4.').concat(`
        ram.write64(table, 0x4000); ram.write32(table + 8, 40); ram.write16(table + 12, 1); ram.write16(table + 14, 0);
        ram.write16(avail + 2, 1); outw(notify, 1)`),
      /^$/,
      /./,
    ],
  ] as const)
    it(`says what went wrong: ${what}`, async () => {
      const result = await run(program);
      expect(result.error).to.match(error);
      expect(result.complaint).to.match(complaint);
      if (result.complaint)
        expect(result.device.status.find(({ name }) => name === 'DEVICE_NEEDS_RESET')!.isSet).to.equal(true);
    });

  it('ends programs that have no end, and those that want all memory', async function () {
    expect((await run('for (;;);', 500)).error).to.match(/longer than 0.5 s/);
    expect((await run('const all = []; for (;;) all.push(new Uint8Array(1e6));')).error).to.match(/memory|null/i);
    expect((await run('(function f() { f(); })()')).error).to.match(/stack/i);
    const { output } = await run('for (let n = 0; n < 1e4; n++) log("x".repeat(1e4));');
    expect(output.length).to.be.at.most(501);
    expect(output[0]).to.have.length(500);
  });

  it('gives programs nothing but the machine', async () => {
    const { output } = await run(
      `log(Object.getOwnPropertyNames(globalThis).filter((name) => /fetch|process|document|self|window|require|import|Worker|postMessage|setTimeout/.test(name)).length);
       log(typeof fetch, typeof process, typeof require, typeof postMessage, (() => {}).constructor('return typeof document')());`,
    );
    expect(output).to.deep.equal(['0', 'undefined undefined undefined undefined undefined']);
  });
});
