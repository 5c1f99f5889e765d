import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import { type Lesson, parseIndex, parseLesson } from '../../web/page/lessons/course-format.ts';
import type { Visit } from './support.ts';

const COURSE = join(import.meta.dirname, '../../web/course');
const read = (name: string) => readFileSync(join(COURSE, name), 'utf8');
/** The built-in lessons, in their order. */
export const COURSE_LESSONS: readonly Lesson[] = parseIndex(read('course.md'), 'course.md').lessons.map((name) =>
  parseLesson(read(name), name),
);
/** Those that can be done in any guest. */
export const LESSONS = COURSE_LESSONS.filter(({ needs }) => !needs.length);
/** Something that its directory's removal does not clear up: a device that is paused, guests, snapshots. */
export const leavesMore = ({ steps }: Lesson): boolean => steps.some(({ acts }) => acts.length > 0);
/** What it does to the page, as text: lessons with the same acts leave the same. */
export const kindOf = ({ steps }: Lesson): string =>
  [...new Set(steps.flatMap(({ acts }) => acts.map((act) => ('folder' in act ? `fork ${act.folder}` : act.what))))]
    .sort()
    .join(' ');
/** For a step: the guest asks 1100 times, or sleeps. Milliseconds. */
const STEP_TIME = 120_000;

/** Names that lessons use, and others, as a visitor may have them. */
const FILES = [
  'note.txt',
  'secret.txt',
  'kept.txt',
  'suspend.txt',
  'locker.pid',
  'docs/moved.txt',
  'docs/more.txt',
  'lesson-cat/README.txt',
  'lesson-cat/mine',
  'lesson-nodes',
  'lesson-locks-2/README.txt',
];

/** The list of lessons, and the one under way. */
export const list = ({ page }: Visit): Locator => page.locator('vm-lessons');
export const lesson = ({ page }: Visit): Locator => page.locator('vm-lesson');
export const stepOf = (visit: Visit, index: number): Locator => lesson(visit).locator('.steps-list > li').nth(index);

/**
 * Does a step of a built-in lesson, or of `own`, with the buttons that there are for it, and returns what the page says it saw. `look` is called when there is
 * something to be looked at: before the device takes what the driver has written, and in the end.
 */
export async function doStep(visit: Visit, index: number, own?: Lesson, look = async () => {}): Promise<string> {
  const title = await lesson(visit).locator('h2').innerText();
  const { exercise, command, acts, check, question } = (own ?? COURSE_LESSONS.find((each) => each.title === title)!)
    .steps[index]!;
  const step = stepOf(visit, index);
  const button = (name: string) => step.getByRole('button', { name, exact: true });
  const done = step.locator('.mark[data-done]');
  if (question) await button('I don’t know: show me').click();
  if (exercise) await solve(step);
  else if (!check) await button('Continue').click();
  else if (command || acts.length) await button('Do it for me').click();
  else if (title === 'A guest that moves') await moveOut(visit);
  // Unless the step itself is done while the device is paused.
  const take = button('Let the device take it');
  if (command?.isPaused) {
    await done.or(take).first().waitFor({ timeout: STEP_TIME });
    if (await take.count()) {
      await look();
      await take.click();
    }
  }
  await done.waitFor({ timeout: STEP_TIME });
  await look();
  return (await step.locator('.seen').allInnerTexts()).join('');
}

/** Runs the program that is there, and the solution if that does not reach the goals: a learner has it in the end, from the hints or from here. */
async function solve(step: Locator): Promise<void> {
  const done = step.locator('.mark[data-done]');
  const run = step.getByRole('button', { name: 'Run', exact: true });
  const solution = step.getByRole('button', { name: 'Show a solution' });
  const status = step.locator('vm-exercise [role=status]');
  const before = await status.innerText();
  await run.click();
  while (!(await done.count()) && (await status.allInnerTexts()).every((text) => !text || text === before))
    await step.page().waitForTimeout(50);
  if ((await done.count()) || !(await solution.count())) return;
  await solution.click();
  await step.getByRole('button', { name: 'Replace it' }).click();
  await run.click();
}

/** Moves the other guest, whatever its number, to another tab, which is closed then. */
export async function moveOut({ page }: Visit): Promise<void> {
  const move = page.getByRole('button', { name: /^Move Guest \d+$/ });
  const name = (await move.getAttribute('aria-label'))!;
  await move.click();
  const link = await page.getByRole('dialog', { name }).getByLabel('Link for the other tab').inputValue();
  const other = await page.context().newPage();
  await other.goto(link);
  await move.waitFor({ state: 'detached', timeout: STEP_TIME });
  await other.close();
}

/** Opens the lesson of this index, from the list. */
async function openLesson(visit: Visit, index: number): Promise<void> {
  await list(visit).locator('.lessons button').nth(index).click();
  await lesson(visit).getByRole('heading', { name: LESSONS[index]!.title }).waitFor();
}

/** A visitor who has files, something that runs, and a shell in the folder. Shows the lessons. */
export async function prepare(visit: Visit): Promise<void> {
  await visit.ready();
  await visit.page.evaluate(async (files) => {
    const { fs } = document.querySelector('virtiofs-vm')!.vm!;
    for (const file of files) await fs.write(`/${file}`, `the visitor's own ${file}\n`);
  }, FILES);
  await visit.run('sleep 100000 & exec 5<README.txt');
  await visit.page.getByRole('tab', { name: 'Timeline' }).click();
  await visit.page.locator('vm-timeline').getByRole('combobox').selectOption('never');
  await visit.page.getByRole('tab', { name: 'Lessons' }).click();
}

