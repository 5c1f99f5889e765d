import { useGuest } from '../support/guest.ts';
import { declareScenarios, runScenarios } from '../support/posix-guest.ts';

describe('POSIX scenarios in the guest', function () {
  this.timeout(300_000);
  const guest = useGuest();

  for (const directory of ['/mnt/share', '/tmpfs']) {
    describe(directory, () => {
      let outcomes: string[][];
      before(async () => {
        if (directory === '/tmpfs') await guest.vm.exec('mkdir /tmpfs && mount -t tmpfs tmpfs /tmpfs');
        outcomes = await runScenarios(guest.vm, directory);
      });
      declareScenarios(
        () => outcomes,
        ({ tmpfs }) => directory !== '/tmpfs' || !tmpfs,
      );
    });
  }
});
