import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import { useWebSite, type Visit } from './support.ts';

describe('the page: the first minute', function () {
  this.timeout(120_000);
  const site = useWebSite();
  const welcome = ({ page }: Visit): Locator => page.getByRole('region', { name: 'Welcome' });

  async function start(visit: Visit, tour: string): Promise<void> {
    await welcome(visit).getByRole('button', { name: tour }).click();
    await welcome(visit).waitFor({ state: 'detached' });
  }

  it('says what this is until something is typed, and again when it is asked for, and not after a reload', async () => {
    const visit = await site.open({ width: 390, height: 780 });
    await welcome(visit).waitFor();
    await visit.ready();
    expect(await welcome(visit).getByRole('listitem').count()).to.equal(5);
    await visit.picture('welcome-phone');
    const { y } = (await welcome(visit).boundingBox())!;
    expect(y, 'the prompt can be seen').to.be.above(150);
    await visit.run('echo typed > f');
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

  it('leads to a request in the device', async () => {
    const visit = await site.open();
    await visit.ready();
    await start(visit, 'Watch a cat cross the device');
    const step = visit.page.locator('vm-step');
    await step.getByRole('heading', { name: /The driver has written a [A-Z]+ request/ }).waitFor();
    await visit.picture('tour-cat');
    const section = step.getByRole('link', { name: /2\.7\.4 Message Framing/ });
    expect(await section.getAttribute('href')).to.match(/virtio-v1\.3-csd01\.html#x1-390004$/);
    await step.getByRole('button', { name: 'Continue' }).click();
    await visit.until(async () => /Welcome!/.test(await visit.screen()), 'cat did not end');
  });

  it('leads back in time', async () => {
    const visit = await site.open();
    await visit.ready();
    await start(visit, 'Go back in time');
    await visit.page.getByText(/note\.txt is gone/).waitFor();
    await visit.until(async () => /rm note\.txt; ls\s+README\.txt/.test(await visit.screen()), 'it was not removed');
    await visit.picture('tour-time');
    await visit.page.getByRole('button', { name: 'Rewind to: Before rm' }).click();
    await visit.until(async () => !/rm note\.txt/.test(await visit.screen()), 'the screen is not as it was');
    expect(await visit.run('cat note.txt')).to.equal('You can bring me back.');
  });

  it('leads to two machines with one folder', async () => {
    const visit = await site.open();
    await visit.ready();
    await start(visit, 'Open two machines');
    await visit.until(async () => /Hello from guest\n/.test(await visit.screen(1)), 'the second one has not read it');
    await visit.picture('tour-two');
    await visit.run('echo answer >> hello.txt', 1);
    // The other one keeps what it knows for a second.
    await visit.until(
      async () => (await visit.run('cat hello.txt')) === 'Hello from guest\nanswer',
      'the first one has not read the answer',
    );
    await visit.page.getByRole('button', { name: 'Dismiss the hint' }).click();
    await visit.page.getByText(/share one folder/).waitFor({ state: 'detached' });
  });
});
