import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { PAGE_DIRECTORY, servePage } from '../../web/build/serve.ts';
import { type BenchRow, Collector, type Measure, medianOf, type Target, target } from './report.ts';
import { type LinkSpeed, SlowLink } from './slow-link.ts';

const CHROMIUM = '/usr/bin/chromium';
const PATIENCE = 120_000;
/** Milliseconds: until a visit has kept what later ones need. */
const KEEPING = 4000;
/** Milliseconds: until a page does nothing by itself, and for how long it is watched then, idle and with much to show. */
const [SETTLING, IDLE, WATCHING] = [5000, 10_000, 5000];

/** Guests of the page, by their names in its address. */
export const PAGE_GUESTS = ['debian', 'busybox'] as const;

const [NEAR, FAR] = ['no delay', '50 ms, 50 Mbit/s'];
const NETWORKS: { name: string; speed: LinkSpeed }[] = [
  { name: NEAR, speed: { delay: 0, bandwidth: 100_000 } },
  { name: FAR, speed: { delay: 50, bandwidth: 50 } },
];
const VISITS = ['empty profile', 'second visit'] as const;
const [FIRST, SECOND] = VISITS;
const PROMPT = 'open until the prompt is there';
const DONE = 'the first command is done';
const SCRIPTS = 'scripts until the first paint, compressed';
const IDLE_LOAD = 'processor while nothing is done';
const FRAMES = 'frames a second meanwhile';
/** A device that is looked into: what is written there meanwhile, and how the inspector calls it where there is a choice. */
interface Device {
  file: string;
  choice?: string;
}
const SHARE: Device = { file: 'bytes' };
const ROOT: Device = { file: '/root/bytes', choice: 'Root filesystem' };
const DEVICES: Record<string, Device[]> = { debian: [SHARE, ROOT], busybox: [SHARE] };
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
  const collector = new Collector(PAGE_GUESTS);
  try {
    for (let round = 1; round <= rounds; round++) {
      for (const { name, speed } of NETWORKS) {
        for (const guest of PAGE_GUESTS) {
          onProgress(`round ${round} of ${rounds}: ${guest}, ${name}`);
          const link = await SlowLink.open((server.address() as AddressInfo).port, speed);
          try {
            await measure(
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
    server.closeAllConnections();
    server.close();
  }
  return collector.rows();
}

/** What was to be reached, and is or is not. */
export function targetsOfPage(rows: readonly BenchRow[]): Target[] {
  const of = (guest: string, network: string, visit: string, what: string) =>
    medianOf(rows, { name: `${network}, ${visit}: ${what}` }, guest);
  const debian = (network: string, visit: string, what: string) => of('debian', network, visit, what);
  return [
    target(`Debian, ${NEAR}: ${PROMPT}`, 's', debian(NEAR, FIRST, PROMPT), 1.5),
    target(`Debian, ${FAR}: ${PROMPT}`, 's', debian(FAR, FIRST, PROMPT), 5),
    target(`Debian, ${FAR}: fetched until ${DONE}`, 'MB', debian(FAR, FIRST, `fetched until ${DONE}`), 11),
    ...PAGE_GUESTS.flatMap((guest) => [
      target(`${guest}: ${SCRIPTS}`, 'KB', of(guest, NEAR, FIRST, SCRIPTS), 350),
      target(`${guest}: ${IDLE_LOAD}`, '%', of(guest, NEAR, SECOND, IDLE_LOAD), 3),
      target(`${guest}: ${FRAMES}, at 5,000 requests a second or more`, '', Math.round(framesOf(guest)), 60, true),
    ]),
  ];

  function framesOf(guest: string): number {
    const rate = of(guest, NEAR, SECOND, 'requests a second, with the inspector open');
    return rate >= 5000 ? of(guest, NEAR, SECOND, FRAMES) : NaN;
  }
}

async function measure(
  link: SlowLink,
  add: (visit: string, what: string, unit: string, value: number) => void,
  guest: string,
): Promise<void> {
  const profile = await mkdtemp(join(tmpdir(), 'v86-virtiofs-bench-'));
  // On disk, as a visitor's is: what is in memory only keeps no large files.
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    args: ['--no-sandbox'],
    viewport: { width: 1280, height: 800 },
  });
  let requests = 0;
  context.on('request', (request) => {
    if (/^http/.test(request.url())) requests++;
  });
  try {
    for (const visit of VISITS) {
      const { bytes } = link;
      requests = 0;
      const fetched = (until: string) => {
        add(visit, `fetched until ${until}`, 'MB', (link.bytes - bytes) / 1e6);
        add(visit, `requests until ${until}`, '', requests);
      };
      const { prompt, command, page } = await open(context, `http://localhost:${link.port}/?guest=${guest}`);
      add(visit, PROMPT, 's', prompt);
      if (visit === FIRST) add(visit, SCRIPTS, 'KB', (await scriptsUntilPaint(page)) / 1000);
      add(visit, `open until ${DONE}`, 's', command);
      fetched(DONE);
      // What later visits need is kept behind that.
      await page.waitForTimeout(KEEPING);
      fetched('all is kept');
      if (visit === SECOND) {
        add(visit, IDLE_LOAD, '%', 100 * (await load(context, page)));
        add(visit, 'memory of the page', 'MB', (await memory(context)) / 1e6);
        for (const device of DEVICES[guest]!) {
          const { frames, rate } = await inspect(page, device);
          const which = device.choice ? `, ${device.choice.toLowerCase()}` : '';
          add(visit, `requests a second, with the inspector open${which}`, '', rate);
          add(visit, `${FRAMES}${which}`, '', frames);
        }
      }
      await page.close();
    }
  } finally {
    await context.close();
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
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
async function open(context: BrowserContext, url: string): Promise<{ prompt: number; command: number; page: Page }> {
  const page = await context.newPage();
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  await page.goto(url, { waitUntil: 'commit' });
  await until(page, `/[#$] *$/.test(${TEXT})`);
  const prompt = seconds();
  await page.evaluate("document.querySelector('virtiofs-vm').shadowRoot.querySelector('vm-terminals').focus()");
  await page.keyboard.insertText(TYPED);
  await page.keyboard.press('Enter');
  await until(page, `(${TEXT}).includes('${PRINTED}')`);
  return { prompt, command: seconds(), page };
}

/** Bytes of scripts, as they came, that the page had when it painted something for the first time. */
function scriptsUntilPaint(page: Page): Promise<number> {
  return page.evaluate<number>(`(() => {
    const { startTime } = performance.getEntriesByName('first-contentful-paint')[0];
    return performance.getEntriesByType('resource')
      .filter(({ name, responseEnd }) => /\\.js$/.test(name) && responseEnd <= startTime)
      .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);
  })()`);
}

/** Of one processor, for all processes of the browser, over some seconds in which the page is looked at and nothing else. */
async function load(context: BrowserContext, page: Page): Promise<number> {
  const session = await context.browser()!.newBrowserCDPSession();
  const spent = async () => {
    const { processInfo } = await session.send('SystemInfo.getProcessInfo');
    return processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0);
  };
  await page.waitForTimeout(SETTLING);
  const before = await spent();
  await page.waitForTimeout(IDLE);
  return ((await spent()) - before) / (IDLE / 1000);
}

/** Bytes that the page's processes have in memory: of what they share with others, their part. */
async function memory(context: BrowserContext): Promise<number> {
  const session = await context.browser()!.newBrowserCDPSession();
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  const sizes = processInfo
    .filter(({ type }) => type === 'renderer')
    .map(({ id }) => /^Pss: *(\d+) kB/m.exec(readFileSync(`/proc/${id}/smaps_rollup`, 'utf8'))!);
  return sizes.reduce((sum, [, kilobytes]) => sum + 1024 * Number(kilobytes), 0);
}

/** While a program of the guest writes byte after byte, each of which is a request. */
async function inspect(page: Page, { file, choice }: Device): Promise<{ frames: number; rate: number }> {
  await page.getByRole('tab', { name: 'Inspector' }).click();
  if (choice) await page.getByLabel('Device of').selectOption(choice);
  await page.evaluate("document.querySelector('virtiofs-vm').shadowRoot.querySelector('vm-terminals').focus()");
  await page.keyboard.insertText(`dd if=/dev/zero of=${file} bs=1 count=1000000`);
  await page.keyboard.press('Enter');
  const requests = `document.querySelector('virtiofs-vm').shadowRoot.querySelector('vm-inspector')?.shadowRoot?.querySelector('vm-requests')?.rate ?? 0`;
  await until(page, `${requests} > 1000`);
  const result = await page.evaluate<{ frames: number; rate: number }>(`new Promise((resolve) => {
    const began = performance.now();
    let frames = 0;
    const rates = [];
    const count = () => {
      frames++;
      rates.push(${requests});
      const passed = performance.now() - began;
      if (passed < ${WATCHING}) return requestAnimationFrame(count);
      resolve({ frames: (1000 * frames) / passed, rate: rates.reduce((sum, rate) => sum + rate) / rates.length });
    };
    requestAnimationFrame(count);
  })`);
  await page.keyboard.press('Control+c');
  return result;
}
