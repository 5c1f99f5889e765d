import { brotliCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { PATIENCE, useWebSite, Visit } from './support.ts';

/** Bytes. */
const LIMIT = 600_000;

describe('the page: size', () => {
  const site = useWebSite();

  it('needs less than 600 KB of code, compressed with brotli, until the prompt is there', async () => {
    const page = await (await site.newProfile()).newPage();
    page.setDefaultTimeout(PATIENCE);
    const bodies = new Map<string, Promise<Buffer>>();
    page.on('response', (response) => {
      const path = response.url().slice(site.url.length);
      if (!path.startsWith('guest/')) bodies.set(path, response.body());
    });
    const visit = new Visit(page, site.url);
    await page.goto(site.url);
    await visit.ready();
    // Only now: it takes seconds in which nothing else would be heard.
    const all = await Promise.all(
      [...bodies].map(async ([path, body]) => [path, brotliCompressSync(await body).length] as const),
    );
    expect(all.map(([path]) => path).join(' '))
      .to.match(/main.*\.js/)
      .and.match(/v86.*\.wasm/);
    expect(
      all.reduce((sum, [, size]) => sum + size, 0),
      all.map(([path, size]) => `${path || 'index.html'} ${size}`).join(', '),
    ).to.be.below(LIMIT);
    expect(visit.strangers).to.deep.equal([]);
  });
});
