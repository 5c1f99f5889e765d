import { expect } from 'chai';
import { NetworkWatch } from '../../web/page/network-watch.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

describe('the page: a program that has found no network', () => {
  for (const [text, isMissed] of [
    ["wget: bad address 'example.com'", true],
    ['-bash: wget: command not found', true],
    ['sh: 1: wget: not found', true],
    ['curl: (6) Could not resolve host: example.com', true],
    ["Err:1 http://deb.debian.org bookworm InRelease\r\n  Temporary failure resolving 'deb.debian.org'", true],
    ['E: Unable to locate package wget', true],
    ['socket.gaierror: [Errno -3] Temporary failure in name resolution', true],
    ['ping: sendto: Network is unreachable', true],
    ['-bash: wgett: command not found', false],
    ['-bash: emacs: command not found', false],
    ['wget --help', false],
  ] as const)
    it(`${isMissed ? 'is seen in' : 'is not seen in'} “${text}”, in one piece or two`, () => {
      expect(new NetworkWatch().isMissedIn(bytes(text))).to.equal(isMissed);
      const watch = new NetworkWatch();
      const half = text.length >> 1;
      expect(watch.isMissedIn(bytes(text.slice(0, half)))).to.equal(false);
      expect(watch.isMissedIn(bytes(text.slice(half)))).to.equal(isMissed);
    });
});
