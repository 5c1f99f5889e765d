import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { type Lesson, parseGlossary, parseIndex, parseLesson, termId } from '../../web/page/lessons/course-format.ts';
import { asFacts, type Facts, parseExpression, parseTemplate } from '../../web/page/lessons/expression.ts';

const COURSE = join(import.meta.dirname, '../../web/course');
const textOf = (name: string) => readFileSync(join(COURSE, name), 'utf8');

describe('a course as Markdown', () => {
  const index = parseIndex(textOf('course.md'), 'course.md');
  const lessons = index.lessons.map((name) => parseLesson(textOf(name), name));

  it('has every file of the built-in course in its list, and each once', () => {
    expect([...index.lessons, 'course.md', 'glossary.md'].sort()).to.deep.equal(readdirSync(COURSE).sort());
    expect(new Set(lessons.map(({ id }) => id)).size).to.equal(lessons.length);
  });

  it('has a check for whatever is to be done, and no link to a term that is not there', () => {
    const terms = parseGlossary(textOf('glossary.md'), 'glossary.md');
    const ids = new Set(terms.map(({ id }) => id));
    for (const name of readdirSync(COURSE))
      for (const [, id] of textOf(name).matchAll(/\]\(term:([^)]*)\)/g)) expect(ids, `${name}: ${id}`).to.include(id);
    for (const { id, title } of terms) expect(id).to.equal(termId(title));
    for (const { id, steps } of lessons)
      for (const { title, check, command, acts } of steps)
        expect(Boolean(check) || (!command && !acts.length), `${id}: ${title}`).to.equal(true);
  });

  it('is as its documentation says', () => {
    const root = join(import.meta.dirname, '../..');
    const example = readFileSync(join(root, 'examples/course/hello.md'), 'utf8');
    expect(parseLesson(example, 'hello.md').steps.map(({ title }) => title)).to.deep.equal(['Write a file']);
    expect(readFileSync(join(root, 'docs/write-a-course.md'), 'utf8')).to.include(example);
  });

  it('reads a lesson with all that there can be', () => {
    const lesson = parseLesson(
      `---
id: all
title: All of it
about: Everything at once.
makes: made.txt
---

\`\`\`file docs/note.txt
one
two
\`\`\`

Before the steps.

## First

Some *text*.

\`\`\`question
Which one?
- Held => held
- [x] Another
\`\`\`

\`\`\`do second
cat {dir}/note.txt
\`\`\`

\`\`\`check
start before: size(requests)
let more: size(requests) - notes.before
done: more > 0
seen: {more} more
so far: none
  yet
keep after: size(requests)
\`\`\`

\`\`\`show
queues available used
\`\`\`

\`\`\`hint
Try it.
\`\`\`

## Second

\`\`\`act
write note.txt a b\\n
fork shared
\`\`\`

\`\`\`check
done: true
seen: yes
\`\`\`
`,
      'all.md',
    );
    expect(lesson.files).to.deep.equal({ 'docs/': '', 'docs/note.txt': 'one\ntwo\n' });
    expect(lesson.others).to.deep.equal(['made.txt']);
    const [first, second] = lesson.steps;
    expect(first!.command).to.deep.equal({ text: 'cat {dir}/note.txt', where: 'second', isPaused: false });
    expect(first!.question!.options.map(({ text }) => text)).to.deep.equal(['Held', 'Another']);
    expect(first!.show).to.deep.equal({ view: 'queues', marks: ['available', 'used'] });
    expect(first!.hints).to.have.length(1);
    expect(first!.check!.soFar!.fill({})).to.equal('none yet');
    expect(second!.acts).to.deep.equal([
      { what: 'write', path: 'note.txt', text: 'a b\n' },
      { what: 'fork', folder: 'shared' },
    ]);
  });

  for (const [what, text, reason] of [
    ['a lesson without steps', 'nothing', /there is no step/],
    ['an id that is a path', '---\nid: ../up\n---\n## A\n', /the id "\.\.\/up"/],
    ['a file outside of the lesson', '```file ../../etc/passwd\nx\n```\n\n## A\n', /not a path in the lesson/],
    ['a command with control characters', '## A\n\n```do\necho \u0003\n```\n', /printable ASCII/],
    ['a command of two lines', '## A\n\n```do\none\ntwo\n```\n', /one line/],
    ['something to do without a check', '## A\n\n```do\nls\n```\n', /needs a check/],
    ['a check without a condition', '## A\n\n```check\nseen: x\n```\n', /needs a line “done: …”/],
    ['a check that is no expression', '## A\n\n```check\ndone: held &&\nseen: x\n```\n', /"held &&"/],
    ['an unknown act', '## A\n\n```act\nerase\n```\n', /is no act/],
    ['a question without an answer', '## A\n\n```question\nWhat?\n- a\n- b\n```\n', /one of them right/],
    ['too many steps', '## A\n'.repeat(41), /41 steps/],
    ['too much of it', '#'.repeat(200_001), /200001 characters/],
    ['quotations in quotations', '>'.repeat(50_000), /can’t be read as Markdown/],
  ] as const)
    it(`refuses ${what}, and says so`, () => {
      expect(() => parseLesson(text, 'bad.md')).to.throw(reason);
    });

  it('survives any text, in good time', () => {
    const pieces = fc.constantFrom(
      '## A\n',
      '```do\n',
      '```check\n',
      '```\n',
      'done: ',
      'seen: {',
      '}',
      '- ',
      '> ',
      '[',
      '](',
      '---\n',
      '|',
      '\n',
      'held',
      '`',
      '*',
      ' ',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string()), { maxLength: 200 }), (parts) => {
        let lesson: Lesson | undefined;
        try {
          lesson = parseLesson(parts.join(''), 'any.md');
        } catch (error) {
          expect((error as Error).name).to.equal('CourseError');
        }
        for (const { check } of lesson?.steps ?? []) check?.seen.fill({});
      }),
    );
  });
});

