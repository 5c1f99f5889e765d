import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import { PAGE_DIRECTORY } from '../../web/build/serve.ts';
import { parseLesson } from '../../web/page/lessons/course-format.ts';
import { COURSE_LESSONS, doStep, LESSONS, lesson, list, stepOf } from './lesson-matrix.ts';
import { INSECURE_HOST, useWebSite, type Visit } from './support.ts';

const MINE = `---
id: mine
title: A lesson of somebody
about: <b>Not bold</b>, and foreign.
---

## Look <img src=x onerror="globalThis.ran = 1">

Text with <script>globalThis.ran = 2</script>, [a link](javascript:globalThis.ran=3), ![a picture](https://elsewhere.test/p.png),
[another](https://example.org/), [a term](term:nothing), [a section](virtio:2.7.6) and [none](virtio:99).

<iframe src="https://elsewhere.test/"></iframe>

\`\`\`question
Which one?
- The <i>first</i> => size(requests) > 0
- [ ] The second
\`\`\`

\`\`\`do
ls {dir}
\`\`\`

\`\`\`check
done: saw(requests, "RELEASEDIR")
seen: <u>{opcodes(requests)}</u>
\`\`\`

\`\`\`show
requests opcode:READDIRPLUS opcode:READDIR
\`\`\`
`;

