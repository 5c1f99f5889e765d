import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { PAGE_DIRECTORY } from '../../web/build/serve.ts';
import { useWebSite, type Visit } from './support.ts';

describe('the page: without a network', function () {
  const site = useWebSite();

  /** Waits until all is kept that a visit without a network needs. */
  async function kept(visit: Visit): Promise<void> {
    const look = async () => {
      const { active } = (await navigator.serviceWorker.getRegistration()) ?? {};
      const guests = await (await caches.open('v86-virtiofs guests')).keys();
      return active?.state === 'activated' && guests.some(({ url }) => url.endsWith('guest.json'));
    };
    await visit.until(() => visit.page.evaluate(look), 'it is not kept');
  }

  function pullThePlug(): void {
    site.intercept = (request) => void request.socket.destroy();
  }

  it('starts after the first visit, with all of its views', async () => {
    const context = await site.newProfile({ serviceWorkers: 'allow' });
    const first = await site.open({ context });
    await first.run('echo not kept > f');
    await kept(first);
    await first.page.close();

    pullThePlug();
    const visit = await site.open({ context });
    await context.setOffline(true);
    expect(await visit.run('cat README.txt | head -1')).to.match(/^Welcome!/);
    await visit.page
      .locator('.state')
      .getByText(/^Running/)
      .waitFor();
    await visit.page.getByText('Offline', { exact: true }).waitFor();
    await visit.page.setViewportSize({ width: 390, height: 780 });
    for (const shown of ['.offline', '.memory', '.state .detail']) await visit.page.locator(shown).waitFor();
    await visit.picture('offline-phone');
    await visit.page.setViewportSize({ width: 1280, height: 800 });
    for (const panel of ['Timeline', 'Inspector', 'Lessons', 'Files'])
      await visit.page.getByRole('tab', { name: panel, exact: true }).click();
    await visit.page.locator('vm-files .row[data-path="/README.txt"]').waitFor();
    await visit.picture('offline');
    // Only the look for a newer page has failed.
    for (const complaint of visit.complaints.splice(0)) expect(complaint).to.match(/ERR_|Failed to load resource/);
    expect(await visit.page.locator('.problem').allInnerTexts()).to.deep.equal([]);
  });

  it('has the page of a new build as soon as the server has it', async () => {
    const context = await site.newProfile({ serviceWorkers: 'allow' });
    const first = await site.open({ context });
    await first.ready();
    await kept(first);
    site.intercept = (request, response, next) => {
      if (!/^\/some\/where\/(\?|$)/.test(request.url!)) return next();
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><html lang="en"><title>new</title><link rel="icon" href="data:,">');
    };
    await first.page.reload();
    expect(await first.page.title()).to.equal('new');
  });

  describe('a second tab fetches the guest’s snapshot no more', () => {
    const isSnapshot = (url = '') => /\.layer\.bin$/.test(url);
    let asked: string[];
    beforeEach(() => {
      asked = [];
      site.intercept = (request, _, next) => {
        if (isSnapshot(request.url)) asked.push(request.url!);
        next();
      };
    });

    it('from a server that says how long it is good for', async () => {
      const context = await site.newProfile();
      for (let tab = 0; tab < 2; tab++) await (await site.open({ context })).ready();
      expect(asked.length).to.equal(1);
    });

    it('from one that does not, when the page keeps it', async () => {
      site.intercept = (request, response, next) => {
        if (!isSnapshot(request.url)) return next();
        asked.push(request.url!);
        const file = join(PAGE_DIRECTORY, request.url!.replace('/some/where/', ''));
        response.writeHead(200, { 'cache-control': 'no-store' }).end(readFileSync(file));
      };
      const context = await site.newProfile({ serviceWorkers: 'allow' });
      const first = await site.open({ context });
      await first.ready();
      await kept(first);
      const before = asked.length;
      const second = await site.open({ context });
      await second.ready();
      expect(asked.length).to.equal(before);
    });
  });

  it('can be installed', async () => {
    const { page } = await site.open();
    const session = await page.context().newCDPSession(page);
    const { errors, data } = (await session.send('Page.getAppManifest')) as { errors: unknown[]; data?: string };
    expect(errors).to.deep.equal([]);
    expect(JSON.parse(data!)).to.include({ display: 'standalone', start_url: './' });
    const { installabilityErrors } = (await session.send('Page.getInstallabilityErrors' as never)) as {
      installabilityErrors: { errorId: string }[];
    };
    expect(installabilityErrors.filter(({ errorId }) => errorId !== 'in-incognito')).to.deep.equal([]);
  });
});
