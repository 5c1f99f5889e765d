import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import type { Act } from '../../web/page/lessons/acts.ts';
import type { Step } from '../../web/page/lessons/course-format.ts';
import { COURSE_LESSONS, doStep, lesson, list, moveOut, solve, stepOf } from '../web/lesson-matrix.ts';
import { useWebSite, type Visit } from '../web/support.ts';

/** For a step. Milliseconds. */
const STEP_TIME = 120_000;

const ROOT = join(import.meta.dirname, '../..');
const GUEST_DRIVER = COURSE_LESSONS.find(({ id }) => id === 'guest-driver')!;

/** In the page's Debian: from lesson 0 to the drivers, as a learner goes, by clicks and what is typed, nowhere "Do it for me". */
describe('the page: the whole course', () => {
  const site = useWebSite();

  before(function () {
    this.timeout(1_200_000);
    execFileSync('npm', ['run', '--silent', 'build:debian'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  });

  it('has a driver in the guest, which the page can show', async () => {
    const visit = await site.open({ path: '?guest=debian' });
    await visit.ready();
    const before = await filesOf(visit);
    await visit.page.evaluate(() => (location.hash = '#lesson=guest-driver'));
    await lesson(visit).getByRole('heading', { name: GUEST_DRIVER.title }).waitFor();
    for (const index of GUEST_DRIVER.steps.keys()) {
      const seen = await doStep(visit, index).catch(async (error: Error) => {
        throw new Error(`step ${index + 1}\n${await lesson(visit).innerText()}\n${await visit.screen(index ? 1 : 0)}`, {
          cause: error,
        });
      });
      expect(seen.length, `step ${index + 1}`).to.be.above(10);
      if (/^Break/.test(GUEST_DRIVER.steps[index]!.title)) expect(seen).to.match(/descriptor/);
    }
    await lesson(visit).getByText('Lesson complete.').waitFor();
    await visit.picture('course-guest-driver');
    await lesson(visit).getByRole('button', { name: 'All lessons' }).last().click();
    await list(visit).locator('.lessons').waitFor();
    await visit.page.getByRole('button', { name: 'Close guest 2' }).waitFor({ state: 'detached', timeout: STEP_TIME });
    await visit.until(async () => (await filesOf(visit)) === before, 'the lesson has left something in the folder');
  });

  it('is done by hand, from its first lesson to drivers that read a file', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.ready();
    const before = await filesOf(visit);
    await page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).getByRole('button', { name: COURSE_LESSONS[0]!.title }).click();
    for (const [n, { title, steps }] of COURSE_LESSONS.entries()) {
      await lesson(visit).getByRole('heading', { name: title }).waitFor();
      for (const [index, step] of steps.entries())
        await doByHand(visit, step, index).catch(async (error: Error) => {
          await visit.picture('course-stuck');
          throw new Error(`${title}, step ${index + 1}\n${await lesson(visit).innerText()}\n${await visit.screen()}`, {
            cause: error,
          });
        });
      await lesson(visit).getByText('Lesson complete.').waitFor();
      const next = COURSE_LESSONS[n + 1];
      await lesson(visit)
        .getByRole('button', { name: next ? `Next: ${next.title}` : 'All lessons' })
        .last()
        .click();
    }
    await list(visit).locator('.lessons').waitFor();
    expect(await list(visit).locator('.steps').allInnerTexts()).to.satisfy((states: string[]) =>
      states.every((state) => state.startsWith('done')),
    );
    await visit.until(async () => (await filesOf(visit)) === before, 'the course has left something in the folder');
  });

  const filesOf = (visit: Visit) =>
    visit.page.evaluate(async () =>
      JSON.stringify(
        (await document.querySelector('virtiofs-vm')!.vm!.fs.list('/')).map(({ name, size, version }) => [
          name,
          size,
          version,
        ]),
      ),
    );

  async function doByHand(
    visit: Visit,
    { question, command, answer, acts, exercise, check }: Step,
    index: number,
  ): Promise<void> {
    const step = stepOf(visit, index);
    const button = (name: string) => step.getByRole('button', { name, exact: true });
    if (question) await step.locator('.options button').first().click();
    // Whoever reads the step first gives the page time to look at what is there.
    if (command || acts.length) await button('Do it for me').and(visit.page.locator(':enabled')).waitFor();
    // A driver of the learner's own, in C.
    if (answer) await type(visit, 1, answer.replace('python3 solution.py', 'gcc -o driver solution.c; ./driver'));
    else if (command)
      await type(visit, command.where === 'second' ? 1 : 0, await step.locator('code.command').innerText());
    for (const act of acts) await perform(visit, act, step);
    if (exercise) await solve(step);
    else if (!check) await button('Continue').click();
    else if (!command && !acts.length && !question) throw new Error('there is nothing to do');
    if (/^A guest that moves/.test(await lesson(visit).locator('h2').innerText()) && !command && !acts.length)
      await moveOut(visit);
    await step.locator('.mark[data-done]').waitFor({ timeout: STEP_TIME });
  }

  /** Into the lesson's own shell, which is the last tab of the guest's terminal. */
  async function type(visit: Visit, guest: number, line: string): Promise<void> {
    const tabs = visit.terminal(guest).getByRole('tab');
    if ((await tabs.count()) > 1) await tabs.last().click();
    await visit.type(line, guest);
  }

  async function perform({ page }: Visit, act: Act, step: Locator): Promise<void> {
    const panel = async (name: string) => page.getByRole('tab', { name, exact: true }).click();
    const inStep = async () => {
      await panel('Inspector');
      await page.locator('vm-inspector').getByRole('tab', { name: 'Step' }).click();
    };
    const timeline = page.locator('vm-timeline');
    switch (act.what) {
      case 'hold':
        await inStep();
        return page.getByRole('button', { name: 'Pause before the next request' }).click();
      case 'serve': {
        await inStep();
        const next = page.locator('vm-step').getByRole('button', { name: 'Next', exact: true });
        const serve = page.locator('vm-step').getByRole('button', { name: 'Serve it' });
        for (await next.or(serve).first().waitFor(); !(await serve.count()); ) await next.click();
        return serve.click();
      }
      case 'release':
        return page.locator('.held').getByRole('button', { name: 'Continue' }).click();
      case 'snapshot':
        await panel('Timeline');
        return timeline.getByRole('button', { name: 'Snapshot now' }).click();
      case 'rewind':
        await panel('Timeline');
        return timeline.locator('li[data-kind=manual]').getByRole('button', { name: 'Rewind to' }).first().click();
      case 'fork': {
        await panel('Timeline');
        await timeline.getByRole('button', { name: 'Fork', exact: true }).click();
        const name = act.folder === 'shared' ? 'Same folder' : 'Folder of its own';
        return page.getByRole('dialog').getByRole('button', { name }).click();
      }
      case 'write':
        // The editor of files has tests of its own.
        return step.getByRole('button', { name: 'Do it for me' }).click();
    }
  }
});
