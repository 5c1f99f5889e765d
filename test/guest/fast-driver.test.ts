import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { ensureGuestImage } from '../../guest-images/build.ts';
import { defaultKernel } from '../../harness/node/image.ts';
import { useGuest } from '../support/guest.ts';

const MIB = 1 << 20;
/** Bytes. */
const PAGE = 4096;

describe('large requests of the fast driver', function () {
  this.timeout(600_000);
  const machine = { driver: 'fast', kernel: defaultKernel() } as const;
  before(() => ensureGuestImage(machine));
  const guest = useGuest({ ...machine, shares: [{ tag: 'share', cache: 'never' }] });

  it('have one buffer for pages that lie side by side, and the bytes in order', async () => {
    const { device, fs } = guest.vm.share('share');
    const content = Buffer.alloc(9 * MIB + 12_345);
    for (let at = 0; at < content.length - 4; at += 4) content.writeUInt32LE(at, at);
    fs.writeFileSync('/content', content);
    const hash = createHash('md5').update(content).digest('hex');
    let [longest, adjoining] = [0, 0];
    const end = device.transport.onTrace((event) => {
      if (event.type !== 'chain') return;
      for (const [n, { address, length, writable }] of event.buffers.entries()) {
        longest = Math.max(longest, length);
        const next = event.buffers[n + 1];
        if (next && next.writable === writable && next.address === address + length && length >= PAGE) adjoining++;
      }
    });
    // Much at once finds room that was never used, where pages lie side by side.
    for (const size of [8 * MIB, MIB, 1_000_003, 5 * PAGE, PAGE + 1]) {
      await guest.sh(`dd if=content of=copy bs=${size} 2> /dev/null`);
      expect(createHash('md5').update(fs.readFileSync('/copy')).digest('hex'), `${size} bytes at once`).to.equal(hash);
      fs.unlinkSync('/copy');
    }
    end();
    expect(adjoining, 'buffers that lie side by side').to.equal(0);
    expect(longest).to.be.greaterThan(8 * PAGE);
  });
});