describe('an expression of a course', () => {
  const facts = asFacts({
    requests: [
      { opcode: 'LOOKUP', number: 1, about: 'a.txt', isAnswered: true },
      { opcode: 'READ', number: 2, about: 'a.txt', isAnswered: true, written: undefined },
      { opcode: 'READ', number: 3, about: 'b.txt', isAnswered: false },
    ],
    notes: new Map([['ino', 5]]),
  }) as Facts;
  const evaluate = (source: string) => parseExpression(source).evaluate(facts);

  it('counts, finds and compares', () => {
    expect(evaluate('size(requests) == 3 && notes.ino + 1 == 6')).to.equal(true);
    expect(evaluate('saw(requests, "LOOKUP READ", "a.txt")')).to.equal(true);
    expect(evaluate('saw(requests, "READ", "b.txt")')).to.equal(false);
    expect(evaluate('last(asked(requests, "READ")).number')).to.equal(2n);
    expect(parseTemplate('{opcodes(requests)}, {notes.ino}{notes.none}.').fill(facts)).to.equal('LOOKUP, READ ×2, 5.');
  });

  it('is nothing where it refers to nothing', () => {
    for (const source of [
      'nobody',
      'notes.none',
      'last(asked(requests, "OPEN")).number',
      'requests[9].number',
      'notes + 1',
    ])
      expect(evaluate(source), source).to.equal(undefined);
  });

  it('may not go on for ever, nor make much of little', () => {
    const nested = (depth: number): string =>
      depth ? `requests.all(r${depth}, ${nested(depth - 1)})` : 'requests.size() > 0';
    expect(() => parseExpression(nested(2))).not.to.throw();
    expect(() => parseExpression(nested(3))).to.throw(/2 deep/);
    expect(() => parseExpression(Array.from({ length: 6 }, () => nested(1)).join('&&'))).to.throw(/5 times/);
    expect(() => parseExpression(Array.from({ length: 200 }, () => '1').join('+'))).to.throw(/nodes/i);
    expect(() => parseExpression('"aaaaaaaaaaaaaaaaaaaaaaaa!".matches("(a+)+$")')).to.throw(/matches may not/);
    expect(() => parseExpression('cel.bind(a, "xx", a + a)')).to.throw(/bind may not/);
    expect(() => parseExpression(`"${'x'.repeat(3000)}"`)).to.throw(/2000 characters/);
  });
});
