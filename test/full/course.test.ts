import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { expect } from 'chai';
import { Learner, learn } from '../web/learner.ts';
import { COURSE_LESSONS, doStep, lesson, list } from '../web/lesson-matrix.ts';
import { useWebSite, type Visit } from '../web/support.ts';

/** For a guest to be closed. Milliseconds. */
const CLOSING = 120_000;

const ROOT = join(import.meta.dirname, '../..');
const GUEST_DRIVER = COURSE_LESSONS.find(({ id }) => id === 'guest-driver')!;

/** In the page's Debian: from lesson 0 to the drivers. */
describe('the page: the whole course', () => {
  const site = useWebSite();

  before(function () {
    this.timeout(1_200_000);
    execFileSync('npm', ['run', '--silent', 'build:debian'], { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  });

  it('has a driver in the guest, which the page can show, and which can be left half way', async () => {
    const { visit, before } = await openGuestDriver();
    for (const steps of [1, 2, 6, GUEST_DRIVER.steps.length]) {
      if (steps > 1) await openIt(visit);
      for (let index = 0; index < steps; index++) {
        const seen = await doStep(visit, index).catch(async (error: Error) => {
          throw new Error(
            `step ${index + 1}\n${await lesson(visit).innerText()}\n${await visit.screen(index ? 1 : 0)}`,
            {
              cause: error,
            },
          );
        });
        expect(seen.length, `step ${index + 1}`).to.be.above(10);
        if (/^Break/.test(GUEST_DRIVER.steps[index]!.title)) expect(seen).to.match(/descriptor/);
      }
      if (steps === GUEST_DRIVER.steps.length) {
        await lesson(visit).getByText('Lesson complete.').waitFor();
        await visit.picture('course-guest-driver');
      }
      await leaveGuestDriver(visit, before);
    }
  });

  it('has a driver in the guest that can be written in Python', async () => {
    const { visit, before } = await openGuestDriver();
    await learn(visit, new Learner(visit, 'py'), GUEST_DRIVER);
    await leaveGuestDriver(visit, before);
  });

  it('is done by hand, from its first lesson to drivers that read a file, in JavaScript and in C', async () => {
    const visit = await site.open();
    await visit.ready();
    const before = await filesOf(visit);
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).getByRole('button', { name: COURSE_LESSONS[0]!.title }).click();
    const learner = new Learner(visit, 'c');
    for (const [n, one] of COURSE_LESSONS.entries()) {
      await learn(visit, learner, one);
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

  async function openGuestDriver(): Promise<{ visit: Visit; before: string }> {
    const visit = await site.open({ path: '?guest=debian' });
    await visit.ready();
    const before = await filesOf(visit);
    await openIt(visit);
    return { visit, before };
  }

  async function openIt(visit: Visit): Promise<void> {
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).getByRole('button', { name: GUEST_DRIVER.title }).click();
    await lesson(visit).getByRole('heading', { name: GUEST_DRIVER.title }).waitFor();
  }

  /** The folder is as it was, and the second guest is gone. The list of lessons is shown. */
  async function leaveGuestDriver(visit: Visit, before: string): Promise<void> {
    await lesson(visit).getByRole('button', { name: 'All lessons' }).last().click();
    await list(visit).locator('.lessons').waitFor();
    await visit.page
      .getByRole('button', { name: /^Close guest \d+$/ })
      .waitFor({ state: 'detached', timeout: CLOSING });
    await visit.until(async () => (await filesOf(visit)) === before, 'the lesson has left something in the folder');
  }

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
});
