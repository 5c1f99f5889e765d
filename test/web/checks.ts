import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { AxeResults, RunOptions } from 'axe-core';
import { expect } from 'chai';
import { offeringBoth } from '../../web/build/offer.ts';
import { serveIndex, type Visit, type WebSite } from './support.ts';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** A page and a phone. */
const WIDE = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 780 };

/** Has the site serve the page as visitors get it, with a choice of guests. The small one is at `?guest=busybox`. */
export function offerGuests(site: WebSite): void {
  site.intercept = (request, response, next) => serveIndex(request, response, offeringBoth) || next();
}

export async function expectNoViolations({ page }: Visit): Promise<void> {
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
export async function overflowing({ page }: Visit): Promise<string[]> {
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

/** What matches a selector, can be seen, and is smaller than that many pixels, in either direction. */
export async function smallOnes({ page }: Visit, least: number, selector: string): Promise<string[]> {
  return page.evaluate(
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
}

/** Leaves pictures of what a tab shows, light and dark, wide and on a phone, after `judge` has seen each; the window is as it was then. */
export async function drawn(visit: Visit, name: string, judge: () => Promise<void>): Promise<void> {
  const { page } = visit;
  const before = page.viewportSize()!;
  for (const [size, where] of [
    [PHONE, 'phone'],
    [WIDE, 'wide'],
  ] as const)
    for (const theme of ['light', 'dark'] as const) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme: theme, reducedMotion: 'reduce' });
      await page.waitForFunction(
        ([width, scheme]) => innerWidth === width && matchMedia(`(prefers-color-scheme: ${scheme})`).matches,
        [size.width, theme] as const,
      );
      // What looks at sizes draws in the frame after that.
      await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
      await judge();
      expect(await overflowing(visit), `${name}, ${where}`).to.deep.equal([]);
      await visit.picture(`${name.toLowerCase().replaceAll(' ', '-')}-${where}-${theme}`);
    }
  await page.setViewportSize(before);
}
