import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import type { Connection } from '../../web/embed/connection.ts';
import { useWebSite, type Visit } from './support.ts';
import { idle, panel, pressIn, rows, show, take } from './timeline-panel.ts';

/** What a visitor has, and leaves: nothing of it goes without a word. */
describe('the page: moments that are left', function () {
  const site = useWebSite();
  let directory: string;
  before(() => void (directory = mkdtempSync(join(tmpdir(), 'v86-virtiofs-moments-'))));
  after(() => rmSync(directory, { recursive: true, force: true }));

  const undo = (visit: Visit): Locator => panel(visit).getByRole('button', { name: 'Undo' });
  const kinds = (visit: Visit): Promise<(string | null)[]> =>
    panel(visit)
      .locator('li[data-id]')
      .evaluateAll((items) => items.map((item) => item.getAttribute('data-kind')));

  async function press(visit: Visit, button: Locator): Promise<void> {
    await button.click();
    await idle(visit);
  }

  const rewind = (visit: Visit, name: string) =>
    press(visit, rows(visit, name).first().getByRole('button', { name: 'Rewind to' }));
  const quota = async ({ page }: Visit, quotaSize?: number) => {
    const session = await page.context().newCDPSession(page);
    await session.send('Storage.overrideQuotaForOrigin', {
      origin: new URL(site.url).origin,
      ...(quotaSize !== undefined && { quotaSize }),
    });
  };

  it('a rewind keeps the present, which undo brings back, and again; a reload goes on where the guest is', async () => {
    const visit = await show(await site.open());
    await visit.run('echo one > f');
    await take(visit, 'one');
    await visit.run('echo two > f; exec 5<f; n=2');
    await rewind(visit, 'one');
    expect(await visit.run('cat f')).to.equal('one');
    await rows(visit, 'one').getByText('Current position').waitFor();
    expect(await kinds(visit)).to.deep.equal(['rewind', 'manual', 'start']);
    await panel(visit)
      .getByText(/guest was rewound to “one”\. Where it was before is kept as “Before a rewind, .*”\./)
      .waitFor();
    await visit.picture('undo');
    await visit.run('echo three > f');
    await press(visit, undo(visit));
    expect(await visit.run('cat f; echo $n; cat <&5')).to.equal('two\n2\ntwo');
    await press(visit, undo(visit));
    expect(await visit.run('cat f')).to.equal('three');
    await rewind(visit, 'one');
    expect(await visit.run('cat f; echo ${n-none}')).to.equal('one\nnone');
    // Nothing was taken since, and the newest snapshot is of before.
    await visit.page.reload();
    expect(await visit.run('cat f')).to.equal('one');
    await show(visit);
    await rows(visit, 'one').waitFor();
    expect((await kinds(visit)).filter((kind) => kind !== 'automatic')).to.deep.equal([
      'rewind',
      'rewind',
      'rewind',
      'rewind',
      'manual',
      'start',
    ]);
    await rewind(visit, 'Before a rewind');
    expect(await visit.run('cat f')).to.equal('three');
  });

  it('two rewinds at once keep both moments', async () => {
    const visit = await show(await site.open());
    await visit.run('echo one > f');
    await take(visit, 'one');
    await visit.run('echo two > f');
    await take(visit, 'two');
    await visit.run('echo three > f');
    await visit.page.evaluate(async () => {
      const {
        connection: {
          worker: { timeline },
          guests,
        },
      } = document.querySelector('virtiofs-vm')!.vm as unknown as { connection: Connection };
      const { snapshots } = await timeline.view();
      const [one, two] = ['one', 'two'].map((wanted) => snapshots.find(({ name }) => name === wanted)!.id);
      await Promise.all([timeline.rewind(guests[0]!.id, one!), timeline.rewind(guests[0]!.id, two!)]);
    });
    expect(await visit.run('cat f')).to.equal('two');
    expect(await kinds(visit)).to.deep.equal(['rewind', 'rewind', 'manual', 'manual', 'start']);
    await press(visit, undo(visit));
    expect(await visit.run('cat f')).to.equal('one');
    await press(visit, rows(visit, 'Before a rewind').nth(2).getByRole('button', { name: 'Rewind to' }));
    expect(await visit.run('cat f')).to.equal('three');
  });

  it('of two guests that are closed at once one stays, and one that is closed twice is closed once', async () => {
    const visit = await show(await site.open());
    await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Folder of its own' }).click();
    await visit.ready(1);
    await idle(visit);
    const failures = await visit.page.evaluate(async () => {
      const {
        connection: { worker, guests },
      } = document.querySelector('virtiofs-vm')!.vm as unknown as { connection: Connection };
      const calls = [guests[1]!, guests[1]!, guests[0]!].map(({ id }) => worker.close(id));
      return (await Promise.allSettled(calls)).map((call) =>
        call.status === 'rejected' ? (call.reason as Error).message : '',
      );
    });
    expect(failures).to.deep.equal(['', 'this guest was closed', 'this is the last guest: it stays']);
  });

  it('where the present can’t be kept, the visitor is asked, and can stay', async () => {
    const visit = await show(await site.open());
    await visit.run('echo one > f');
    await take(visit, 'one');
    await visit.run('echo two > f; dd if=/dev/urandom of=big bs=1M count=3 2>/dev/null');
    await quota(visit, 1_000_000);
    const { page } = visit;
    await rows(visit, 'one').getByRole('button', { name: 'Rewind to' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText(/No snapshot of the guest could be taken: there is no room for the snapshot/).waitFor();
    await visit.picture('not-kept');
    await press(visit, dialog.getByRole('button', { name: 'Cancel' }));
    expect(await visit.run('cat f')).to.equal('two');
    await rows(visit, 'one').getByRole('button', { name: 'Rewind to' }).click();
    await press(visit, dialog.getByRole('button', { name: 'Rewind anyway' }));
    expect(await visit.run('cat f')).to.equal('one');
    expect(await undo(visit).count()).to.equal(0);
    await quota(visit);
  });

  it('a guest that has halted is kept with its files', async () => {
    const visit = await show(await site.open());
    const { page } = visit;
    await visit.run('echo halted > f');
    await visit.type('halt -f');
    const again = page.getByRole('button', { name: 'Start again' });
    await again.waitFor();
    await rewind(visit, 'Start');
    await again.waitFor({ state: 'detached' });
    expect(await visit.run('cat f')).to.match(/No such file/);
    await press(visit, undo(visit));
    await again.click();
    expect(await visit.run('cat f')).to.equal('halted');
  });

  it('a guest that is closed is kept, and what is not saved is asked for', async () => {
    const visit = await show(await site.open());
    const { page } = visit;
    await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Folder of its own' }).click();
    await idle(visit);
    await visit.run('echo second > f', 1);
    await page.getByRole('tab', { name: 'Files' }).click();
    await page.locator('vm-files .row[data-path="/f"]').click();
    await page.getByLabel('Content of f').fill('written');
    await page.getByRole('button', { name: 'Close guest 2' }).click();
    await page.getByRole('dialog').getByText('/f: what you wrote is not saved, and will be lost.').waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(await visit.run('cat f', 1)).to.equal('second');
    await page.getByRole('button', { name: 'Close guest 2' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Close', exact: true }).click();
    await visit.terminal(1).waitFor({ state: 'detached' });
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await rows(visit, 'Before closing').waitFor();
    // The browser does not ask about the text any more, and the guest that was closed stays so.
    await page.reload();
    await visit.ready();
    expect(await visit.page.locator('vm-terminals').count()).to.equal(1);
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await press(visit, rows(visit, 'Before closing').getByRole('button', { name: 'Fork from here' }));
    expect(await visit.run('cat f', 1)).to.equal('second');
  });

  it('an automatic snapshot that is imported stays, and nothing goes on from it; one with a name stays too', async () => {
    const visit = await show(await site.open());
    const { page } = visit;
    await visit.run('echo old > f');
    await panel(visit).getByRole('combobox').selectOption('every 5 s');
    await rows(visit, 'Automatic').first().waitFor();
    await panel(visit).getByRole('combobox').selectOption('never');
    const download = await visit.download(() => pressIn(rows(visit, 'Automatic').first(), 'Export'));
    const file = join(directory, 'automatic.layer');
    await download.saveAs(file);
    await pressIn(rows(visit, 'Automatic').last(), 'Rename');
    await page.getByRole('dialog').getByLabel('Name').fill('precious');
    await page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
    await rows(visit, 'precious').waitFor();
    await visit.run('echo new > f');
    await take(visit, 'newest of its own');
    await visit.drop(panel(visit).getByRole('list'), [file]);
    await rows(visit, 'Imported').waitFor();
    await idle(visit);
    await page.reload();
    expect(await visit.run('cat f')).to.equal('new');
    // As many forks as there are automatic snapshots until the oldest are removed, and more.
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await page.evaluate(async () => {
      const {
        connection: {
          worker,
          worker: { timeline },
        },
      } = document.querySelector('virtiofs-vm')!.vm as unknown as { connection: Connection };
      for (let n = 0; n < 20; n++) {
        const { id } = await worker.fork({ guest: 1, folder: 'own' });
        await worker.close(id, false);
      }
      await timeline.setInterval(5);
    });
    await visit.until(async () => {
      const all = await kinds(visit);
      return all.includes('automatic') && all.filter((kind) => ['automatic', 'fork'].includes(kind!)).length < 19;
    }, 'nothing was removed');
    expect(await rows(visit, 'Imported').count()).to.equal(1);
    expect(await rows(visit, 'precious').count()).to.equal(1);
    await page.reload();
    expect(await visit.run('cat f')).to.equal('new');
  });

  it('a reload goes on without guests that are passing, whatever was taken of them or beside them', async () => {
    const visit = await show(await site.open());
    const { page } = visit;
    await visit.run('echo kept > f');
    const taken = [[], ['guest', 'fork'], ['fork', 'guest']];
    for (const [folder, names] of [...taken.map((each) => ['own', each]), ['shared', []]] as [
      'own' | 'shared',
      string[],
    ][]) {
      await page.evaluate(
        async ([folder, names]) => {
          const { connection } = document.querySelector('virtiofs-vm')!.vm as unknown as { connection: Connection };
          const guest = connection.guests[0]!.id;
          const fork = (await connection.fork({ guest, folder, isPassing: true })).id;
          for (const name of names) await connection.worker.timeline.take(name === 'fork' ? fork : guest, name);
        },
        [folder, names] as const,
      );
      expect(await page.locator('vm-terminals').count()).to.equal(2);
      await page.reload();
      expect(await visit.run('cat f')).to.equal('kept');
      expect(await page.locator('vm-terminals').count(), `${folder} ${names}`).to.equal(1);
      expect(await page.locator('.problem').allInnerTexts()).to.deep.equal([]);
    }
  });

  it('guests that were closed look at the folder no more', async () => {
    const visit = await show(await site.open());
    const notices = await visit.page.evaluate(async () => {
      const vm = document.querySelector('virtiofs-vm')!.vm!;
      const {
        connection: { worker },
      } = vm as unknown as { connection: Connection };
      for (let n = 0; n < 5; n++) {
        const { id } = await worker.fork({ guest: 1, folder: 'shared' });
        await worker.close(id, false);
      }
      let count = 0;
      await new Promise<void>((resolve) => {
        vm.on('fileschange', () => {
          if (!count++) setTimeout(resolve, 300);
        });
        // One change, in one step.
        void vm.fs.rename('/count.sh', '/counted.sh');
      });
      return count;
    });
    expect(notices).to.equal(1);
  });

  it('an upload does not replace what the guest has written since the visitor was asked', async () => {
    const visit = await site.open();
    const { page } = visit;
    await visit.ready();
    const write = (text: string) =>
      page.evaluate(
        (line) =>
          document
            .querySelector('virtiofs-vm')!
            .vm!.exec(`echo ${line} > README.txt`, { cwd: '/mnt/share' })
            .then(({ code }) => code),
        text,
      );
    const file = join(directory, 'README.txt');
    writeFileSync(file, 'uploaded');
    await visit.drop(page.locator('vm-files .area'), [file]);
    await page.getByRole('dialog').getByText('Replace the file?').waitFor();
    await write('newer');
    await page.getByRole('dialog').getByRole('button', { name: 'Replace' }).click();
    await page.getByRole('dialog').getByText('Replace the file?').waitFor();
    expect(await page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.fs.readText('/README.txt'))).to.equal(
      'newer\n',
    );
    await page.getByRole('dialog').getByRole('button', { name: 'Replace' }).click();
    await visit.until(
      async () =>
        (await page.evaluate(() => document.querySelector('virtiofs-vm')!.vm!.fs.readText('/README.txt'))) ===
        'uploaded',
      'it was not replaced',
    );
  });

  it('text that is not saved stays over a rewind, and is not driven out by a file that gets its name', async () => {
    const visit = await show(await site.open());
    const { page } = visit;
    await take(visit, 'before');
    await visit.run('echo one > f; echo other > other');
    await page.getByRole('tab', { name: 'Files' }).click();
    const row = (name: string) => page.locator(`vm-files .row[data-path="/${name}"]`);
    await row('f').click();
    await page.getByLabel('Content of f').fill('written');
    await page.getByRole('tab', { name: 'Timeline' }).click();
    await rewind(visit, 'before');
    await page.getByRole('tab', { name: 'Files' }).click();
    await page.getByText('Not saved, and deleted:').waitFor();
    await visit.run('echo other > other');
    await row('other').click();
    await page.keyboard.press('F2');
    await page.getByRole('dialog').getByLabel('New name').fill('f');
    await page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
    await page.getByRole('alert').getByText('/f was deleted, and what you wrote there is not saved yet').waitFor();
    await page.getByRole('button', { name: '/f', exact: true }).click();
    expect(
      await page.locator('vm-text-editor').evaluate((element) => (element as unknown as { value: string }).value),
    ).to.equal('written');
    await page.getByRole('button', { name: 'Save' }).click();
    expect(await visit.run('cat f')).to.equal('written');
  });
});
