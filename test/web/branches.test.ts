import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Connection } from '../../web/embed/connection.ts';
import { useWebSite, type Visit } from './support.ts';
import { idle, panel, pressIn, rows, show, take } from './timeline-panel.ts';

describe('the page: branches of the timeline', function () {
  const site = useWebSite();
  let directory: string;
  before(() => void (directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-branches-'))));
  after(() => rmSync(directory, { recursive: true, force: true }));

  const names = (visit: Visit): Promise<string[]> => panel(visit).locator('.list .name').allInnerTexts();
  /** Pixels from the left of the list to the dot of a row. */
  const dot = (visit: Visit, name: string) =>
    rows(visit, name)
      .locator('.graph b')
      .evaluate((element) => (element as HTMLElement).offsetLeft);
  async function press(visit: Visit, name: string, button: string): Promise<void> {
    await pressIn(rows(visit, name), button);
    const confirmed = visit.page.getByRole('dialog').getByRole('button', { name: button, exact: true });
    if (button === 'Remove') await confirmed.click();
    await idle(visit);
  }

  it('a rewind branches off; the line stays whole when a snapshot on it is removed, and over a reload', async () => {
    const began = Date.now();
    const visit = await show(await site.open());
    await visit.run('echo one > f');
    await take(visit, 'one');
    await take(visit, 'two');
    expect(await names(visit)).to.deep.equal(['Now', 'two', 'one', 'Start']);
    expect(await rows(visit, 'Now').innerText()).to.match(/Running, after “two”/);
    await press(visit, 'one', 'Rewind to');
    expect(await names(visit)).to.deep.equal(['Now', 'Before a rewind', 'two', 'one', 'Start']);
    expect(await rows(visit, 'Now').innerText()).to.match(/Running, after “one”/);
    const expectBranch = async (base: string) => {
      const main = await dot(visit, 'Now');
      expect(await dot(visit, base)).to.equal(main);
      expect(await dot(visit, 'two'))
        .to.be.above(main)
        .and.equal(await dot(visit, 'Before a rewind'));
    };
    await expectBranch('one');
    await visit.picture('branches');
    await visit.run('echo three > f');
    await take(visit, 'three');
    await press(visit, 'one', 'Remove');
    await rows(visit, 'three')
      .getByText(/after “Start/)
      .waitFor();
    expect(await names(visit)).to.deep.equal(['Now', 'three', 'Before a rewind', 'two', 'Start']);
    await expectBranch('Start');
    await visit.page.reload();
    await show(visit);
    await rows(visit, 'Now').getByText('after “three”').waitFor();
    expect(await names(visit)).to.deep.equal(['Now', 'three', 'Before a rewind', 'two', 'Start']);
    await expectBranch('Start');
    expect(await dot(visit, 'three')).to.equal(await dot(visit, 'Now'));
    // The guest that everything starts from was made with the page, long before.
    const { created } = await visit.page.evaluate(
      async () => (await document.querySelector('virtiofs-vm')!.vm!.snapshots()).find(({ kind }) => kind === 'start')!,
    );
    expect(created).to.be.within(began, Date.now());
  });

  it('a row is pressed when it is there, however late its panel comes', async () => {
    const visit = await site.open();
    await visit.ready();
    site.intercept = (_, __, next) => void setTimeout(next, 1000);
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    const file = await visit.download(() => pressIn(rows(visit, 'Start'), 'Export'));
    expect(file.suggestedFilename()).to.match(/\.layer$/);
  });

  it('a fork has its place at once; on a phone there is room for the list beside what is told', async () => {
    const visit = await show(await site.open());
    const { page } = visit;
    await take(visit, 'one');
    await press(visit, 'one', 'Rewind to');
    await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
    await page.getByRole('button', { name: 'Folder of its own' }).click();
    const second = panel(visit).locator('li[data-kind=now]').filter({ hasText: 'guest 2' });
    await second.getByText(/Running, after “Before a fork, /).waitFor();
    await page.setViewportSize({ width: 390, height: 780 });
    await visit.download(() => panel(visit).getByRole('button', { name: 'Share' }).click());
    await panel(visit)
      .getByText(/holds this very moment/)
      .waitFor();
    await panel(visit).getByRole('button', { name: 'Undo' }).waitFor();
    expect(
      await panel(visit)
        .locator('.scroll')
        .evaluate(({ clientHeight }) => clientHeight),
    ).to.be.above(160);
    await visit.picture('branches-phone');
  });

  it('a snapshot with a pin stays when the others make room, and the filter finds it', async () => {
    const visit = await show(await site.open());
    await take(visit, 'base');
    await visit.run('echo pinned > f');
    await press(visit, 'base', 'Rewind to');
    await press(visit, 'Before a rewind', 'Pin');
    await rows(visit, 'Before a rewind').getByText('Pinned').waitFor();
    await visit.page.evaluate(async () => {
      const {
        connection: {
          worker: { timeline },
          guests,
        },
      } = document.querySelector('virtiofs-vm')!.vm as unknown as { connection: Connection };
      const { snapshots } = await timeline.view();
      const base = snapshots.find(({ name }) => name === 'base')!.id;
      for (let n = 0; n < 9; n++) await timeline.rewind(guests[0]!.id, base);
    });
    await visit.until(
      async () => (await rows(visit, 'Before a rewind').count()) === 9,
      'not 8, and the one with a pin',
    );
    expect((await names(visit)).length).to.equal(12);
    await panel(visit).getByRole('button', { name: 'Named or pinned' }).click();
    expect(await names(visit)).to.deep.equal(['Now', 'Before a rewind', 'base', 'Start']);
    await panel(visit).getByRole('searchbox').fill('PINNED');
    expect(await names(visit)).to.deep.equal(['Now', 'Before a rewind']);
    await panel(visit).getByText('2 of 11 snapshots').waitFor({ state: 'detached' });
    await panel(visit).getByText('1 of 11 snapshots').waitFor();
    await panel(visit).getByRole('searchbox').fill('');
    await press(visit, 'Before a rewind', 'Rewind to');
    expect(await visit.run('cat f')).to.equal('pinned');
  });

  it('compares two snapshots: files, what is open and locked, memory', async () => {
    const visit = await show(await site.open());
    await visit.run('echo one > changed; echo gone > removed');
    await take(visit, 'one');
    await visit.run('echo two > changed; rm removed; echo new > added; exec 5< added');
    await take(visit, 'two');
    await press(visit, 'two', 'Compare');
    const dialog = visit.page.getByRole('dialog');
    await dialog.getByText(/pages differ/).waitFor();
    const differences = (await dialog.getByRole('listitem').allInnerTexts()).map((text) =>
      text.replaceAll(/\s+/g, ' ').replace(/handle \d+/, 'handle N'),
    );
    expect(differences).to.deep.equal([
      '+ added: /added',
      '− removed: /removed',
      '~ modified: /changed',
      '+ added: /added (file, handle N)',
    ]);
    await visit.picture('compare');
    await dialog.getByRole('button', { name: 'Swap the two' }).click();
    await dialog.getByText('removed: ').first().waitFor();
    await visit.until(async () => /−\s*removed:\s*\/added/.test(await dialog.innerText()), 'not the other way round');
    await dialog.getByLabel('To').selectOption('two');
    await dialog.getByText('No page differs.').waitFor();
    await visit.page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  it('imports two files at once, each with its own progress, and marks what was imported', async () => {
    const visit = await show(await site.open());
    const files: string[] = [];
    for (const name of ['first', 'second']) {
      await take(visit, name);
      const download = await visit.download(() => pressIn(rows(visit, name), 'Export'));
      files.push(join(directory, `${name}.layer`));
      await download.saveAs(files.at(-1)!);
      await press(visit, name, 'Remove');
    }
    // As many as there were at once: they may be gone before anybody looks.
    await panel(visit).evaluate((element) => {
      const seen = ((globalThis as unknown as { seen: string[][] }).seen = [] as string[][]);
      new MutationObserver(() =>
        seen.push(
          [...element.shadowRoot!.querySelectorAll('.tasks progress')].map((bar) => bar.getAttribute('aria-label')!),
        ),
      ).observe(element.shadowRoot!, { childList: true, subtree: true });
    });
    await visit.drop(panel(visit).getByRole('list'), files);
    await rows(visit, 'first').getByText('Imported').waitFor();
    await rows(visit, 'second').getByText('Imported').waitFor();
    await idle(visit);
    const seen = await visit.page.evaluate(() => (globalThis as unknown as { seen: string[][] }).seen);
    expect(seen).to.deep.include(['Importing first.layer', 'Importing second.layer']);
    expect(seen.at(-1)).to.deep.equal([]);
    // Of one that is the first again, the other is still under way.
    expect(seen.some((bars) => bars.length === 1)).to.equal(true);
  });
});
