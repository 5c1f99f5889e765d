import { brotliCompressSync } from 'node:zlib';
import { expect } from 'chai';
import { PATIENCE, useWebSite, Visit } from './support.ts';

/** Bytes: of all code, of scripts, and of what there is before anything is painted. */
const [LIMIT, SCRIPTS, PAINT] = [580_000, 370_000, 150_000];

describe('the page: size', () => {
  const site = useWebSite();

  it('needs less than 150 KB of code, compressed with brotli, until it paints, and 580 KB until the prompt is there', async function () {
    // Compressing takes seconds, where nobody else works.
    this.timeout(300_000);
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
    const sizeOf = (pattern: RegExp) =>
      all.filter(([path]) => pattern.test(path)).reduce((sum, [, size]) => sum + size, 0);
    expect(sizeOf(/\.js$/), 'scripts').to.be.below(SCRIPTS);
    expect(sizeOf(/^(index\.html|main.*\.js)?$/), 'the first paint').to.be.below(PAINT);
    expect(visit.strangers).to.deep.equal([]);
  });
});
