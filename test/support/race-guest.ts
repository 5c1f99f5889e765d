import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { MemoryFileSystem, volumeOf } from '../../device/index.ts';
import { defaultDriver, defaultKernel } from '../../harness/node/image.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { useGuest } from './guest.ts';
import { lateFileSystem } from './late-filesystem.ts';

/** Files whose filesystem answers later, and in another order. */
const LATE = new MemoryFileSystem();

const SHARES: (Omit<ShareOptions, 'tag'> & { tag: string })[] = [
  // What the guest remembers is taken back there; elsewhere it is the next one.
  ...(defaultDriver(defaultKernel()) === 'fast' ? [{ tag: 'default' }] : []),
  { tag: 'auto', cache: 'auto' },
  { tag: 'never', cache: 'never' },
  { tag: 'always', cache: 'always' },
  { tag: 'writeback', writeback: true },
  { tag: 'stateless', stateless: true },
  { tag: 'late', filesystem: lateFileSystem(LATE, { atOnceOneIn: 3 }) },
];
/** What guest-images/src/race.c does in a scene, with shared mappings and without. */
const KINDS = {
  words: ['write', 'append', 'read', 'ftruncate', 'truncate', 'o-trunc', 'allocate', 'punch', 'zero', 'sizes', 'sync'],
  records: ['append', 'read', 'ftruncate', 'truncate', 'o-trunc', 'allocate', 'punch', 'sizes'],
  turns: [
    'write',
    'append',
    'read',
    'ftruncate',
    'truncate',
    'o-trunc',
    'allocate',
    'punch',
    'zero',
    'copy',
    'sizes',
    'sync',
  ],
};
const MAPPED = { words: ['mapped-write', 'mapped-read'], records: [], turns: ['mapped-write', 'mapped-read'] };

/** Declares the races of several processes for one file, on shares of each cache mode and on tmpfs. `rounds`: for each scene. */
export function declareRaces(rounds: number, seed: number): void {
  const guest = useGuest({ memory: 256, shares: SHARES });
  before(() => guest.sh('mkdir /tmpfs && mount -t tmpfs tmpfs /tmpfs'));

  for (const tag of ['tmpfs', ...SHARES.map(({ tag }) => tag)]) {
    for (const scene of ['words', 'records', 'turns'] as const) {
      it(`${scene}, on ${tag}`, async () => {
        const directory = tag === 'tmpfs' ? '/tmpfs' : `/mnt/${tag}`;
        // Linux 6.1 has no shared mappings of files without a cache.
        const mayMap = tag !== 'never';
        const { stdout, stderr, code } = await guest.vm.exec(
          ['race', directory, scene, String(rounds), String(seed), ...(mayMap ? [] : ['nomap'])],
          { timeoutMs: 60_000 + rounds * 10_000 },
        );
        expect(code, `seed ${seed}: ${stderr}`).to.equal(0);
        const counts = new Map(
          stdout
            .trim()
            .split('\n')
            .map((line) => line.split(' ') as [string, string]),
        );
        for (const kind of [...KINDS[scene], ...(mayMap ? MAPPED[scene] : [])]) {
          if (tag !== 'tmpfs' || kind !== 'zero') expect(Number(counts.get(kind)), kind).to.be.above(0);
        }
        if (tag === 'tmpfs') return;
        const inGuest = await guest.sh(`sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum < ${directory}/${scene}`);
        expect(inGuest.slice(0, 64)).to.equal(
          createHash('sha256')
            .update(volumeOf(tag === 'late' ? LATE : guest.vm.share(tag).files).readFileSync(`/${scene}`) as Buffer)
            .digest('hex'),
        );
      });
    }
  }
}
