import { expect } from 'chai';
import { offerGuests, overflowing, PHONE, smallOnes } from './checks.ts';
import { useWebSite, type Visit } from './support.ts';
import { WALKS } from './walk.ts';

/** What fingers are to meet; not what stands in a line of text. */
const TOUCHED = 'button:not(.term, .pointer, .glossary), select, summary';
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

  async function open(): Promise<Visit> {
    const visit = await site.open();
    await visit.page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' });
    await visit.ready();
    return visit;
  }

  for (const [part, follow] of Object.entries(WALKS))
    it(`is large enough for fingers, and fits a phone then: ${part}`, async () => {
      offerGuests(site);
      const context = await site.newProfile({ isMobile: true, hasTouch: true });
      const visit = await site.open({ context, ...PHONE, path: '?guest=busybox' });
      await visit.ready();
      const look = async (name: string) => {
        expect((await smallOnes(visit, 44, TOUCHED)).join('\n'), name).to.equal('');
        expect((await smallOnes(visit, 24, 'button.glossary')).join('\n'), name).to.equal('');
        expect(await overflowing(visit), name).to.deep.equal([]);
        await visit.picture(`touch-${name.toLowerCase().replaceAll(' ', '-')}`);
      };
      await follow(visit, look, site);
    }).timeout(900_000);

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
    const visit = await open();
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
    const visit = await open();
    const background = () =>
      visit.page.locator('virtiofs-vm').evaluate((element) => getComputedStyle(element).backgroundColor);
    const light = await background();
    await visit.page.getByRole('button', { name: 'Light or dark' }).click();
    expect(await background()).to.not.equal(light);
    await visit.page.getByRole('button', { name: 'Light or dark' }).click();
    expect(await background()).to.equal(light);
  });

  it('goes from the terminal to the panel and back with F6', async () => {
    const visit = await open();
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
