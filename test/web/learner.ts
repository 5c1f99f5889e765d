import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Locator, Page } from 'playwright-core';
import type { Act } from '../../web/page/lessons/acts.ts';
import type { Lesson, Step } from '../../web/page/lessons/course-format.ts';
import { lesson, moveOut, stepOf } from './lesson-matrix.ts';
import type { Visit } from './support.ts';

/** For a step. Milliseconds. */
const STEP_TIME = 120_000;

/** What a learner writes, in parts: one for each step that asks for more of the program. They are no copies of the course's solutions. */
const program = (name: string) =>
  readFileSync(join(import.meta.dirname, 'learner', `${name}.txt`), 'utf8').split('====\n');

/** Of lessons that begin with a program which lacks one thing: what is changed where, by id and step. */
const CHANGES: Record<string, { after: string; from: string; to: string }> = {
  'packed 0': { after: 'describe(0, request, 104, ', from: '0', to: 'NEXT | AVAIL' },
  'features 2': { after: 'outl(common + 0x0c, ', from: '0', to: '1' },
  'init 2': { after: 'ram.write32(at, 7); ram.write32(at + 4, ', from: '36', to: '31' },
};
/** Steps of the last lesson in which the program grows. */
const FIRST_PART = 2;
const PARTS = 5;

/** Somebody who does a course by hand: reads, predicts, types, clicks, and walks through what waits. Nowhere "Do it for me", nor a solution. */
export class Learner {
  readonly #visit: Visit;
  readonly #page: Page;
  readonly #language: 'c' | 'py';

  /** `language`: that of the driver in the guest. */
  constructor(visit: Visit, language: 'c' | 'py') {
    this.#visit = visit;
    this.#page = visit.page;
    this.#language = language;
  }

  async do({ id, files, steps }: Lesson, index: number): Promise<void> {
    const { question, command, answer, acts, exercise, check, title } = steps[index]!;
    const step = stepOf(this.#visit, index);
    if (question) await step.locator('.options button').first().click();
    // Whoever reads the step first gives the page time to look at what is there.
    if (command || acts.length)
      await step.getByRole('button', { name: 'Do it for me' }).and(this.#page.locator(':enabled')).waitFor();
    for (const act of acts) await this.#perform(act, id);
    if (command && answer !== undefined)
      await this.#drive(files, index - FIRST_PART, await step.locator('code.command').innerText());
    else if (command) await this.#type(command, await step.locator('code.command').innerText());
    else if (exercise) await this.#program(step, exercise.isGiven, id, index);
    else if (!check) await step.getByRole('button', { name: 'Continue', exact: true }).click();
    else if (!acts.length && title === 'Move it') await moveOut(this.#visit);
    else if (!acts.length && !question) throw new Error('there is nothing to do');
    await step.locator('.mark[data-done]').waitFor({ timeout: STEP_TIME });
  }

  #panel(name: string): Promise<void> {
    return this.#page.getByRole('tab', { name, exact: true }).click();
  }

  async #stepTab(): Promise<void> {
    await this.#panel('Inspector');
    await this.#page.locator('vm-inspector').getByRole('tab', { name: 'Step' }).click();
  }

  /** Into the lesson's own shell, which is the last tab of the guest's terminal. */
  async #line(guest: number, line: string): Promise<void> {
    const tabs = this.#visit.terminal(guest).getByRole('tab');
    if ((await tabs.count()) > 1) await tabs.last().click();
    await this.#visit.type(line, guest);
  }

  /** With the device paused where there is something to look at: through the request that waits, part by part, and then on. */
  async #type({ where, isPaused }: NonNullable<Step['command']>, line: string): Promise<void> {
    const isHeldNow = (await this.#page.locator('.held').count()) > 0;
    if (isPaused && !isHeldNow) {
      // The Inspector is about the guest that was used last.
      await this.#visit.terminal(0).locator('.screens').click();
      await this.#hold();
    }
    await this.#line(where === 'second' ? 1 : 0, line);
    if (!isPaused || isHeldNow) return;
    await this.#serve();
    await this.#release();
  }