describe('the page: courses', function () {
  const site = useWebSite();

  /** Serves these files below `courses/`. */
  function host(files: Record<string, string>): void {
    site.intercept = (request, response, next) => {
      const name = /\/courses\/([\w.-]+)$/.exec(request.url!)?.[1];
      if (name === undefined || !(name in files)) return next();
      response.setHeader('content-type', 'text/markdown').end(files[name]);
    };
  }

  async function openLesson(id: string, options: Parameters<typeof site.open>[0] = {}): Promise<Visit> {
    const visit = await site.open({ path: `#lesson=${id}`, ...options });
    await visit.ready();
    await stepOf(visit, 0).waitFor();
    return visit;
  }

  it('of others are shown as text, and can be done; what was done is kept by their address, and goes from browser to browser', async () => {
    host({ 'mine.md': MINE });
    const path = '?course=courses/mine.md';
    const visit = await openLesson('mine', { path: `${path}#lesson=mine` });
    const step = stepOf(visit, 0);
    expect(await step.innerText())
      .to.contain('<script>globalThis.ran = 2</script>')
      .and.contain('<iframe')
      .and.contain('[a picture]');
    expect(await lesson(visit).locator('img, iframe, script, b, i, u').count()).to.equal(0);
    expect(
      await step
        .locator('a')
        .evaluateAll((links) => links.map((link) => (link as HTMLAnchorElement).getAttribute('href'))),
    ).to.satisfy((links: string[]) => links.every((link) => link.startsWith('https://')) && links.length === 2);
    expect(await doStep(visit, 0, parseLesson(MINE, 'mine.md'))).to.match(/^<u>.*READDIR/);
    expect(await stepOf(visit, 0).locator('.verdict').innerText()).to.equal('The answer: The <i>first</i>');
    expect(await visit.page.evaluate(() => (globalThis as { ran?: number }).ran)).to.equal(undefined);
    await visit.page.locator('vm-requests .row[data-marked]').first().waitFor();
    await lesson(visit).getByRole('button', { name: 'All lessons' }).first().click();
    await list(visit).getByText('A course from localhost').waitFor();
    await list(visit).getByText('done, predicted 0 of 1').waitFor();
    const exported = await visit.download(() => list(visit).getByRole('button', { name: 'Export progress' }).click());
    const file = await readFile(await exported.path());

    const other = await site.open({ path });
    await other.ready();
    await list(other).getByText('1 step', { exact: true }).waitFor();
    const choose = async (name: string, buffer: Buffer) =>
      list(other).locator('input[type=file]').setInputFiles({ name, mimeType: 'application/json', buffer });
    await choose('other.json', Buffer.from('{"format":"else"}'));
    await other.page.getByText('This file is not a course’s progress').waitFor();
    await choose('progress.json', file);
    await list(other).getByText('done, predicted 0 of 1').waitFor();
  });

  for (const [what, files, reason] of [
    ['are not there', {}, /could not be fetched: the server says 404/],
    ['are too large', { 'mine.md': '#'.repeat(900_000) }, /is too large/],
    ['have no steps', { 'mine.md': 'Nothing.' }, /there is no step/],
    ['refer to another server', { 'mine.md': '1. [a](https://elsewhere.test/a.md)\n' }, /have to be on one server/],
    ['have an invalid condition', { 'mine.md': MINE.replace('size(requests) > 0', 'size(') }, /step “Look.*size\(/],
  ] as [string, Record<string, string>, RegExp][])
    it(`of others that ${what} are refused, and the page’s own is shown`, async () => {
      host(files);
      const visit = await site.open({ path: '?course=courses/mine.md' });
      await visit.page.getByRole('alert').getByText(reason).waitFor();
      await list(visit).getByText(LESSONS[0]!.title).waitFor();
      visit.complaints.splice(0, what === 'are not there' ? 1 : 0);
    });

  it('of other servers are taken from a link only if the page allows it, in its element and in its policy', async () => {
    const port = new URL(site.url).port;
    const origin = `http://${INSECURE_HOST}:${port}`;
    const path = `?course=${origin}/courses/mine.md#lesson=mine`;
    const refused = await site.open({ path });
    await refused.page.getByRole('alert').getByText(`${origin}/courses/mine.md is not shown`).waitFor();
    await list(refused).getByText(LESSONS[0]!.title).waitFor();
    expect(refused.strangers).to.deep.equal([]);

    // As whoever runs the page may change it: the attribute alone, then the policy too.
    const html = await readFile(join(PAGE_DIRECTORY, 'index.html'), 'utf8');
    for (const policy of ["connect-src 'self'", `connect-src 'self' ${origin}`]) {
      const own = html
        .replace('<virtiofs-vm ', `<virtiofs-vm course-origins="https://else.test ${origin}" `)
        .replace("connect-src 'self'", policy);
      site.intercept = (request, response, next) => {
        if (request.url!.startsWith('/courses/mine.md'))
          return response.setHeader('access-control-allow-origin', '*').end(MINE);
        if (!/\/where\/(\?|$)/.test(request.url!)) return next();
        response.setHeader('content-type', 'text/html').end(own);
      };
      const visit = await site.open({ path });
      if (policy.includes(origin)) {
        await lesson(visit).getByRole('heading', { name: 'A lesson of somebody' }).waitFor();
        expect(visit.strangers.splice(0)).to.deep.equal([`${origin}/courses/mine.md`]);
      } else {
        await visit.page.getByRole('alert').getByText(`policy has to allow ${origin}`).waitFor();
        visit.complaints.length = visit.strangers.length = 0;
      }
    }
  });

  it('are the built-in one’s files as well, where those are served', async () => {
    const visit = await site.open({ path: '?course=course/course.md' });
    await list(visit).locator('.lessons').waitFor();
    expect(await list(visit).locator('.lessons .title').allInnerTexts()).to.deep.equal(
      COURSE_LESSONS.map(({ title }) => title),
    );
  });

  it('begin at a step that a link leads to, when those before it were done', async () => {
    const visit = await openLesson('cat', { path: '#lesson=cat&step=3' });
    await lesson(visit).getByText('The link leads to step 3').waitFor();
    // Pressed twice it types nothing twice.
    await lesson(visit).getByRole('button', { name: 'Do them for me' }).dblclick();
    await stepOf(visit, 2).and(visit.page.locator('[aria-current=step]')).waitFor({ timeout: 60_000 });
    await visit.page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    await lesson(visit).getByRole('button', { name: 'Copy a link to this step' }).click();
    await visit.until(
      async () => (await visit.page.evaluate(() => navigator.clipboard.readText())).endsWith('#lesson=cat&step=3'),
      'no link was copied',
    );
    expect((await visit.screen()).match(/^This file belongs/gm)).to.have.length(2);
    // Another link in the same tab changes the address only.
    await visit.page.evaluate(() => (location.hash = '#lesson=nodes'));
    await lesson(visit).getByRole('heading', { name: 'A number for each file' }).waitFor();
    await visit.page.evaluate(() => (location.hash = '#lesson=driver&step=3'));
    await lesson(visit).getByText('The program of this step is yours to write.').waitFor();
    expect(await lesson(visit).getByRole('button', { name: 'Do them for me' }).count()).to.equal(0);
  });

  it('say so when a link leads to a lesson that does not exist', async () => {
    const visit = await site.open({ path: '#lesson=nothing' });
    await visit.page.getByRole('alert').getByText('The course has no lesson “nothing”').waitFor();
  });

  it('say what a guest has to have for them', async () => {
    const visit = await site.open({ path: '#lesson=guest-driver' });
    await lesson(visit)
      .getByRole('alert')
      .getByText('This lesson needs python3 and gcc, which this guest does not have')
      .waitFor();
    expect(await lesson(visit).locator('.steps-list').count()).to.equal(0);
    await lesson(visit).getByRole('button', { name: 'All lessons' }).click();
    await list(visit).locator('.lessons').waitFor();
  });

  it('have a glossary that texts lead to, and can be printed', async () => {
    const visit = await openLesson('start');
    const { page } = visit;
    await stepOf(visit, 0).getByRole('button', { name: 'used ring', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Glossary' });
    expect(await dialog.locator('[data-current] dt').innerText()).to.equal('used ring');
    expect(await dialog.locator('[data-current] a').getAttribute('href')).to.match(/docs\.oasis-open\.org.*#x1-540008/);
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await page.getByRole('tab', { name: 'Lessons' }).click();
    await list(visit).getByRole('button', { name: 'Print' }).click();
    const paper = page.locator('vm-printable');
    const titles = COURSE_LESSONS.map(({ title }) => title);
    expect(await paper.locator('h2').allInnerTexts()).to.deep.equal([...titles, 'Glossary']);
    expect(await page.locator('virtiofs-vm').isVisible()).to.equal(false);
    await visit.picture('course-printable');
    await paper.getByRole('button', { name: 'Close' }).click();
    await page.locator('virtiofs-vm').waitFor();
  });

  for (const size of [
    { width: 1280, height: 800 },
    { width: 390, height: 780 },
  ])
    it(`stand beside what they are about, which is marked there, ${size.width} px wide`, async () => {
      const visit = await openLesson('start', size);
      const { page } = visit;
      await doStep(visit, 0);
      await doStep(visit, 1);
      await doStep(visit, 2);
      await stepOf(visit, 3).getByRole('button', { name: 'I don’t know: show me' }).click();
      await stepOf(visit, 3).getByRole('button', { name: 'Show it' }).click();
      const picture = page.locator('vm-step .machine');
      await picture.waitFor();
      expect(await lesson(visit).isVisible()).to.equal(true);
      const mark = page.locator('vm-step [data-marked]');
      expect(await mark.first().getAttribute('data-mark')).to.equal('used');
      for (const [text, name] of [
        ['descriptors', 'table'],
        ['request', 'buffers'],
        ['used ring', 'used'],
      ] as const) {
        await stepOf(visit, 3).getByRole('button', { name: text, exact: true }).focus();
        const isMarked = async () =>
          (await mark.count()) > 0 && (await mark.first().getAttribute('data-mark')) === name;
        await visit.until(isMarked, `“${text}” marks nothing`);
      }
      await visit.picture(`course-beside-${size.width}`);
      const boxes = await Promise.all([picture.boundingBox(), lesson(visit).boundingBox()]);
      expect(boxes[0]!.x + boxes[0]!.width).to.be.at.most(size.width);
      // By itself, at the speed that was chosen, from the kick to the answer.
      await page.locator('vm-step select').selectOption({ label: 'Fast' });
      await stepOf(visit, 3).locator('.mark[data-done]').waitFor();
    });

  it('compare what was predicted with what the device did', async () => {
    const visit = await openLesson('cat');
    await stepOf(visit, 0).getByRole('button', { name: 'READ: the content' }).click();
    const doIt = async (index: number) => {
      await stepOf(visit, index).getByRole('button', { name: 'Do it for me' }).click();
      await stepOf(visit, index).getByRole('button', { name: 'Let the device take it' }).click();
    };
    await doIt(0);
    await stepOf(visit, 0).locator('.verdict[data-wrong]').getByText('The answer is: LOOKUP').waitFor();
    await stepOf(visit, 1).getByRole('button', { name: 'READ', exact: true }).click();
    await doIt(1);
    await stepOf(visit, 1).locator('.verdict[data-right]').waitFor();
  });

  it('ask a bare device too, when a program has run', async () => {
    const visit = await openLesson('features');
    await doStep(visit, 0);
    await stepOf(visit, 1).getByRole('button', { name: 'Yes: features are optional' }).click();
    expect(await stepOf(visit, 1).locator('.verdict').count()).to.equal(0);
    await stepOf(visit, 1).getByRole('button', { name: 'Run', exact: true }).click();
    await stepOf(visit, 1).locator('.verdict[data-wrong]').getByText('The answer is: No: it insists').waitFor();
  });

  it('show what the driver has written before the device takes it, and then what the step is about', async () => {
    const visit = await openLesson('cat');
    const { page } = visit;
    await stepOf(visit, 0).getByRole('button', { name: 'I don’t know: show me' }).click();
    await stepOf(visit, 0).getByRole('button', { name: 'Do it for me' }).click();
    const step = page.locator('vm-step');
    await step.getByRole('heading', { name: /The driver has written a [A-Z]+ request/ }).waitFor();
    const marked = step.locator('vm-hex .field.marked').getByText('nodeid');
    while (!(await marked.count())) await step.getByRole('button', { name: 'Next', exact: true }).click();
    await visit.picture('course-paused');
    expect(await lesson(visit).locator('.seen').count()).to.equal(0);
    await stepOf(visit, 0).getByRole('button', { name: 'Let the device take it' }).click();
    await stepOf(visit, 0).locator('.seen').waitFor();
    await page.locator('vm-requests .row[data-marked]').first().waitFor();
    await page.locator('.held').waitFor({ state: 'detached' });
  });

  it('mark the row of a file in the session, a folder under Files, and what is to be pressed in the timeline', async () => {
    const visit = await openLesson('nodes');
    const { page } = visit;
    await doStep(visit, 0);
    const row = page.locator('vm-session tr[data-marked]');
    await row.getByText('/lesson-nodes/kept.txt').waitFor();
    expect(await page.locator('vm-session section[data-marked]').count()).to.equal(0);
    await page.evaluate(() => (location.hash = '#lesson=caches'));
    await page.locator('vm-files .row[data-path="/lesson-caches"][data-marked]').waitFor();
    await page.evaluate(() => (location.hash = '#lesson=locks'));
    expect(await page.locator('vm-timeline [data-marked]').innerText()).to.equal('Fork');
  });

  it('end with a driver of the visitor: errors, an end to what has none, goals, and a device to look into', async () => {
    const visit = await openLesson('driver');
    const { page } = visit;
    const editor = lesson(visit).getByLabel('Your driver');
    const run = lesson(visit).getByRole('button', { name: 'Run', exact: true });
    await editor.fill('throw new Error("not yet")');
    await run.click();
    await lesson(visit).getByRole('alert').getByText('Error: not yet (line 1)').waitFor();
    await editor.fill('for (;;);');
    // As soon as the button is there: a program is stopped after ten seconds anyway.
    await run.evaluate((button) => {
      const root = button.getRootNode();
      new MutationObserver((_, observer) => {
        const buttons = [...(root as ShadowRoot).querySelectorAll('button')];
        const stop = buttons.find(({ textContent }) => textContent.trim() === 'Stop');
        if (!stop) return;
        observer.disconnect();
        stop.click();
      }).observe(root, { childList: true, subtree: true });
      (button as HTMLButtonElement).click();
    });
    await lesson(visit).getByText('you have stopped it').waitFor();
    await visit.page.reload();
    await visit.ready();
    await stepOf(visit, 0).waitFor();
    expect(await editor.inputValue()).to.equal('for (;;);');
    await lesson(visit).getByRole('button', { name: 'Start over' }).click();
    for (const [index, { title }] of LESSONS.find(({ id }) => id === 'driver')!.steps.entries()) {
      await doStep(visit, index);
      if (title !== 'Set up a queue') continue;
      await page.locator('vm-queues').getByText('split, 64 descriptors').waitFor();
    }
    await lesson(visit).getByText('Lesson complete.').waitFor();
    await visit.picture('course-driver');
    expect(await page.evaluate(() => document.documentElement.scrollHeight - innerHeight)).to.equal(0);
  });
});
