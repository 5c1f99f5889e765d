import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { needsOf } from '../../device/conformance/features.ts';
import { LiveDirectory, type LiveDirectoryOptions } from '../../harness/node/live/live-directory.ts';
import type { ShareOptions } from '../../harness/node/vm-options.ts';
import { useGuest } from '../support/guest.ts';
import { attackLive } from '../support/live-attack.ts';
import { declareLiveConformance } from '../support/live-conformance.ts';
import { declareScenarios, runScenarios } from '../support/posix-guest.ts';

describe('a live directory and a random guest, for long', () => {
  let root: string;
  beforeEach(() => (root = realpathSync(mkdtempSync(join(tmpdir(), 'live-attack-')))));
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  for (const seed of [11, 12, 13, 14])
    it(`the host swaps before each operation, 2,500 rounds of seed ${seed}`, () => {
      expect(attackLive(root, 2500, seed).swaps).to.be.above(1200);
    });

  it('the host swaps in a process of its own, at any time', async () => {
    mkdirSync(join(root, 'share'));
    const program = new URL('../support/write-back-swapper.ts', import.meta.url).pathname;
    const swapper = spawn(process.execPath, ['--import', 'tsx', program, root, 'without-hard-links'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await new Promise((ready) => swapper.stdout.once('data', ready));
      expect(attackLive(root, 5000, 15, { isSwapping: false }).reads).to.be.above(100);
      expect(swapper.exitCode, 'it swaps to the end').to.equal(null);
    } finally {
      swapper.kill('SIGKILL');
      await new Promise((ended) => swapper.once('close', ended));
    }
  });
});

declareLiveConformance('by few descriptors, and later', { io: 'later', maxDescriptors: 64 });

const VARIANTS: (Omit<ShareOptions, 'tag'> & { live?: never; files?: LiveDirectoryOptions })[] = [
  {},
  { cache: 'never', files: { io: 'later' } },
  { stateless: true, files: { maxDescriptors: 64 } },
];

/** What Node can't do: five causes, of docs/live-directories.md. */
const LACKING = {
  specialFiles: false,
  renameExchange: false,
  renameWhiteout: false,
  tmpfile: false,
  nanoseconds: false,
  // The host's own limit, where that is ext4.
  farTimes: false,
  xattrs: false,
  trustedXattrs: false,
  holes: false,
  fallocate: false,
  fallocateKeepSize: false,
  punchHole: false,
  zeroRange: false,
  collapseRange: false,
  insertRange: false,
};

for (const { files, ...options } of VARIANTS) {
  describe(`POSIX scenarios on a live share with ${JSON.stringify({ ...options, ...files })}`, function () {
    this.timeout(300_000);
    const directory = mkdtempSync(join(tmpdir(), 'live-posix-'));
    const filesystem = LiveDirectory.open(directory, { setIds: true, ...files });
    const guest = useGuest({ shares: [{ tag: 'share', filesystem, ...options }] });
    let outcomes: string[][];
    before(async () => {
      outcomes = await runScenarios(guest.vm, '/mnt/share');
    });
    after(() => {
      filesystem.end();
      rmSync(directory, { recursive: true });
    });
    declareScenarios(
      () => outcomes,
      (scenario) =>
        !needsOf(scenario).some((need) => need in LACKING) &&
        // Linux 6.1 has no shared mappings of files without a cache.
        !(options.cache === 'never' && scenario.steps.some(({ text }) => /^map . shared/.test(text))),
    );
  });
}
