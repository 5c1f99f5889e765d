import { expect } from 'chai';
import { useWebSite } from './support.ts';
import { rows, show, take } from './timeline-panel.ts';

/** What all browsers have in common is in browsers.test.ts. */
describe('the page: what Firefox does in its own way', function () {
  this.timeout(600_000);
  const site = useWebSite();

  it('keeps snapshots over a reload, and has it in a page of one script and one element', async () => {
    const visit = await site.open({ browser: 'Firefox' });
    expect(await visit.run('echo from $((6*7)) > typed; cat typed')).to.equal('from 42');
    await show(visit);
    await take(visit, 'mark');
    await visit.page.reload();
    await visit.page.getByText(/resumed from/).waitFor();
    expect(await visit.run('cat typed')).to.equal('from 42');
    await show(visit);
    await rows(visit, 'mark').waitFor();

    const small = await site.open({ browser: 'Firefox', path: 'one-script.html' });
    expect(await small.run('uname')).to.equal('Linux');
    await small.page.locator('vm-files .row[data-path="/README.txt"]').waitFor();
  });

  it('starts without a network after a first visit', async () => {
    const context = await site.newProfile({ serviceWorkers: 'allow' }, 'Firefox');
    const visit = await site.open({ context });
    await visit.ready();
    await visit.until(
      () =>
        visit.page.evaluate(async () => {
          const { active } = (await navigator.serviceWorker.getRegistration()) ?? {};
          const guests = await (await caches.open('v86-virtiofs guests')).keys();
          return active?.state === 'activated' && guests.length === 2;
        }),
      'it is not kept',
    );
    site.intercept = (request) => void request.socket.destroy();
    await visit.page.goto(site.url);
    expect(await visit.run('echo off$((1))line')).to.equal('off1line');
    visit.forgive();
  });

  it('drives a bare device', async () => {
    const { page } = await site.open({ browser: 'Firefox', path: '?course=course/course.md#lesson=driver' });
    const exercise = page.locator('vm-exercise').first();
    const seen = page.locator('vm-lesson .seen');
    await exercise.getByRole('button', { name: 'Show a solution' }).click();
    await exercise.getByRole('button', { name: 'Replace it' }).click();
    const run = page.getByRole('button', { name: 'Run', exact: true });
    await run.click();
    await exercise.getByText(/Hello, driver \d+!/).waitFor();
    await seen.getByText(/The program went through all capabilities/).waitFor();
    await run.click();
    await seen.getByText(/VIRTIO_F_VERSION_1 is accepted\. FEATURES_OK is set/).waitFor();
  });
});
