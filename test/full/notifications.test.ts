import { ensureGuestImage } from '../../guest-images/build.ts';
import { defaultKernel } from '../../harness/node/image.ts';
import { useGuest } from '../support/guest.ts';
import { HonestGuest } from '../support/honest-guest.ts';

describe('random changes of the host in a row, each seen at the next system call of the guest', function () {
  this.timeout(1_800_000);
  before(() => ensureGuestImage({ driver: 'fast', kernel: defaultKernel() }));

  for (const [name, count, options] of [
    ['split rings', 1000, {}],
    ['packed rings', 1000, { offer: { packed: true } }],
    ['queues of 8', 200, { queueSize: 8 }],
    ['several request queues', 200, { requestQueues: 3 }],
    ['a stateless share', 200, { stateless: true }],
    ['locks of the host', 200, { locks: 'shared' }],
  ] as const)
    describe(`with ${name}`, () => {
      const guest = useGuest({
        driver: 'fast',
        shares: [
          { tag: 'share', ...options },
          { tag: 'log', cache: 'never' },
        ],
      });

      it(`shows all ${count}`, async () => {
        const honest = await HonestGuest.start(guest.vm);
        await honest.seesEdits(count, 7);
        await honest.stop();
      });
    });
});
