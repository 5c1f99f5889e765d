import { expect } from 'chai';
import { doStep, lesson } from './lesson-matrix.ts';
import type { Visit, WebSite } from './support.ts';
import { panel, pressIn, rows, take } from './timeline-panel.ts';

/** Takes a look at what a tab shows. */
export type Look = (name: string) => Promise<void>;

/** Shows a view, in a window that has room for one. */
const go = ({ page }: Visit, view: string): Promise<void> =>
  page.getByRole('navigation').getByRole('button', { name: view, exact: true }).click();

async function closeDialog({ page }: Visit): Promise<void> {
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

/** Every stage of a request's way has a name that can be read whole. */
async function expectStages({ page }: Visit): Promise<void> {
  const stages = await page.locator('vm-step .route li').evaluateAll((items) =>
    items.map((item) => ({
      name: item.textContent,
      size: parseFloat(getComputedStyle(item).fontSize),
      isWhole: item.scrollWidth <= item.clientWidth,
    })),
  );
  expect(stages).to.have.lengthOf(8);
  for (const { name, size, isWhole } of stages) {
    expect(size, name).to.be.at.least(11);
    expect(isWhole, name).to.equal(true);
  }
}

async function terminal(visit: Visit, look: Look, site: WebSite): Promise<void> {
  const { page } = visit;
  await look('welcome');
  await page.getByRole('button', { name: 'Close the welcome' }).click();
  await look('terminal');
  await visit.run('wget http://example.com');
  const tip = page.getByText(/This guest has no network/);
  await tip.waitFor();
  await look('network tip');
  await page.getByRole('button', { name: 'Dismiss' }).click();
  await tip.waitFor({ state: 'detached' });

  await page.getByRole('button', { name: 'Put the guest to sleep' }).click();
  const asleep = page.getByText('guest is asleep. Its files stay open');
  await asleep.waitFor();
  await look('asleep');
  await page.getByRole('button', { name: 'Wake', exact: true }).click();
  await asleep.waitFor({ state: 'detached' });
  expect(await visit.run('echo awake')).to.equal('awake');

  await page.getByRole('button', { name: 'Move the guest', exact: true }).click();
  await page.getByLabel('Link for the other tab').waitFor();
  await look('move');
  await page.keyboard.press('Escape');
  await page.getByLabel('Link for the other tab').waitFor({ state: 'hidden' });

  await visit.type('halt -f');
  const again = page.getByRole('button', { name: 'Start again' });
  await again.waitFor();
  await look('halted');
  // Its kernel comes when the test lets it; what it says then is to be seen for some seconds.
  const { intercept } = site;
  let letGo = () => {};
  site.intercept = (request, response, next) => {
    const answer = () => intercept!(request, response, next);
    if (request.url!.endsWith('guest.json')) letGo = answer;
    else answer();
  };
  await again.click();
  await page.getByText(/is booting again/).waitFor();
  await look('booting');
  await page.getByText(/is booting again/).waitFor();
  site.intercept = intercept;
  letGo();
  await page.getByText('Boot log').click();
  await page
    .getByRole('region', { name: 'Boot log' })
    .getByText(/Linux version/)
    .waitFor();
  await look('boot log');
  expect(await visit.run('uname')).to.equal('Linux');
}

async function files(visit: Visit, look: Look): Promise<void> {
  const { page } = visit;
  const row = (path: string) => page.locator(`vm-files .row[data-path="${path}"]`);
  const editor = page.locator('vm-text-editor .cm-content');
  const write = (path: string, text: string) =>
    page.evaluate(([to, what]) => document.querySelector('virtiofs-vm')!.vm!.fs.write(to, what), [path, text] as const);
  await go(visit, 'Files');
  for (const name of ['New file', 'New folder']) {
    await page.getByRole('button', { name }).click();
    await look(name);
    await page.getByRole('dialog').getByRole('textbox').fill('README.txt');
    await page.keyboard.press('Enter');
    await page
      .getByRole('alert')
      .getByText(/README\.txt is there already/)
      .first()
      .waitFor();
  }
  await look('problems');
  await page.getByRole('button', { name: 'Dismiss' }).click();

  await write('/docs/deep.txt', 'small\n');
  await page.getByLabel('Find files by name').fill('DEEP');
  await row('/docs/deep.txt').waitFor();
  await look('found');
  await page.getByLabel('Find files by name').fill('');
  await row('/README.txt').waitFor();
  await write('/large', 'x'.repeat(30_000));
  const paths = () =>
    page.locator('vm-files .row').evaluateAll((all) => all.map((each) => (each as HTMLElement).dataset['path']));
  await page.locator('vm-files').getByRole('button', { name: 'Size' }).click();
  await visit.until(async () => {
    const found = await paths();
    return found.indexOf('/large') < found.indexOf('/README.txt');
  }, 'they are not in the order of their sizes');

  await row('/README.txt').click();
  await page.locator('vm-text-editor').getByText('Welcome!').waitFor();
  await look('files');
  const edit = async (text: string) => {
    await editor.click();
    await page.keyboard.press('ControlOrMeta+a');
    await visit.insert(text);
  };
  await edit('mine');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const saved = () => page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.exec('cat /mnt/share/README.txt'));
  await visit.until(async () => (await saved()).stdout === 'mine', 'it was not saved');
  await edit('mine too');
  await write('/README.txt', 'theirs\n');
  await page.getByText('The file has changed since you began to edit it').waitFor();
  await look('conflict');
  await page.getByRole('button', { name: 'Discard' }).click();
  await page.locator('vm-text-editor').getByText('theirs').waitFor();
}

