import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import type { Download } from 'playwright-core';
import { useWebSite, type Visit } from './support.ts';

describe('the page: a moment for somebody else', function () {
  const site = useWebSite();

  const timeline = ({ page }: Visit) => page.getByRole('tab', { name: 'Timeline' }).click();

  /** With something in the shell, in a file and in the folder. */
  async function share(): Promise<Download> {
    const visit = await site.open();
    await visit.run('n=42; echo shared > note.txt; exec 5<note.txt; rm note.txt; echo here > kept.txt');
    await timeline(visit);
    const file = await visit.download(() => visit.page.getByRole('button', { name: 'Share' }).click());
    await visit.page.getByText(`“${file.suggestedFilename()}” holds this very moment`).waitFor();
    expect(await visit.page.locator('.link').innerText()).to.equal(
      `${site.url}?snapshot=${encodeURIComponent(file.suggestedFilename())}`,
    );
    await visit.picture('share');
    return file;
  }

  const LOOK = 'echo $n; cat <&5; cat kept.txt';

  it('is a file that takes another visitor to that instant', async () => {
    const path = await (await share()).path();
    const other = await site.open();
    await other.run('n=1');
    await timeline(other);
    await other.page.getByLabel('Snapshot to import').setInputFiles(path);
    await other.page.getByText(/was imported/).waitFor();
    await other.picture('imported');
    await other.page.getByRole('button', { name: 'Rewind', exact: true }).click();
    await other.until(async () => /n=42/.test(await other.screen()), 'it is not there');
    expect(await other.run(LOOK)).to.equal('42\nshared\nhere');
    await other.page.getByRole('button', { name: 'Undo' }).click();
    await other.until(async () => /n=1;/.test(await other.screen()), 'it is not back');
    expect(await other.run('echo $n')).to.equal('1');
  });

  it('is a link to such a file beside the page, which a reload goes on from', async () => {
    const file = await share();
    const content = await readFile(await file.path());
    const seen: string[] = [];
    site.intercept = (request, response, next) => {
      seen.push(request.url!);
      if (/^[^?]*\.layer$/.test(request.url!)) response.end(content);
      else next();
    };
    const visit = await site.open({ path: `?snapshot=${encodeURIComponent(file.suggestedFilename())}` });
    expect(await visit.run(LOOK)).to.equal('42\nshared\nhere');
    expect(seen.filter((url) => url.includes('/guest/'))).to.deep.equal([]);
    expect(visit.page.url()).to.equal(site.url);
    await visit.run('n=43');
    await timeline(visit);
    await visit.page.getByRole('button', { name: 'Snapshot now' }).click();
    await visit.page.locator('vm-timeline li[data-kind=manual]').waitFor();
    await visit.page.reload();
    expect(await visit.run('echo $n')).to.equal('43');
  });

  it('is a link that leaves the last visit in the timeline', async () => {
    const content = await readFile(await (await share()).path());
    site.intercept = (request, response, next) => {
      if (/^[^?]*\.layer$/.test(request.url!) && !request.url!.includes('/guest/')) response.end(content);
      else next();
    };
    const context = await site.newProfile();
    const first = await site.open({ context });
    await first.run('echo mine > kept.txt; n=1');
    await timeline(first);
    await first.page.getByRole('button', { name: 'Snapshot now' }).click();
    await first.page.locator('vm-timeline li[data-kind=manual]').waitFor();
    await first.page.close();
    const visit = await site.open({ context, path: '?snapshot=moment.layer' });
    await visit.page
      .getByRole('alert')
      .getByText(/Your last visit was not resumed/)
      .waitFor();
    expect(await visit.run(LOOK)).to.equal('42\nshared\nhere');
    await timeline(visit);
    const last = visit.page.locator('vm-timeline li[data-kind=manual]').filter({ hasText: 'Last visit' });
    await last.getByRole('button', { name: 'Rewind to' }).click();
    await visit.until(async () => /n=1/.test(await visit.screen()), 'the last visit is not there');
    expect(await visit.run('cat kept.txt; echo $n')).to.equal('mine\n1');
  });

  it('says so when the link leads nowhere, to something else, or to another server, and begins without it', async () => {
    for (const [link, reason] of [
      ['nowhere.layer', /The snapshot of the link can’t be opened, so this is another guest: .*nowhere\.layer.* 404/],
      ['index.html', /The snapshot of the link can’t be opened, so this is another guest: /],
      [
        'https://example.org/x.layer',
        /example\.org\/x\.layer, is not on this page’s server: download it, and import it/,
      ],
    ] as const) {
      const visit = await site.open({ path: `?snapshot=${encodeURIComponent(link)}` });
      await visit.page.getByRole('alert').getByText(reason).waitFor();
      expect(await visit.run('echo here')).to.equal('here');
      expect(visit.strangers).to.deep.equal([]);
      visit.complaints.length = 0;
      await visit.page.close();
    }
  });
});
