import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { useWebSite } from './support.ts';
import { pressIn, rows } from './timeline-panel.ts';

const MARKUP = '<img src=x onerror=ran.push(1)>';
const REVERSED = 'invoice\u202Efdp.sh';
const LINES = 'two\nlines\x1b[2J';

describe('the page: names from elsewhere', () => {
  const site = useWebSite();
  let directory: string;
  before(() => void (directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-hostile-'))));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('are shown as text, with what can’t be seen made visible', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.ready();
    await page.evaluate(() => Object.assign(globalThis, { ran: [] }));
    for (const name of [MARKUP, REVERSED]) writeFileSync(join(directory, name), 'content');
    const files = page.locator('vm-files');
    await visit.drop(files.locator('.area'), [join(directory, MARKUP), join(directory, REVERSED)]);
    await page.evaluate((name) => document.querySelector('virtiofs-vm')!.vm!.fs.write(`/${name}`, 'lines'), LINES);
    expect(
      await visit.run(`ln -s "$(printf 'a\\342\\200\\256b')" link; touch "$(printf 'byte\\377')"; ls | wc -l`),
    ).to.equal('8');
    for (const text of [MARKUP, 'invoice\\u202efdp.sh', 'two\\x0alines\\x1b[2J', 'link → a\\u202eb', 'byte\\xff'])
      await files.locator('.row .text').getByText(text, { exact: true }).waitFor();
    for (const text of [MARKUP, 'invoice\\u202efdp.sh', 'two\\x0alines']) {
      await files.locator('.row').filter({ hasText: text }).click();
      await page.keyboard.press('F2');
      await page.getByRole('dialog').getByText(text).waitFor();
      await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    }
    await files.locator('.row').filter({ hasText: 'invoice' }).click();
    const download = await visit.download(() => files.getByRole('button', { name: /^Download invoice/ }).click());
    expect(download.suggestedFilename()).to.match(/^invoice[^\u202e]*fdp\.sh$/);

    await page.getByRole('tab', { name: 'Timeline' }).click();
    const timeline = page.locator('vm-timeline');
    for (const name of [MARKUP, REVERSED])
      await page.evaluate((text) => document.querySelector('virtiofs-vm')!.vm!.snapshot(text), name);
    for (const text of [MARKUP, 'invoice\\u202efdp.sh'])
      await timeline.locator('.name').getByText(text, { exact: true }).waitFor();
    const exported = await visit.download(() => pressIn(rows(visit, MARKUP), 'Export'));
    expect(exported.suggestedFilename()).to.match(/^[\w.-]+\.layer$/);
    await timeline.getByRole('listitem').filter({ hasText: MARKUP }).getByRole('button', { name: 'Rewind to' }).click();
    await timeline.getByText(`was rewound to “${MARKUP}”`).waitFor();

    await page.evaluate(
      (name) =>
        document
          .querySelector('virtiofs-vm')!
          .vm!.fs.read(`/${name}/nothing`)
          .catch(() => {}),
      MARKUP,
    );
    await page.getByRole('tab', { name: 'Inspector' }).click();
    await visit.type(`cat '${MARKUP}'`);
    expect(await page.evaluate(() => (globalThis as unknown as { ran: unknown[] }).ran)).to.deep.equal([]);
    expect(await page.locator('virtiofs-vm img').count()).to.equal(0);
  });

  it('of snapshots that were made to do harm, are read with care', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.ready();
    await visit.run('echo mine > f');
    await page.getByRole('tab', { name: 'Timeline' }).click();
    const timeline = page.locator('vm-timeline');
    const { loadCodec, MemoryStore, SnapshotStore } = await import('../../device/index.ts');
    const download = await visit.download(() => pressIn(rows(visit, 'Start'), 'Export'));
    const path = join(directory, 'start.layer');
    await download.saveAs(path);
    const store = await SnapshotStore.open(new MemoryStore(), loadCodec());
    const { readFile } = await import('node:fs/promises');
    const file = await readFile(path);
    const summaries: unknown[] = [
      null,
      'text',
      7,
      [],
      { kind: 'automatic', together: ['', 'x', 7], parted: 'text' },
      { kind: 'nothing', guest: { toString: 1 }, shells: 'text', ancestors: [7, MARKUP], isPinned: 'yes' },
      { shells: [null, 7, { id: -1, output: new Uint8Array(3) }, { id: 1, output: 'text' }] },
      { shells: Array.from({ length: 5000 }, (_, id) => ({ id, output: new Uint8Array(10) })), isAsleep: 'yes' },
      { kind: 'start', guest: MARKUP, isOff: 1 },
    ];
    for (const [n, summary] of summaries.entries()) {
      const id = await store.import(file, () => summary);
      writeFileSync(join(directory, `${n}.layer`), Buffer.concat(await store.export(id)));
      await visit.drop(timeline.getByRole('list'), [join(directory, `${n}.layer`)]);
      await visit.until(
        async () => (await timeline.locator('li[data-kind=imported]').count()) === n + 1,
        `${n} was not imported`,
      );
    }
    for (const n of [1, 6, 7]) {
      await timeline.locator('li[data-kind=imported]').nth(n).getByRole('button', { name: 'Rewind to' }).click();
      await timeline.getByRole('button', { name: 'Undo' }).and(page.locator(':enabled')).click();
      await timeline.getByRole('button', { name: 'Snapshot now' }).and(page.locator(':enabled')).waitFor();
    }
    expect(await visit.run('cat f')).to.equal('mine');
    await page.reload();
    expect(await visit.run('cat f')).to.equal('mine');
  });
});