async function timeline(visit: Visit, look: Look): Promise<void> {
  const { page } = visit;
  const paths = () =>
    page.evaluate(async () => (await document.querySelector('virtiofs-vm')!.vm!.fs.list('/')).map(({ path }) => path));
  await go(visit, 'Timeline');
  await panel(visit).getByRole('combobox').selectOption('never');
  await take(visit, 'one');
  await page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.fs.write('/added', 'new'));
  await take(visit, 'two');
  await rows(visit, 'two').getByRole('button', { name: 'Rewind to' }).waitFor();
  await look('timeline');

  await pressIn(rows(visit, 'two'), 'Compare');
  await page
    .getByRole('dialog')
    .getByText(/added:/)
    .first()
    .waitFor();
  await look('compare');
  await closeDialog(visit);

  const moment = await visit.download(() => page.getByRole('button', { name: 'Share' }).click());
  await page.getByText(`“${moment.suggestedFilename()}” holds this very moment`).waitFor();
  await look('share');
  await page.getByLabel('Snapshot to import').setInputFiles(await moment.path());
  await page.getByText(/was imported/).waitFor();
  await look('imported');
  await rows(visit, 'one').getByRole('button', { name: 'Rewind to' }).click();
  await page.getByRole('button', { name: 'Undo' }).waitFor();
  await visit.until(async () => !(await paths()).includes('/added'), 'the file is still there');
  await look('undo');
  await page.getByRole('button', { name: 'Undo' }).click();
  await rows(visit, 'Now')
    .getByText(/after “Before a rewind/)
    .waitFor();
  await visit.until(async () => (await paths()).includes('/added'), 'the file is not back');
  await panel(visit).getByRole('form').getByRole('button', { name: 'Fork', exact: true }).click();
  await look('fork');
  await closeDialog(visit);
}

/** Every view of the inspector, with something in it. */
async function inspector(visit: Visit, look: Look): Promise<void> {
  const { page } = visit;
  const place = page.locator('vm-inspector');
  const show = (view: string) => place.getByRole('tab', { name: view }).click();
  const button = (name: string) => place.getByRole('button', { name, exact: true });
  await go(visit, 'Inspector');
  await show('Step');
  await look('inspector step begin');
  await button('Pause before the next request').click();
  await look('inspector step wait');
  await button('Type it for me').click();
  await button('Next').waitFor();
  for (let step = 0; step < 4; step++) await button('Next').click();
  await look('inspector step');
  await expectStages(visit);
  await button('Continue').click();

  await show('Requests');
  await place.locator('.row').first().click();
  await place.locator('vm-hex').first().waitFor();
  await look('inspector requests');
  await place.getByRole('searchbox').fill('op:OPEN');
  await visit.until(
    async () => (await place.locator('.row .opcode').allInnerTexts()).every((opcode) => opcode === 'OPEN'),
    'not only OPEN is left',
  );
  await place.getByText('Columns', { exact: true }).click();
  await place.getByLabel('Process', { exact: true }).check();
  await look('inspector columns');
  // A phone has no room for it; inspector.test.ts sees it.
  expect(await place.getByLabel('Process', { exact: true }).isChecked()).to.equal(true);
  await place.getByText('Columns', { exact: true }).click();
  for (const view of ['Queues', 'Latency', 'Device', 'Session']) {
    await show(view);
    await place.getByRole('region').first().waitFor();
    await look(`inspector ${view}`);
  }
}

/** A lesson from its beginning to its end, what a course has beside its lessons, and a lesson with a program. */
async function lessons(visit: Visit, look: Look): Promise<void> {
  const { page } = visit;
  const list = page.locator('vm-lessons');
  await go(visit, 'Lessons');
  const first = page.getByRole('button', { name: 'What happens on cat' });
  await first.waitFor();
  await look('lessons');
  await first.click();
  await lesson(visit).getByRole('button', { name: 'I don’t know: show me' }).waitFor();
  await look('question');
  await doStep(visit, 0);
  await look('lesson');
  await doStep(visit, 1);
  await doStep(visit, 2);
  await lesson(visit).getByText('Lesson complete.').waitFor();
  await look('lesson complete');

  await lesson(visit).getByRole('button', { name: 'All lessons' }).first().click();
  await list.getByRole('button', { name: 'Glossary' }).click();
  await page.getByRole('dialog', { name: 'Glossary' }).waitFor();
  await look('glossary');
  await closeDialog(visit);
  await list.getByRole('button', { name: 'Print' }).click();
  await page.locator('vm-printable').getByRole('button', { name: 'Close' }).waitFor();
  await look('printable');
  await page.locator('vm-printable').getByRole('button', { name: 'Close' }).click();
  await list.getByRole('button', { name: 'Write your own driver' }).click();
  await page.locator('vm-exercise').getByRole('button', { name: 'Run', exact: true }).waitFor();
  await look('exercise');
}

/** What a visitor comes by in each part of the page, in a window as of a phone. */
export const WALKS: Record<string, (visit: Visit, look: Look, site: WebSite) => Promise<void>> = {
  terminal,
  files,
  timeline,
  inspector,
  lessons,
};
