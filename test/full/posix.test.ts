import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { useGuest } from '../support/guest.ts';
import { declareScenarios, runScenarios } from '../support/posix-guest.ts';

const VARIANTS: Omit<ShareOptions, 'tag'>[] = [
  { cache: 'never', locks: 'shared' },
  { cache: 'always' },
  { writeback: true },
  { stateless: true },
  { posixAcl: true },
  { offer: { packed: true }, queueSize: 8 },
];

for (const options of VARIANTS) {
  describe(`POSIX scenarios on a share with ${JSON.stringify(options)}`, function () {
    this.timeout(300_000);
    const guest = useGuest({ shares: [{ tag: 'share', ...options }] });
    let outcomes: string[][];
    before(async () => {
      outcomes = await runScenarios(guest.vm, '/mnt/share');
    });
    declareScenarios(
      () => outcomes,
      ({ steps, name }) => {
        // Linux 6.1 has no shared mappings of files without a cache.
        if (options.cache === 'never') return !steps.some(({ text }) => /^map . shared/.test(text));
        // What the guest has not written back is a hole here, and whether atime is older than mtime depends on two clocks.
        if (options.writeback)
          return !(
            name.startsWith('reading moves the access time') ||
            steps.some(({ text, expected }) => text.startsWith('seek') || expected.includes('blocks='))
          );
        return !options.posixAcl || !name.startsWith('ACLs are not');
      },
    );
  });
}
