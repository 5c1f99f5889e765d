import { expect } from 'chai';
import { useWebSite } from './support.ts';
import { idle, panel, rows, show, take } from './timeline-panel.ts';
import { welcome } from './tours.ts';

describe('the page: the first minute', function () {
  const site = useWebSite();

  it('says what this is until something is typed, and again when it is asked for, and not after a reload', async () => {
    const visit = await site.open({ width: 390, height: 780 });
    await welcome(visit).waitFor();
    await visit.ready();
    expect(await welcome(visit).getByRole('listitem').count()).to.equal(5);
    await visit.picture('welcome-phone');
    const { y } = (await welcome(visit).boundingBox())!;
    expect(y, 'the prompt can be seen').to.be.above(150);
    await visit
      .terminal()
      .locator('.screens')
      .click({ position: { x: 100, y: 100 } });
    await visit.insert('echo typed > f');
    await visit.page.keyboard.press('Enter');
    await welcome(visit).waitFor({ state: 'detached' });
    await visit.page.setViewportSize({ width: 1280, height: 800 });
    const help = visit.page.getByRole('button', { name: 'What is this?' });
    await help.click();
    await welcome(visit).waitFor();
    await visit.picture('welcome');
    await welcome(visit).getByRole('button', { name: 'Close' }).click();
    await welcome(visit).waitFor({ state: 'detached' });
    await visit.page.getByRole('tab', { name: 'Timeline' }).click();
    await visit.page.getByRole('button', { name: 'Snapshot now' }).click();
    await visit.page.locator('vm-timeline li[data-kind=manual]').waitFor();
    await visit.page.reload();
    expect(await visit.run('cat f')).to.equal('typed');
    expect(await welcome(visit).count()).to.equal(0);
  });

  it('is gone when the visitor forks the guest, or rewinds it', async () => {
    const visit = await site.open();
    await show(visit);
    await take(visit, 'here');
    const help = visit.page.getByRole('button', { name: 'What is this?' });
    await help.click();
    await welcome(visit).waitFor();
    await rows(visit, 'here').getByRole('button', { name: 'Rewind to' }).click();
    await welcome(visit).waitFor({ state: 'detached' });
    await idle(visit);
    await help.click();
    await welcome(visit).waitFor();
    await panel(visit).getByRole('button', { name: 'Fork', exact: true }).click();
    await visit.page.getByRole('dialog').getByRole('button', { name: 'Same folder' }).click();
    await visit.ready(1);
    await welcome(visit).waitFor({ state: 'detached' });
    await visit.picture('welcome-forked');
  });

  it('is gone when the visitor pauses the device, or opens a file', async () => {
    const visit = await site.open();
    await visit.ready();
    await welcome(visit).waitFor();
    await visit.page.getByRole('tab', { name: 'Inspector', exact: true }).click();
    await visit.page.getByRole('tab', { name: 'Files', exact: true }).click();
    expect(await welcome(visit).count(), 'while the visitor only looks').to.equal(1);
    await visit.page.locator('vm-files .row[data-path="/README.txt"]').click();
    await welcome(visit).waitFor({ state: 'detached' });
    await visit.page.getByRole('button', { name: 'What is this?' }).click();
    await welcome(visit).waitFor();
    await visit.page.getByRole('tab', { name: 'Inspector', exact: true }).click();
    await visit.page.locator('vm-inspector').getByRole('tab', { name: 'Step', exact: true }).click();
    await visit.page.getByRole('button', { name: 'Pause before the next request' }).click();
    await welcome(visit).waitFor({ state: 'detached' });
  });
});
