import { ensureGuestImage } from '../../guest-images/build.ts';
import { useGuest } from '../support/guest.ts';
import { HonestGuest } from '../support/honest-guest.ts';

describe('1,000 random changes of the host in a row, each seen at the next system call of the guest', function () {
  this.timeout(1_800_000);
  before(() => ensureGuestImage({ driver: 'fast' }));

  for (const [name, options] of Object.entries({
    'split rings': {},
    'packed rings': { offer: { packed: true } },
    'queues of 8': { queueSize: 8 },
    'several request queues': { requestQueues: 3 },
    'a stateless share': { stateless: true },
    'locks of the host': { locks: 'shared' as const },
  }))
    describe(`with ${name}`, () => {
      const guest = useGuest({
        driver: 'fast',
        shares: [
          { tag: 'share', ...options },
          { tag: 'log', cache: 'never' },
        ],
      });

      it('shows all of them', async () => {
        const honest = await HonestGuest.start(guest.vm);
        await honest.seesEdits(1000, 7);
        await honest.stop();
      });
    });
});
