import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { PAGE_DIRECTORY, servePage } from '../../web/build/serve.ts';
import { type BenchRow, Collector, type Measure } from './report.ts';
import { type LinkSpeed, SlowLink } from './slow-link.ts';

const CHROMIUM = '/usr/bin/chromium';
const PATIENCE = 120_000;

/** Guests of the page, by their names in its address. */
export const PAGE_GUESTS = ['debian', 'busybox'] as const;

const NETWORKS: { name: string; speed: LinkSpeed }[] = [
  { name: 'no delay', speed: { delay: 0, bandwidth: 100_000 } },
  { name: '50 ms, 50 Mbit/s', speed: { delay: 50, bandwidth: 50 } },
];
const VISITS = ['empty profile', 'second visit'] as const;
/** What the first command prints, and how it is typed. */
const [PRINTED, TYPED] = ['first-42', 'echo first-$((6*7))'];

/** What the page says of its terminal. */
const TEXT = "document.querySelector('virtiofs-vm')?.shadowRoot?.querySelector('vm-terminals')?.text ?? ''";

/** How long the built page takes to open, in Chromium: from nothing, and again. */
export async function benchPage(rounds: number, onProgress: (message: string) => void): Promise<BenchRow[]> {
  for (const name of ['index.html', 'guest/guest.json', 'debian/guest.json'])
    if (!existsSync(join(PAGE_DIRECTORY, name)))
      throw new Error(
        `the page is not built: ${name} is missing; run \`npm run build:page && npm run build:debian\` first`,
      );
  const { server } = await servePage(0);
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] });
  const collector = new Collector(PAGE_GUESTS);
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const { name, speed } of NETWORKS) {
        for (const guest of PAGE_GUESTS) {
          onProgress(`round ${round} of ${rounds}: ${guest}, ${name}`);
          const link = await SlowLink.open((server.address() as AddressInfo).port, speed);
          try {
            await measure(
              browser,
              link,
              (visit, what, unit, value) => {
                const row: Measure = { name: `${name}, ${visit}: ${what}`, unit, isRate: false };
                collector.add(guest, row, value);
              },
              guest,
            );
          } finally {
            await link.close();
          }
        }
      }
    }
  } finally {
    await browser.close();
    server.closeAllConnections();
    server.close();
  }
  return collector.rows();
}

async function measure(
  browser: Browser,
  link: SlowLink,
  add: (visit: string, what: string, unit: string, value: number) => void,
  guest: string,
): Promise<void> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  try {
    for (const visit of VISITS) {
      const { bytes } = link;
      const { prompt, command, requests } = await open(context, `http://localhost:${link.port}/?guest=${guest}`);
      add(visit, 'open until the prompt is there', 's', prompt);
      add(visit, 'open until the first command is done', 's', command);
      add(visit, 'fetched', 'MB', (link.bytes - bytes) / 1e6);
      add(visit, 'requests', '', requests);
    }
  } finally {
    await context.close();
  }
}

/** Waits in the page, whose policy forbids what Playwright does for that. */
async function until(page: Page, condition: string): Promise<void> {
  await page.evaluate(`new Promise((resolve, reject) => {
    const end = performance.now() + ${PATIENCE};
    const look = () => {
      if (${condition}) return resolve();
      if (performance.now() > end) return reject(new Error('nothing came within ${PATIENCE / 1000} s'));
      setTimeout(look, 10);
    };
    look();
  })`);
}

/** Seconds. */
async function open(
  context: BrowserContext,
  url: string,
): Promise<{ prompt: number; command: number; requests: number }> {
  const page = await context.newPage();
  let requests = 0;
  context.on('request', (request) => {
    if (/^http/.test(request.url())) requests++;
  });
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  await page.goto(url, { waitUntil: 'commit' });
  await until(page, `/[#$] *$/.test(${TEXT})`);
  const prompt = seconds();
  await page.evaluate("document.querySelector('virtiofs-vm').shadowRoot.querySelector('vm-terminals').focus()");
  await page.keyboard.insertText(TYPED);
  await page.keyboard.press('Enter');
  await until(page, `(${TEXT}).includes('${PRINTED}')`);
  const command = seconds();
  // What the visit keeps is written behind.
  await page.waitForTimeout(2000);
  await page.close();
  return { prompt, command, requests };
}
