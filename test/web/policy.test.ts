import { expect } from 'chai';
import { useWebSite } from './support.ts';

/** In a page that hears of violations: code of somebody else, in all the ways in which it may come in. */
const INJECT = `(async () => {
  globalThis.ran = [];
  globalThis.violations = [];
  document.addEventListener('securitypolicyviolation', ({ effectiveDirective }) => violations.push(effectiveDirective));
  const script = document.createElement('script');
  script.textContent = 'ran.push("inline")';
  document.body.append(script);
  const holder = document.createElement('div');
  holder.innerHTML = '<img src="data:," onerror="ran.push(&quot;handler&quot;)"><a href="javascript:ran.push(1)">x</a>';
  document.body.append(holder);
  holder.querySelector('a').click();
  const other = document.createElement('script');
  other.src = 'data:text/javascript,ran.push("data")';
  document.body.append(other);
  // What a debugger evaluates may evaluate more, but not later.
  await new Promise((resolve) => setTimeout(() => {
    try { eval('ran.push("eval")'); } catch {}
    try { new Function('ran.push("function")')(); } catch {}
    resolve();
  }));
  try { setTimeout('ran.push("timer")'); } catch {}
  await fetch('https://example.invalid/').catch(() => {});
  for (const end = Date.now() + 5000; !violations.includes('connect-src') && Date.now() < end;) await new Promise((resolve) => setTimeout(resolve, 20));
  return JSON.stringify([ran, [...new Set(violations.map((directive) => directive.replace(/-(elem|attr)$/, '')))].sort()]);
})()`;

/** What browsers say of it. */
const POLICY = /Content.Security.Policy/i;

describe('the page: policy', function () {
  const site = useWebSite();

  // That the page itself violates nothing is what every test looks for, in the console.
  it('keeps code of others out in Chromium', async () => {
    const visit = await site.open();
    await visit.ready();
    expect(visit.complaints).to.deep.equal([]);
    expect(JSON.parse((await visit.page.evaluate(INJECT)) as string)).to.deep.equal([
      [],
      ['connect-src', 'script-src'],
    ]);
    expect(visit.complaints.length).to.be.above(4);
    visit.forgive();
    visit.strangers.length = 0;
  });

  it('keeps code of others out in Firefox, where the page has no complaints either', async () => {
    const visit = await site.open({ browser: 'Firefox' });
    await visit.ready();
    expect(visit.complaints).to.deep.equal([]);
    visit.expected = POLICY;
    expect(JSON.parse((await visit.page.evaluate(INJECT)) as string)).to.deep.equal([
      [],
      ['connect-src', 'script-src'],
    ]);
    visit.strangers.length = 0;
  });

  it('is in the page itself, whatever server it comes from', async () => {
    // As a server that sends no such header does.
    site.intercept = (_, response, next) => {
      const { setHeader } = response;
      response.setHeader = (name, value) => (/policy/i.test(name) ? response : setHeader.call(response, name, value));
      next();
    };
    const visit = await site.open();
    await visit.ready();
    visit.expected = POLICY;
    expect(JSON.parse((await visit.page.evaluate(INJECT)) as string)).to.deep.equal([
      [],
      ['connect-src', 'script-src'],
    ]);
    visit.strangers.length = 0;
  });
});