  async #hold(): Promise<void> {
    await this.#stepTab();
    await this.#page.getByRole('button', { name: 'Pause before the next request' }).click();
    await this.#page.locator('vm-step').getByRole('heading', { name: 'The device waits for a request' }).waitFor();
  }

  async #serve(): Promise<void> {
    await this.#stepTab();
    const part = (name: string) => this.#page.locator('vm-step').getByRole('button', { name, exact: true });
    for (await part('Next').or(part('Serve it')).first().waitFor(); !(await part('Serve it').count()); )
      await part('Next').click();
    await part('Serve it').click();
  }

  #release(): Promise<void> {
    return this.#page.locator('.held').getByRole('button', { name: 'Continue' }).click();
  }

  async #perform(act: Act, id: string): Promise<void> {
    const timeline = this.#page.locator('vm-timeline');
    switch (act.what) {
      case 'hold':
        return this.#hold();
      case 'serve':
        return this.#serve();
      case 'release':
        return this.#release();
      case 'snapshot':
        await this.#panel('Timeline');
        return timeline.getByRole('button', { name: 'Snapshot now' }).click();
      case 'rewind':
        await this.#panel('Timeline');
        return timeline.locator('li[data-kind=manual]').getByRole('button', { name: 'Rewind to' }).first().click();
      case 'fork': {
        await this.#panel('Timeline');
        await timeline.getByRole('button', { name: 'Fork', exact: true }).click();
        const name = act.folder === 'shared' ? 'Same folder' : 'Folder of its own';
        return this.#page.getByRole('dialog').getByRole('button', { name }).click();
      }
      case 'write':
        return this.#write(`/lesson-${id}`, act.path, act.text);
    }
  }

  /** In Files: a new file, or more lines at the end of one that is there. */
  async #write(folder: string, name: string, text: string): Promise<void> {
    await this.#panel('Files');
    const files = this.#page.locator('vm-files');
    const row = (path: string) => files.locator(`.row[data-path="${path}"]`);
    const path = `${folder}/${name}`;
    if ((await row(path).count()) === 0) {
      await row(folder).click();
      await files.getByRole('button', { name: 'New file', exact: true }).click();
      await this.#page.getByRole('dialog').getByRole('textbox').fill(name);
      await this.#page.getByRole('dialog').getByRole('button', { name: 'Create', exact: true }).click();
    }
    await row(path).click();
    const editor = files.locator('vm-text-editor');
    await editor.locator('.cm-content').click();
    const value = () => editor.evaluate((element) => (element as unknown as { value: string }).value);
    await this.#page.keyboard.press('Control+End');
    await this.#page.keyboard.type(text.slice((await value()).length));
    await files.getByRole('button', { name: 'Save', exact: true }).click();
  }

  /** A program for a bare device: more of it, or something else in it, and then it runs. */
  async #program(step: Locator, isGiven: boolean, id: string, index: number): Promise<void> {
    const editor = step.getByLabel('Your driver');
    await editor.click();
    const change = CHANGES[`${id} ${index}`];
    if (change) await this.#change(editor, change);
    else if (!isGiven) {
      await this.#page.keyboard.press('Control+End');
      await this.#page.keyboard.type(`\n${program('driver.js')[index]!}`);
    }
    await step.getByRole('button', { name: 'Run', exact: true }).click();
  }

  /** With the keys of a text field. */
  async #change(editor: Locator, { after, from, to }: (typeof CHANGES)[string]): Promise<void> {
    const lines = (await editor.inputValue()).split('\n');
    const at = lines.findIndex((each) => each.includes(after));
    const { keyboard } = this.#page;
    const press = async (key: string, times: number) => {
      for (let n = 0; n < times; n++) await keyboard.press(key);
    };
    await keyboard.press('Control+Home');
    await press('ArrowDown', at);
    await press('ArrowRight', lines[at]!.indexOf(after) + after.length);
    await press('Shift+ArrowRight', from.length);
    await keyboard.type(to);
  }

  /** The driver in the guest: its next part is written with an editor there, in C, or appended by the shell, in Python; then it runs. */
  async #drive(files: Lesson['files'], part: number, command: string): Promise<void> {
    const name = `driver.${this.#language}`;
    const parts = program(name).slice(0, PARTS);
    if (this.#language === 'py') {
      await this.#line(1, `cat >> ${name} << 'EOF'`);
      for (const line of `${parts[part]!}EOF`.split('\n')) await this.#line(1, line);
      return this.#line(1, command);
    }
    // What is written comes before the end of main.
    const rest = files[name]!.split('\n');
    const end = rest.indexOf('  return 0;');
    const written = parts.slice(0, part).join('').split('\n').length - 1;
    await this.#line(1, `nano +${end + 1 + written} ${name}`);
    const screen = async (text: RegExp) =>
      this.#visit.until(async () => text.test(await this.#visit.screen(1)), `nano shows no ${text}`);
    await screen(/\^X\W*Exit/);
    for (const line of parts[part]!.trimEnd().split('\n')) {
      await this.#page.keyboard.insertText(line);
      await this.#page.keyboard.press('Enter');
    }
    await this.#page.keyboard.press('Control+o');
    await screen(/File Name to Write/);
    await this.#page.keyboard.press('Enter');
    await screen(/Wrote \d+ lines/);
    await this.#page.keyboard.press('Control+x');
    return this.#line(1, command.replace('python3 driver.py', 'gcc -o driver driver.c && ./driver'));
  }
}

/** Does a lesson from its first step to its last. */
export async function learn(visit: Visit, learner: Learner, one: Lesson): Promise<void> {
  await lesson(visit).getByRole('heading', { name: one.title }).waitFor();
  for (const index of one.steps.keys())
    await learner.do(one, index).catch(async (error: Error) => {
      await visit.picture('course-stuck');
      const second = (await visit.page.locator('vm-terminals').count()) > 1 ? await visit.screen(1) : '';
      throw new Error(
        `${one.title}, step ${index + 1}\n${await lesson(visit).innerText()}\n${await visit.screen()}\n${second}`,
        { cause: error },
      );
    });
  await lesson(visit).getByText('Lesson complete.').waitFor();
}
