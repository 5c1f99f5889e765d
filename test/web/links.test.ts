import { expect } from 'chai';
import { makeToken } from '../../device/index.ts';
import { beginningOfPage, forgetFrom, linkTo, startOver } from '../../web/embed/links.ts';

const PAGE = 'https://example.org/page/';

describe('the page’s address', () => {
  const globals = ['location', 'history', 'document'] as const;
  const before = globals.map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
  let at: URL;
  let state: unknown;

  const open = (href: string) => {
    at = new URL(href, PAGE);
    state = null;
  };

  beforeEach(() => {
    open('');
    const values = {
      document: { baseURI: PAGE },
      history: {
        get state() {
          return state;
        },
        replaceState(next: unknown, _: string, url: string | URL) {
          state = structuredClone(next);
          at = new URL(url, at);
        },
      },
    };
    for (const [name, value] of Object.entries(values))
      Object.defineProperty(globalThis, name, { value, configurable: true });
    Object.defineProperty(globalThis, 'location', {
      get: () => Object.assign(new URL(at), { reload() {} }),
      configurable: true,
    });
  });

  after(() => {
    for (const [index, name] of globals.entries()) {
      const descriptor = before[index];
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
  });

  it('may name another tab, until its machine is here', () => {
    const code = makeToken();
    open(linkTo(code));
    expect(beginningOfPage()).to.deep.equal({ from: code });
    forgetFrom();
    expect(at.href).to.equal(PAGE);
    expect(beginningOfPage()).to.deep.equal({});
  });

  for (const address of ['wss://evil.example/#TOKEN', 'WS://evil.example/#TOKEN', ' wss://evil.example/#TOKEN'])
    it(`may not name a server: ${JSON.stringify(address)}`, () => {
      open(`#from=${encodeURIComponent(address)}`);
      const { problem, ...rest } = beginningOfPage();
      expect(problem).to.match(/this link names a machine on a server/);
      expect(rest).to.deep.equal({});
      forgetFrom();
      expect(at.href).to.equal(PAGE);
    });

  it('keeps an address that the visitor has typed over one reload', () => {
    const address = `ws://localhost:7000#${makeToken()}`;
    open('?guest=busybox#from=used');
    startOver(address);
    expect(at.href).to.equal(`${PAGE}?guest=busybox`);
    expect(beginningOfPage()).to.deep.equal({ from: address });
    forgetFrom();
    expect(beginningOfPage()).to.deep.equal({});
    startOver(address);
    startOver();
    expect(beginningOfPage()).to.deep.equal({});
  });

  it('may name a snapshot on the page’s own server', () => {
    open('?snapshot=moment.layer');
    expect(beginningOfPage()).to.deep.equal({ snapshot: 'moment.layer', isOfLink: true });
    for (const file of ['https://evil.example/moment.layer', 'https://']) {
      open(`?snapshot=${encodeURIComponent(file)}`);
      expect(beginningOfPage()).to.have.all.keys('problem');
    }
  });
});
