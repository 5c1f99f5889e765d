import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import { COURSE_LESSONS, doStep, LESSONS, lesson, list, stepOf } from './lesson-matrix.ts';
import { useWebSite, type Visit } from './support.ts';

/** What the page has to say it saw, step by step, of each lesson. Milliseconds and node ids differ. */
const SEEN: { title: string; seen: RegExp[] }[] = [
  {
    title: 'What happens on cat',
    seen: [
      /LOOKUP, OPEN, READ, FLUSH, RELEASE\. LOOKUP turned the name into node \d+/,
      /OPEN, FLUSH, RELEASE, and no READ/,
      /OPENDIR, READDIRPLUS.*RELEASEDIR/,
    ],
  },
  {
    title: 'One request, slowly',
    seen: [
      /waits from now on/,
      /(GETATTR|LOOKUP|OPEN) waits in queue \d/,
      /(GETATTR|LOOKUP|OPEN) is answered: \d+ bytes/,
      /(LOOKUP|OPEN).* followed|serves by itself/,
    ],
  },
  {
    title: 'A file that changes from outside',
    seen: [
      /note\.txt has 4 bytes/,
      /OPEN.*READ.*RELEASE/,
      /note\.txt has 12 bytes now/,
      /READ.*dropped the pages it had/,
      /\d questions? for three answers: the guest trusts|\d questions for three answers, some time apart/,
    ],
  },
  {
    title: 'A full queue',
    seen: [
      /takes nothing out of its queues/,
      /All 1024 descriptors are taken/,
      /1\d{3} were served, up to \d+ in one go/,
    ],
  },
  {
    title: 'Freeze with an unlinked open file',
    seen: [
      /file handle \d+ of node \d+, which has been deleted/,
      /paused for \d+ ms/,
      /RELEASE.*is free/,
      /File handle \d+ of node \d+ is there again/,
      /OPEN.*the guest noticed nothing/,
    ],
  },
  {
    title: 'Two guests, one lock',
    seen: [
      /^The guest and Guest 2 share one folder/,
      /^The guest’s process \d+ has a write lock \(flock\) on \/lesson-locks\/README\.txt/,
      /^Guest 2 is waiting/,
      /other guest’s process had the lock, and has ended/,
    ],
  },
  {
    title: 'Why suspend was refused for years',
    seen: [
      /Operation not supported”|It slept\. Linux 6\.12/,
      /^$/,
      /paused for \d+ ms/,
      /README\.txt is gone/,
      /README\.txt is back.*sent no INIT/,
    ],
  },
  {
    title: 'A number for each file',
    seen: [
      /kept\.txt is node \d+, and the session counts 1 lookup of it/,
      /went from 1 to 2\. It is one file: docs\/second\.txt is node \d+/,
      /docs\/moved\.txt is node \d+/,
      /FORGET gave \d lookups back, and LOOKUP added one: now the session counts 1\. docs\/moved\.txt is node \d+ again/,
    ],
  },
];
/** For a step: the guest asks 1100 times, or sleeps. */
const STEP_TIME = 60_000;

