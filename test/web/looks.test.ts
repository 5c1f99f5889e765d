import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults, RunOptions } from 'axe-core';
import { expect } from 'chai';
import { doStep } from './lesson-matrix.ts';
import { useWebSite, type Visit } from './support.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** A page and a phone. */
const SIZES = [
  { name: 'wide', width: 1280, height: 800 },
  { name: 'phone', width: 390, height: 780 },
];
/** Foreground and background, as they are used together. */
const PAIRS = [
  ['text', 'bg'],
  ['text', 'surface'],
  ['text', 'raised'],
  ['text', 'hover'],
  ['text', 'accent-soft'],
  ['text', 'bad-soft'],
  ['muted', 'bg'],
  ['muted', 'surface'],
  ['muted', 'raised'],
  ['muted', 'hover'],
  ['muted', 'accent-soft'],
  ['accent', 'surface'],
  ['accent', 'accent-soft'],
  ['on-accent', 'accent'],
  ['good', 'surface'],
  ['warn', 'surface'],
  ['bad', 'surface'],
  ['bad', 'bad-soft'],
];
const MIN_CONTRAST = 4.5;

describe('the page: looks and accessibility', () => {
  const site = useWebSite();

  async function open(size: { width: number; height: number }, theme: 'light' | 'dark', path = ''): Promise<Visit> {
    const visit = await site.open({ ...size, path });
    await visit.page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
    await visit.ready();
    return visit;
  }

  async function expectNoViolations({ page }: Visit): Promise<void> {
    // Not as an element: the page's policy keeps other scripts out, here too.
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => {
      const { axe } = globalThis as unknown as { axe: { run(options: RunOptions): Promise<AxeResults> } };
      return axe.run({ resultTypes: ['violations'] });
    });
    expect(
      violations.map(
        ({ id, help, nodes }) =>
          `${id}: ${help}: ${nodes.map(({ target, html, failureSummary }) => `${target.join(' ')} ${html} ${failureSummary}`).join('; ')}`,
      ),
    ).to.deep.equal([]);
  }

  /** What sticks out of the window to the right, by tag and class. */
  async function overflowing({ page }: Visit): Promise<string[]> {
    return page.evaluate(() => {
      const found: string[] = [];
      const look = (root: ParentNode, clipped: boolean) => {
        for (const element of root.children) {
          const { overflowX } = getComputedStyle(element);
          if (!clipped && element.getClientRects().length && element.getBoundingClientRect().right > innerWidth + 1)
            found.push(`${element.localName}.${element.className}`);
          const clips = clipped || overflowX !== 'visible';
          look(element, clips);
          if (element.shadowRoot) look(element.shadowRoot, clips);
        }
      };
      look(document, false);
      if (document.documentElement.scrollWidth > innerWidth) found.push('the document');
      return found;
    });
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

  /** Every view of the inspector, with something in it. */
  async function eachPart(visit: Visit, check: (part: string) => Promise<void>): Promise<void> {
    const { page } = visit;
    const inspector = page.locator('vm-inspector');
    const show = (view: string) => inspector.getByRole('tab', { name: view }).click();
    await show('Step');
    await check('inspector step begin');
    await inspector.getByRole('button', { name: 'Pause before the next request' }).click();
    await check('inspector step wait');
    await inspector.getByRole('button', { name: 'Type it for me' }).click();
    await inspector.getByRole('button', { name: 'Next', exact: true }).waitFor();
    for (let step = 0; step < 4; step++) await inspector.getByRole('button', { name: 'Next', exact: true }).click();
    await check('inspector step');
    await expectStages(visit);
    await inspector.getByRole('button', { name: 'Continue' }).click();
    await show('Requests');
    await inspector.locator('.row').first().click();
    await inspector.locator('vm-hex').first().waitFor();
    await check('inspector requests');
    for (const view of ['Queues', 'Latency', 'Device', 'Session']) {
      await show(view);
      await inspector.getByRole('region').first().waitFor();
      await check(`inspector ${view}`);
    }
  }

  /** What a course has beside its lessons, and a lesson with a program. */
  async function eachPageOfCourse({ page }: Visit, check: (part: string) => Promise<void>): Promise<void> {
    const lessons = page.locator('vm-lessons');
    await page.locator('vm-lesson').getByRole('button', { name: 'All lessons' }).first().click();
    await lessons.getByRole('button', { name: 'Glossary' }).click();
    await page.getByRole('dialog', { name: 'Glossary' }).waitFor();
    await check('glossary');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await lessons.getByRole('button', { name: 'Print' }).click();
    await page.locator('vm-printable').getByRole('button', { name: 'Close' }).waitFor();
    await check('printable');
    await page.locator('vm-printable').getByRole('button', { name: 'Close' }).click();
    await lessons.getByRole('button', { name: 'Write your own driver' }).click();
    await page.locator('vm-exercise').getByRole('button', { name: 'Run', exact: true }).waitFor();
    await check('exercise');
  }

  for (const { name, ...size } of SIZES) {
    for (const theme of ['light', 'dark'] as const) {
      it(`is accessible and fits, ${name}, ${theme}`, async () => {
        const visit = await open(size, theme);
        const views =
          name === 'phone'
            ? await visit.page.getByRole('navigation').getByRole('button').allInnerTexts()
            : await visit.page
                .getByRole('region', { name: 'Panels' })
                .locator('> .tabs')
                .getByRole('tab')
                .allInnerTexts();
        expect(views).to.not.deep.equal([]);
        for (const view of views) {
          const label = view.trim();
          await (name === 'phone'
            ? visit.page.getByRole('navigation').getByRole('button', { name: label })
            : visit.page.getByRole('tab', { name: label, exact: true })
          ).click();
          if (label === 'Files') await visit.page.locator('vm-files .row[data-path="/README.txt"]').click();
          const check = async (part: string) => {
            await visit.page.waitForLoadState();
            await expectNoViolations(visit);
            expect(await overflowing(visit), part).to.deep.equal([]);
            await visit.picture(`${part.toLowerCase().replaceAll(' ', '-')}-${name}-${theme}`);
          };
          if (label === 'Inspector') await eachPart(visit, check);
          else await check(label);
          if (label !== 'Lessons') continue;
          await visit.page.getByRole('button', { name: 'What happens on cat' }).click();
          await check('question');
          await doStep(visit, 0);
          await check('lesson');
          await eachPageOfCourse(visit, check);
        }
      });
    }
  }

  it('is accessible where it asks, and where it tells of problems', async () => {
    for (const theme of ['light', 'dark'] as const) {
      const visit = await open(SIZES[1]!, theme);
      const { page } = visit;
      const check = async (part: string) => {
        await expectNoViolations(visit);
        expect(await overflowing(visit), part).to.deep.equal([]);
      };
      await page.getByRole('navigation').getByRole('button', { name: 'Files' }).click();
      for (const name of ['New file', 'New folder']) {
        await page.getByRole('button', { name }).click();
        await check(name);
        await page.getByRole('dialog').getByRole('textbox').fill('README.txt');
        await page.keyboard.press('Enter');
        await page
          .getByRole('alert')
          .getByText(/README\.txt is there already/)
          .first()
          .waitFor();
      }
      await check('problems');
      await visit.picture(`problems-phone-${theme}`);
      await page.getByRole('button', { name: 'Dismiss' }).first().click();
      await page.getByRole('navigation').getByRole('button', { name: 'Timeline' }).click();
      await page.getByRole('button', { name: 'Fork', exact: true }).click();
      await check('fork');
      await page.keyboard.press('Escape');
      await page.getByRole('dialog').waitFor({ state: 'detached' });
    }
  });

  it('is large enough for fingers, and fits a phone then', async () => {
    const context = await site.newProfile({ isMobile: true, hasTouch: true });
    const visit = await site.open({ context, ...SIZES[1]! });
    const { page } = visit;
    await visit.ready();
    const small = (least: number, selector: string) =>
      page.evaluate(
        ([limit, wanted]) => {
          const found: string[] = [];
          const look = (root: ParentNode) => {
            for (const element of root.querySelectorAll('*')) {
              if (element.shadowRoot) look(element.shadowRoot);
              if (!element.matches(wanted) || !element.checkVisibility()) continue;
              const { width, height } = element.getBoundingClientRect();
              if (Math.min(width, height) < limit)
                found.push(`${element.textContent.trim() || element.ariaLabel} ${width} × ${height}`);
            }
          };
          look(document);
          return found;
        },
        [least, selector] as const,
      );
    await page.getByRole('button', { name: 'Close the welcome' }).tap();
    for (const view of ['Terminal', 'Files', 'Timeline', 'Inspector', 'Lessons']) {
      await page.getByRole('navigation').getByRole('button', { name: view }).tap();
      if (view !== 'Terminal')
        await page.locator(`vm-${view.toLowerCase()} .toolbar, vm-lessons button`).first().waitFor();
      expect(await small(24, 'button'), view).to.deep.equal([]);
      expect(await small(44, '.toolbar button, nav button, .keys button, header button'), view).to.deep.equal([]);
      expect(await overflowing(visit), view).to.deep.equal([]);
      await visit.picture(`touch-${view.toLowerCase()}`);
    }
  });

  it('has colours that can be read, in light and dark', async () => {
    const visit = await site.open();
    for (const scheme of ['light', 'dark'] as const) {
      await visit.page.emulateMedia({ colorScheme: scheme });
      const contrasts = await visit.page.locator('virtiofs-vm').evaluate((host, pairs) => {
        const probe = document.createElement('span');
        host.shadowRoot!.append(probe);
        const luminance = (name: string) => {
          probe.style.color = `var(--${name})`;
          const [r, g, b] = getComputedStyle(probe)
            .color.match(/[\d.]+/g)!
            .slice(0, 3)
            .map((value) => {
              const part = Number(value) / 255;
              return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
            });
          return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
        };
        const result = pairs.map(([front, back]) => {
          const [light, dark] = [luminance(front!), luminance(back!)].sort((a, b) => b - a);
          return { pair: `${front} on ${back}`, contrast: (light! + 0.05) / (dark! + 0.05) };
        });
        probe.remove();
        return result;
      }, PAIRS);
      for (const { pair, contrast } of contrasts) expect(contrast, `${pair}, ${scheme}`).to.be.at.least(MIN_CONTRAST);
    }
  });

  it('does not move for who wants no motion', async () => {
    const visit = await open(SIZES[0]!, 'light');
    await visit.page.locator('vm-files .row[data-path="/docs"]').click();
    const moving = await visit.page.evaluate(() =>
      document.getAnimations().map((animation) => (animation.effect as KeyframeEffect).target!.className),
    );
    expect(moving).to.deep.equal([]);
    expect(
      await visit.page
        .locator('vm-files .twisty')
        .first()
        .locator('svg')
        .evaluate((element) => getComputedStyle(element).transitionDuration),
    ).to.match(/^0s/);
  });

  it('is light or dark as the visitor likes', async () => {
    const visit = await open(SIZES[0]!, 'light');
    const background = () =>
      visit.page.locator('virtiofs-vm').evaluate((element) => getComputedStyle(element).backgroundColor);
    const light = await background();
    await visit.page.getByRole('button', { name: 'Light or dark' }).click();
    expect(await background()).to.not.equal(light);
    await visit.page.getByRole('button', { name: 'Light or dark' }).click();
    expect(await background()).to.equal(light);
  });

  it('goes from the terminal to the panel and back with F6', async () => {
    const visit = await open(SIZES[0]!, 'light');
    const { page } = visit;
    const focused = () =>
      page.evaluate(() => {
        let element = document.activeElement;
        while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
        return element?.getAttribute('role') ?? element?.className;
      });
    await visit.terminal().locator('.screens').click();
    expect(await focused()).to.match(/xterm/);
    await page.keyboard.press('F6');
    expect(await focused()).to.equal('tab');
    await page.keyboard.press('F6');
    expect(await focused()).to.match(/xterm/);
  });
});
