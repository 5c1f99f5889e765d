// Takes the picture of the page that README shows, in Chromium: `npm run build && node --import tsx scripts/picture.ts`.
import { join } from 'node:path';
import { chromium, type Page } from 'playwright-core';
import { servePage } from '../web/build/serve.ts';

const PICTURE = join(import.meta.dirname, '../docs/page.png');
/** Milliseconds, for a guest to come up. */
const PATIENCE = 60_000;

async function type(page: Page, line: string, answer: RegExp): Promise<void> {
  const terminal = page.locator('vm-terminals');
  // The middle is the welcome's until something is typed.
  await terminal.locator('.screens').click({ position: { x: 40, y: 20 } });
  await page.keyboard.insertText(line);
  await page.keyboard.press('Enter');
  for (const end = Date.now() + PATIENCE; ; await page.waitForTimeout(50)) {
    const text = await terminal.evaluate((element) => (element as unknown as { text: string }).text);
    if (answer.test(`${text} `)) return;
    if (Date.now() > end) throw new Error(`${line}: ${answer} did not appear in\n${text}`);
  }
}

const { url, server } = await servePage(0);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
try {
  const page = await browser.newPage({ viewport: { width: 1120, height: 720 }, colorScheme: 'light' });
  page.setDefaultTimeout(PATIENCE);
  await page.addInitScript('globalThis.__name = (value) => value');
  await page.goto(url);
  await type(page, 'uname -sr; mount -t virtiofs', /share on .*\n.*# $/);
  await type(page, 'gcc --version | head -1; date > now; ls', /now\n.*# $/);
  await page.getByRole('tab', { name: 'Inspector' }).click();
  await page.getByRole('tab', { name: 'Step' }).click();
  await page.getByRole('button', { name: 'Pause before the next request' }).click();
  await type(page, 'cat README.txt', /cat README\.txt\s+$/);
  const step = page.locator('vm-step');
  await step.getByRole('button', { name: 'Next', exact: true }).click();
  // Nothing of it moves any more.
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.screenshot({ path: PICTURE });
} finally {
  await browser.close();
  server.close();
}
