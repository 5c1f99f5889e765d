import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Locator } from 'playwright-core';
import { STAGES } from '../../device/inspect/walk.ts';
import { OWN_TERMS } from '../../web/page/inspector/own-terms.ts';
import { isSection, source, TERMS } from '../../web/page/inspector/spec.ts';
import { parseGlossary } from '../../web/page/lessons/course-format.ts';
import { useWebSite } from './support.ts';

const ROOT = join(import.meta.dirname, '../..');
const textOf = (file: string) => readFileSync(join(ROOT, file), 'utf8');

describe('the page: what the inspector names', () => {
  const glossary = parseGlossary(textOf('web/course/glossary.md') + OWN_TERMS, 'glossary');

  it('is in the glossary, each once, whose links lead somewhere', () => {
    const ids = glossary.map(({ id }) => id);
    expect(new Set(ids).size).to.equal(ids.length);
    expect(ids).to.include.members(Object.keys(TERMS));
    for (const [, id] of OWN_TERMS.matchAll(/\]\(term:([^)]*)\)/g)) expect(ids).to.include(id);
    for (const [, number] of OWN_TERMS.matchAll(/\]\(virtio:([^)]*)\)/g))
      expect(isSection(number!), number).to.equal(true);
  });

  it('has an address for every section that a step names, and for no other', () => {
    const named = [...textOf('device/inspect/walk.ts').matchAll(/['`]((?:\d+\.)+\d+ [^'`]+|fuse\.h: [^'`]+)['`]/g)].map(
      ([, section]) => section!.replace('${opcode}', 'READ'),
    );
    expect(named.length).to.be.above(STAGES.length);
    for (const section of named) source(section);
    for (const section of ['9.9.9 Nowhere', '2.7.4.99 Deeper', 'POSIX', 'fuse.h: ', 'fuse.h: <script>'])
      expect(() => source(section), section).to.throw('knows no section');
  });

  describe('in a browser', () => {
    const site = useWebSite();

    it('leads to its specification and to the glossary: every stage, heading and column', async () => {
      const visit = await site.open();
      await visit.ready();
      const { page } = visit;
      const panel = page.locator('vm-inspector');
      await page.getByRole('tab', { name: 'Inspector', exact: true }).click();
      // It has what happens from when it's there.
      await panel.locator('vm-requests').waitFor();
      const show = async (view: string): Promise<Locator> => {
        await panel.getByRole('tab', { name: view, exact: true }).click();
        return panel.locator(`vm-${view.toLowerCase()}`);
      };
      const check = async (names: Locator, least: number) => {
        // Views ask the guest for what they show.
        await names.nth(least - 1).waitFor({ state: 'attached' });
        const all = await names.evaluateAll((elements) =>
          elements.map((element) => ({
            name: element.textContent!.trim(),
            href: element.querySelector<HTMLAnchorElement>('a.spec')?.href,
            term: element.querySelector<HTMLElement>('button.glossary')?.dataset['term'],
          })),
        );
        for (const { name, href, term } of all) {
          expect(href, name).to.match(/virtio-v1\.3-csd01\.html#x1-\d+$|\/C\/ident\/(FUSE_|fuse_)\w+$/);
          expect(Object.keys(TERMS), name).to.include(term);
        }
      };

      await visit.run('exec 3> held; cat README.txt; flock 3');
      const requests = await show('Requests');
      await requests.locator('.row').first().waitFor();
      await requests.getByText('Columns', { exact: true }).click();
      for (const box of await requests.getByRole('checkbox').all()) await box.check();
      await requests.getByText('Columns', { exact: true }).click();
      await check(requests.locator('.head > span'), 10);
      await requests.locator('.row').filter({ hasText: 'READ' }).first().click();
      const detail = requests.locator('vm-request-detail');
      await check(detail.locator('.title strong, h2, dt'), 8);
      await detail.getByRole('button', { name: 'Close' }).click();

      const queues = await show('Queues');
      await check(queues.locator('h2, th'), 9);
      const latency = await show('Latency');
      await latency.locator('.opcode').first().waitFor();
      await check(latency.locator('.note'), 1);
      const device = await show('Device');
      await check(device.locator('h2, th, .of-status, [data-mark=queues] td:first-child:not(:empty)'), 30);
      expect(await device.locator('[data-mark=registers] a.spec').count()).to.be.above(15);
      expect(await device.locator('[data-mark=features] td a.spec').count()).to.be.at.least(6);
      expect(await device.locator('[data-mark=capabilities] td a.spec').count()).to.equal(5);
      const session = await show('Session');
      await check(session.locator('h2, th'), 14);
      const step = await show('Step');
      await check(step.locator('.route li'), STAGES.length);

      await step.locator('.route').getByRole('button', { name: 'Glossary: reply' }).click();
      const dialog = page.getByRole('dialog', { name: 'Glossary' });
      await dialog.locator('[data-current]', { hasText: 'The device’s message about a request' }).waitFor();
      expect(await dialog.locator('dt').count()).to.equal(glossary.length);
    });
  });
});