describe('the page: lessons', function () {
  const site = useWebSite();

  const doIt = (visit: Visit): Locator => lesson(visit).getByRole('button', { name: 'Do it for me' });
  const back = (visit: Visit) => lesson(visit).getByRole('button', { name: 'All lessons' }).first().click();

  async function open(title: string, options?: Parameters<typeof site.open>[0]): Promise<Visit> {
    const visit = await site.open(options);
    await visit.ready();
    await visit.page.getByRole(options?.width ? 'button' : 'tab', { name: 'Lessons' }).click();
    await list(visit).getByRole('button', { name: title }).click();
    await lesson(visit).getByRole('heading', { name: title }).waitFor();
    return visit;
  }

  /** Waits until the page has seen step `index`, and returns what. */
  async function seen(visit: Visit, index: number): Promise<string> {
    const text = stepOf(visit, index).locator('.seen');
    await text.waitFor({ timeout: STEP_TIME });
    return text.innerText();
  }

  for (const { title, seen: expected } of SEEN) {
    it(`${title}: every step is noticed when the page does it`, async () => {
      const visit = await open(title);
      expect(await lesson(visit).locator('.steps-list > li').count()).to.equal(expected.length);
      for (const [index, text] of expected.entries())
        expect(await doStep(visit, index), `step ${index + 1}`).to.match(text);
      await lesson(visit).getByText('Lesson complete.').waitFor();
      await visit.picture(`lesson-${title.toLowerCase().replaceAll(/\W+/g, '-')}`);
      await back(visit);
      expect(await list(visit).getByRole('button', { name: title }).innerText()).to.match(/✓[\s\S]*done/);
    });
  }

  it('has these lessons', async () => {
    const visit = await site.open();
    await visit.ready();
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).locator('.lessons').waitFor();
    expect(await list(visit).locator('.lessons .title').allInnerTexts()).to.deep.equal(
      COURSE_LESSONS.map(({ title }) => title),
    );
    expect(LESSONS.map(({ title }) => title)).to.include.members(SEEN.map(({ title }) => title));
    await visit.picture('lessons');
  });

  it('notice what the visitor does by hand, and nothing else', async () => {
    const visit = await open('What happens on cat');
    await visit.run('cat ../count.sh; ls ..');
    expect(await lesson(visit).locator('.seen').count()).to.equal(0);
    await visit.type('echo 3 > /proc/sys/vm/drop_caches; head -c 10 README.txt');
    expect(await seen(visit, 0)).to.match(/LOOKUP, OPEN, READ/);
    await visit.page.getByRole('tab', { name: 'Files' }).click();
    await visit.run('cat README.txt');
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    expect(await seen(visit, 1)).to.match(/no READ/);
  });

  it('notice what is done in the other panels', async () => {
    const visit = await open('Freeze with an unlinked open file');
    await visit.type('exec 5<>mine; echo mine >&5; rm mine');
    await seen(visit, 0);
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.locator('vm-timeline').getByLabel('Name of the snapshot').fill('my own');
    await visit.page.locator('vm-timeline').getByRole('button', { name: 'Snapshot now' }).click();
    // The next step is about another panel, which the page shows then.
    await seen(visit, 1);
    await visit.type('exec 5>&-');
    await seen(visit, 2);
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    const mine = visit.page.locator('vm-timeline li[data-id]').filter({ hasText: 'my own' });
    await mine.getByRole('button', { name: 'Rewind to' }).click();
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    await seen(visit, 3);
    expect(await visit.run('cat /proc/self/fd/5')).to.equal('mine');
    await seen(visit, 4);
  });

  it('begin anew when they are restarted, left or interrupted by a reload; those that were done are remembered', async () => {
    const visit = await open('A number for each file');
    const current = async () =>
      await lesson(visit)
        .locator('.steps-list > li')
        .evaluateAll((steps) => steps.findIndex((step) => step.getAttribute('aria-current') === 'step'));
    for (const index of COURSE_LESSONS.find(({ id }) => id === 'nodes')!.steps.keys()) await doStep(visit, index);
    await back(visit);
    await list(visit).getByRole('button', { name: 'What happens on cat' }).click();
    await doStep(visit, 0);
    await lesson(visit).getByRole('button', { name: 'Restart' }).click();
    expect(await current()).to.equal(0);
    await doStep(visit, 0);
    await visit.page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.snapshot('half way'));
    await visit.page.reload();
    await visit.ready();
    await visit.until(
      async () => (await visit.terminal().getByRole('tab').count()) === 1,
      'the lesson’s shell is still there',
    );
    expect(await visit.run('ls -d lesson*')).to.match(/No such file/);
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).locator('.lessons').waitFor();
    expect(await list(visit).locator('.steps').allInnerTexts()).to.deep.equal(
      COURSE_LESSONS.map(({ id, steps: { length } }) =>
        id === 'nodes' ? 'done, predicted 0 of 3' : `${length} steps`,
      ),
    );
    await list(visit).getByRole('button', { name: 'What happens on cat' }).click();
    expect(await current()).to.equal(0);
  });

  it('go on where the first guest was closed, or say so', async () => {
    const visit = await open('Two guests, one lock');
    await doStep(visit, 0);
    await doStep(visit, 1);
    await visit.page.getByRole('button', { name: 'Close guest 2' }).click();
    await lesson(visit).getByRole('button', { name: 'I don’t know: show me' }).click();
    await lesson(visit).getByText('There is no second guest with this folder any more. Restart the lesson.').waitFor();
    expect(await doIt(visit).count()).to.equal(0);
  });

  it('begin with something to type while there is another guest', async () => {
    const visit = await site.open();
    await visit.ready();
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.locator('vm-timeline').getByRole('button', { name: 'Fork', exact: true }).click();
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Same folder' }).click();
    await visit.page.getByRole('button', { name: 'Close guest 2' }).waitFor();
    await visit.page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).getByRole('button', { name: 'A chain for a request' }).click();
    await doStep(visit, 0);
  });

  it('can be followed with the keyboard, on a phone too', async () => {
    const visit = await open('What happens on cat', { width: 390, height: 780 });
    const { page } = visit;
    const focused = () =>
      page.evaluate(() => {
        let element = document.activeElement;
        while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
        return element?.textContent?.trim();
      });
    expect(await focused()).to.equal('What happens on cat');
    const skip = lesson(visit).getByRole('button', { name: 'I don’t know: show me' });
    await skip.focus();
    await page.keyboard.press('Enter');
    await doIt(visit).and(page.locator(':enabled')).waitFor();
    await doIt(visit).focus();
    await page.keyboard.press('Enter');
    await lesson(visit).getByRole('button', { name: 'Let the device take it' }).focus();
    await page.keyboard.press('Enter');
    await seen(visit, 0);
    await visit.picture('lesson-phone');
    await lesson(visit).getByRole('button', { name: 'All lessons' }).focus();
    await page.keyboard.press('Enter');
    await visit.until(
      async () => (await focused())!.includes('What happens on cat'),
      'the focus is not on the lesson that was left',
    );
  });
});