/** All that lessons may have changed, as text. */
export async function stateOf({ page }: Visit): Promise<string> {
  return page.evaluate(async () => {
    const element = document.querySelector('virtiofs-vm')!;
    const vm = element.vm!;
    const list = async (path: string): Promise<string[]> =>
      (
        await Promise.all(
          (
            await vm.fs.list(path)
          ).map(async (entry) =>
            entry.kind === 'directory'
              ? [entry.path, ...(await list(entry.path))]
              : [`${entry.path}: ${await vm.fs.readText(entry.path)}`],
          ),
        )
      ).flat();
    const { stdout } = await vm.exec(
      'ps | grep -Eo "[s]leep 100000|[l]ocker.*|[c]rowd.*|[s]leep 1000$"; grep -o "\\[none\\]" /sys/power/pm_test',
    );
    const { guests } = (vm as unknown as { connection: { guests: { isHeld: boolean; shells: unknown[] }[] } })
      .connection;
    const shown = guests.map(
      ({ isHeld, shells }) => `a guest${isHeld ? ' that is held' : ''} with ${shells.length} shells`,
    );
    return [
      ...(await list('/')),
      stdout,
      ...shown,
      ...(await vm.snapshots()).filter(({ kind }) => kind === 'manual').map(({ name }) => name),
    ].join('\n');
  });
}

/** Opens a lesson, does `steps` of it, or all. */
export async function follow(visit: Visit, index: number, steps = Infinity): Promise<void> {
  await openLesson(visit, index);
  for (let n = 0; n < Math.min(steps, LESSONS[index]!.steps.length); n++)
    await doStep(visit, n).catch(async (error: Error) => {
      const told = (await visit.page.locator('.problem').allInnerTexts()).join('; ');
      throw new Error(`${await lesson(visit).innerText()}\n${told}\n${await visit.screen()}`, { cause: error });
    });
  if (steps === Infinity) await lesson(visit).getByText('Lesson complete.').waitFor();
}

/** Follows a lesson, and returns what its text points at in vain, as it's called there. */
export async function pointedInVain(visit: Visit, index: number): Promise<string[]> {
  await openLesson(visit, index);
  const vain: string[] = [];
  for (const n of LESSONS[index]!.steps.keys()) {
    const pointers = stepOf(visit, n).locator('button.pointer');
    const seen = new Set<number>();
    await doStep(visit, n, undefined, async () => {
      for (const [at, pointer] of (await pointers.all()).entries()) {
        await pointer.focus();
        const marked = visit.page.locator('[data-marked]').first();
        if (!seen.has(at))
          await marked.waitFor({ timeout: 3000 }).then(
            () => seen.add(at),
            () => {},
          );
        await pointer.blur();
      }
    });
    for (const [at, text] of (await pointers.allInnerTexts()).entries())
      if (!seen.has(at)) vain.push(`${LESSONS[index]!.id}, step ${n + 1}: ${text}`);
  }
  return vain;
}

/** Leaves the lesson under way; everything is as it was then. */
export async function leave(visit: Visit, before: string, what: string): Promise<void> {
  await lesson(visit).getByRole('button', { name: 'All lessons' }).first().click();
  await same(visit, before, what);
}

/** Reloads the page after `steps` of a lesson, which are in a snapshot; everything is as it was before it. */
export async function interrupt(visit: Visit, before: string, index: number, steps: number): Promise<void> {
  await follow(visit, index, steps);
  await visit.page.evaluate(() =>
    document
      .querySelector('virtiofs-vm')!
      .vm!.snapshot()
      .then(() => undefined),
  );
  await visit.page.reload();
  await visit.ready();
  await visit.page.evaluate(async () => {
    const vm = document.querySelector('virtiofs-vm')!.vm!;
    for (const { id, kind } of await vm.snapshots()) if (kind === 'manual') await vm.removeSnapshot(id);
  });
  await same(visit, before, `lesson ${index + 1}, reloaded after ${steps} steps`);
  await visit.page.getByRole('tab', { name: 'Lessons' }).click();
}

async function same(visit: Visit, before: string, what: string): Promise<void> {
  // The page says when it has cleared up; then all is as it was.
  const isClear = visit.page.waitForFunction(
    () =>
      !(
        document.querySelector('virtiofs-vm')!.vm as unknown as { connection: { guests: { shells: unknown[] }[] } }
      ).connection.guests.some(({ shells }) => shells.length > 1),
    undefined,
    { timeout: STEP_TIME },
  );
  await isClear.catch(async (error: Error) => {
    throw new Error(`${what}: ${await stateOf(visit)}`, { cause: error });
  });
  await visit
    .until(async () => (await stateOf(visit)) === before, what)
    .catch(async () =>
      expect(
        await stateOf(visit),
        `${what}; ${(await visit.page.locator('.problem').allInnerTexts()).join('; ')}`,
      ).to.equal(before),
    );
}

/** An order of `count` things that has each after each other, itself included: a tour through all edges of the complete graph. */
export function everyPair(count: number): number[] {
  const left = Array.from({ length: count }, () => Array.from({ length: count }, (_, n) => n));
  const [order, stack] = [[] as number[], [0]];
  while (stack.length) {
    const next = left[stack.at(-1)!]!.pop();
    if (next === undefined) order.push(stack.pop()!);
    else stack.push(next);
  }
  return order.reverse();
}
