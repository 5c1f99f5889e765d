import { Lexer, type Token, type Tokens } from 'marked';
import { type Act, parseActs } from './acts.ts';
import { type Expression, parseExpression, parseTemplate, type Template } from './expression.ts';

/** Courses are foreign text: what has more than this is refused. Characters, and counts. */
export const MAX_FILE = 200_000;
const MAX_LESSONS = 60;
const MAX_STEPS = 40;
const MAX_BLOCKS = 400;
const MAX_LESSON_FILES = 20;
const MAX_COMMAND = 1000;
const MAX_NEEDS = 10;

/** Paragraphs, lists, tables and code of Markdown, for `renderProse`. */
export type Prose = readonly Token[];

/** A part of the page that a step is about, and what is marked there: see `Marks`. */
export interface Show {
  view: string;
  marks: readonly string[];
}

export interface Check {
  /** Values by names, for what follows. */
  lets: ReadonlyMap<string, Expression>;
  done: Expression;
  /** What the page says it saw. */
  seen: Template;
  soFar: Template | undefined;
  /** What it refers to is the second guest's. */
  isOfSecond: boolean;
  /** Taken when the step begins, and when it is done, for later checks of the lesson. */
  start: ReadonlyMap<string, Expression>;
  keep: ReadonlyMap<string, Expression>;
}

export interface Question {
  text: string;
  options: readonly { text: string; isRight: boolean | Expression }[];
}

/** Code for a bare device, which the visitor writes. */
export interface Exercise {
  code: string;
  /** The step begins with this code, whatever the visitor has written before, and it reaches the goals. */
  isGiven: boolean;
  solution: string;
  /** What is asked of the device after it, in their order. */
  goals: readonly { text: string; done: Expression }[];
}

/** Something to do, or to read. The page sees by itself when it has happened, whoever did it. */
export interface Step {
  title: string;
  prose: Prose;
  /** For a terminal, with `{dir}` for the lesson's directory in the guest. `isPaused`: "Do it for me" pauses the device first, unless it is paused. */
  command: { text: string; where: 'first' | 'second'; isPaused: boolean } | undefined;
  /** What "Do it for me" types in place of the command, whose outcome is the visitor's own work. */
  answer: string | undefined;
  acts: readonly Act[];
  /** Without one, the visitor says when to go on. */
  check: Check | undefined;
  question: Question | undefined;
  show: Show | undefined;
  hints: readonly Prose[];
  exercise: Exercise | undefined;
}

export interface Lesson {
  id: string;
  title: string;
  about: string;
  /** Programs that a guest has to have for it. */
  needs: readonly string[];
  /** What is in its directory at first, and names that its steps make there: see `LessonApi.begin`. */
  files: Record<string, string>;
  others: string[];
  prose: Prose;
  steps: readonly Step[];
}

export interface Term {
  id: string;
  title: string;
  prose: Prose;
}

/** What the first file of a course has: lessons by their addresses, or the only lesson itself. */
export interface CourseIndex {
  title: string;
  prose: Prose;
  lessons: readonly string[];
  /** Address of the glossary; '' for none. */
  glossary: string;
}

/** What is wrong with a course, and where. */
export class CourseError extends Error {
  override name = 'CourseError';
}

export function parseIndex(text: string, name: string): CourseIndex {
  const { front, tokens } = read(text, name);
  const isLink = (token: Token): token is Tokens.List => token.type === 'list';
  const lessons = tokens
    .filter(isLink)
    .flatMap(({ items }) => items.map(({ text: item }) => /\]\(([^()\s]+\.md)\)/.exec(item)?.[1]))
    .filter((link) => link !== undefined);
  if (lessons.length > MAX_LESSONS)
    throw new CourseError(`${name} has ${lessons.length} lessons; a course may have ${MAX_LESSONS}`);
  return {
    title: front.get('title') ?? name,
    prose: tokens.filter((token) => !isLink(token)),
    lessons,
    glossary: front.get('glossary') ?? '',
  };
}

export function parseLesson(text: string, name: string): Lesson {
  const { front, tokens } = read(text, name);
  const fail = (what: string): never => {
    throw new CourseError(`${name}: ${what}`);
  };
  const id = front.get('id') ?? name.replace(/^.*\//, '').replace(/\.md$/, '').toLowerCase();
  if (!/^[a-z0-9][a-z0-9-]{0,39}$/.test(id))
    fail(`the id ${JSON.stringify(id)} has to be made of lower-case letters, digits and hyphens, 40 at most`);
  const sections: { title: string; tokens: Token[] }[] = [{ title: '', tokens: [] }];
  for (const token of tokens) {
    if (token.type === 'heading' && token.depth === 2) sections.push({ title: token.text, tokens: [] });
    else sections.at(-1)!.tokens.push(token);
  }
  const [head, ...steps] = sections;
  if (!steps.length) fail('there is no step; each begins with a heading of the second level, as in “## Read a file”');
  if (steps.length > MAX_STEPS) fail(`there are ${steps.length} steps; a lesson may have ${MAX_STEPS}`);
  const files: Record<string, string> = {};
  const prose: Token[] = [];
  for (const token of head!.tokens) {
    const [kind, file = ''] = blockOf(token);
    if (kind === 'file') {
      const parts = pathIn(file, fail).split('/');
      for (let n = 1; n < parts.length; n++) files[`${parts.slice(0, n).join('/')}/`] = '';
      if (!file.endsWith('/')) files[file] = `${(token as Tokens.Code).text}\n`;
    } else prose.push(token);
  }
  const needs = wordsOf(front.get('needs'));
  if (needs.length > MAX_NEEDS || needs.some((program) => !/^[\w.+-]+$/.test(program)))
    fail(`needs has to be names of programs, ${MAX_NEEDS} at most`);
  const others = wordsOf(front.get('makes'));
  if (Object.keys(files).length + others.length > MAX_LESSON_FILES) fail(`a lesson may have ${MAX_LESSON_FILES} files`);
  return {
    id,
    title: front.get('title') ?? id,
    about: front.get('about') ?? '',
    needs,
    files,
    others: others.map((file) => pathIn(file, fail)),
    prose,
    steps: steps.map(({ title, tokens: own }) => parseStep(title, own, (what) => fail(`step “${title}”: ${what}`))),
  };
}

/** A lesson's program, as it may be in the end; '' for none. */
export function solutionOf({ steps }: Lesson, step: Step | undefined): string {
  if (step?.exercise?.isGiven) return step.exercise.code;
  return steps.map(({ exercise }) => exercise?.solution).findLast(Boolean) ?? '';
}

export function parseGlossary(text: string, name: string): Term[] {
  const terms: { id: string; title: string; prose: Token[] }[] = [];
  for (const token of read(text, name).tokens) {
    if (token.type === 'heading' && token.depth === 2)
      terms.push({ id: termId(token.text), title: token.text, prose: [] });
    else terms.at(-1)?.prose.push(token);
  }
  return terms;
}

function wordsOf(text = ''): string[] {
  return text.split(/\s+/).filter(Boolean);
}

/** What a term's entry is found by. */
export function termId(title: string): string {
  return title.toLowerCase().replaceAll(/[^\p{L}\p{N}]+/gu, '-');
}

function read(text: string, name: string): { front: Map<string, string>; tokens: Token[] } {
  if (text.length > MAX_FILE)
    throw new CourseError(`${name} has ${text.length} characters; a file of a course may have ${MAX_FILE}`);
  const [whole = '', matter = ''] = /^---\r?\n([\s\S]{0,4000}?)\r?\n---\r?\n/.exec(text) ?? [];
  const front = new Map<string, string>();
  for (const line of matter.split(/\r?\n/)) {
    const [, key, value] = /^([a-z ]+):\s*(.*)$/.exec(line) ?? [];
    if (key) front.set(key, value!.trim());
  }
  const body = text.slice(whole.length);
  const tokens = blocksOf(body, name);
  if (tokens.length > MAX_BLOCKS)
    throw new CourseError(`${name} has ${tokens.length} paragraphs and blocks; a file may have ${MAX_BLOCKS}`);
  return { front, tokens };
}

/** Only the blocks: what is in their lines is read when it is shown. */
function blocksOf(text: string, name: string): Token[] {
  try {
    return new Lexer().blockTokens(text.replaceAll('\r\n', '\n'), []).filter(({ type }) => type !== 'space');
  } catch {
    // Blocks in blocks in blocks.
    throw new CourseError(`${name} can’t be read as Markdown`);
  }
}

function blockOf(token: Token): string[] {
  return token.type === 'code' ? ((token as Tokens.Code).lang ?? '').split(/\s+/) : [''];
}

function pathIn(path: string, fail: (what: string) => never): string {
  if (!/^[\w.-]+(\/[\w.-]+)*\/?$/.test(path) || path.split('/').some((part) => part === '.' || part === '..'))
    fail(`${JSON.stringify(path)} is not a path in the lesson’s directory`);
  return path;
}

function parseStep(title: string, tokens: readonly Token[], fail: (what: string) => never): Step {
  const step: { -readonly [K in keyof Step]: Step[K] } & { prose: Token[]; hints: Prose[] } = {
    title,
    prose: [],
    command: undefined,
    answer: undefined,
    acts: [],
    check: undefined,
    question: undefined,
    show: undefined,
    hints: [],
    exercise: undefined,
  };
  let exercise: Partial<Exercise> | undefined;
  let solution: string | undefined;
  for (const token of tokens) {
    const [kind, ...words] = blockOf(token);
    const text = token.type === 'code' ? (token as Tokens.Code).text : '';
    const attempt = <T>(action: () => T): T => {
      try {
        return action();
      } catch (error) {
        return fail((error as Error).message);
      }
    };
    switch (kind) {
      case 'do':
        step.command = commandOf(commandIn(text, fail), words);
        break;
      case 'act':
        step.acts = attempt(() => parseActs(text));
        break;
      case 'check':
        step.check = attempt(() => parseCheck(text, words.includes('second')));
        break;
      case 'question':
        step.question = attempt(() => parseQuestion(text));
        break;
      case 'show': {
        const [view = '', ...marks] = text.split(/\s+/).filter(Boolean);
        step.show = { view, marks };
        break;
      }
      case 'hint':
        step.hints.push(blocksOf(text, title));
        break;
      case 'driver':
        exercise = { ...exercise, code: text, isGiven: words.includes('given') };
        break;
      case 'solution':
        solution = text;
        break;
      case 'goals':
        exercise = { ...exercise, goals: attempt(() => parseGoals(text)) };
        break;
      default:
        step.prose.push(token);
    }
  }
  if (solution !== undefined && step.command) step.answer = commandIn(solution, fail);
  else if (exercise || solution !== undefined) {
    const { code = '', isGiven = false, goals = [] } = exercise ?? {};
    if (!goals.length) fail('an exercise needs a block of goals');
    step.exercise = { code, isGiven, solution: solution ?? '', goals };
  }
  if ((step.command || step.acts.length) && !step.check) fail('what is to be done needs a check');
  return step;
}

/** What the second guest does is not paused: the device that can be looked into is the first one's. */
function commandOf(text: string, words: readonly string[]): NonNullable<Step['command']> {
  const where = words.includes('second') ? 'second' : 'first';
  return { text, where, isPaused: where === 'first' && !words.includes('running') };
}

function commandIn(text: string, fail: (what: string) => never): string {
  if (/[^\x20-\x7e]/.test(text) || !text || text.length > MAX_COMMAND)
    fail(`a command is one line of printable ASCII, ${MAX_COMMAND} characters at most`);
  return text;
}

/** Lines of `key: value`; a line that is indented goes on with the one before. */
function entriesOf(text: string): [key: string, value: string][] {
  const entries: [string, string][] = [];
  for (const line of text.split('\n')) {
    if (!line.trim()) continue;
    const last = entries.at(-1);
    if (/^\s/.test(line) && last) last[1] += ` ${line.trim()}`;
    else {
      const at = line.indexOf(':');
      if (at < 0) throw new Error(`${JSON.stringify(line)} is not a line of “key: value”`);
      entries.push([line.slice(0, at).trim(), line.slice(at + 1).trim()]);
    }
  }
  return entries;
}

function parseCheck(text: string, isOfSecond: boolean): Check {
  let done: Expression | undefined;
  let seen: Template | undefined;
  let soFar: Template | undefined;
  const [lets, start, keep] = [
    new Map<string, Expression>(),
    new Map<string, Expression>(),
    new Map<string, Expression>(),
  ];
  for (const [key, value] of entriesOf(text)) {
    const [, verb, note] = /^(let|start|keep) ([a-z]\w*)$/.exec(key) ?? [];
    if (verb) ({ let: lets, start, keep })[verb as 'let' | 'start' | 'keep'].set(note!, parseExpression(value));
    else if (key === 'done') done = parseExpression(value);
    else if (key === 'seen') seen = parseTemplate(value);
    else if (key === 'so far') soFar = parseTemplate(value);
    else
      throw new Error(
        `a check has no ${JSON.stringify(key)}; it has let NAME, done, seen, so far, start NAME and keep NAME`,
      );
  }
  if (!done || !seen) throw new Error('a check needs a line “done: …” and a line “seen: …”');
  return { lets, done, seen, soFar, start, keep, isOfSecond };
}

const OPTION = /^- (?:\[([ x])\] )?(.*?)(?: => (.*))?$/;

function parseQuestion(text: string): Question {
  const lines = text.split('\n').filter((line) => line.trim());
  const options = lines
    .filter((line) => line.startsWith('- '))
    .map((line) => {
      const [, mark, option, when] = OPTION.exec(line)!;
      return { text: option!, isRight: when === undefined ? mark === 'x' : parseExpression(when) };
    });
  if (options.length < 2 || options.length > 8 || !options.some(({ isRight }) => isRight))
    throw new Error(
      'a question needs two to eight options, as in “- [x] right” or “- LOOKUP => held”, one of them right',
    );
  return { text: lines.filter((line) => !line.startsWith('- ')).join(' '), options };
}

function parseGoals(text: string): Exercise['goals'] {
  return text
    .split('\n')
    .filter((line) => line.trim())
    .map((line) => {
      const [, , goal, when] = OPTION.exec(line) ?? [];
      if (!goal || !when) throw new Error(`${JSON.stringify(line)} is not a goal, as in “- The queue is set up => …”`);
      return { text: goal, done: parseExpression(when) };
    });
}
