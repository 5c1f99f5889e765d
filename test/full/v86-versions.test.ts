import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FIRST_TESTED, isTested, LAST_TESTED } from '../../device/v86/versions.ts';

const ROOT = join(import.meta.dirname, '../..');
/** The ends of the range, and the first ones with what was added to or left out of the state between them. */
const CHANGED = [FIRST_TESTED, '0.5.409', '0.5.432', LAST_TESTED];
/** All of the range that the registry has, in order. */
const VERSIONS = publishedVersions();

function publishedVersions(): string[] {
  const versions: string[] = JSON.parse(
    execFileSync('npm', ['view', 'v86', 'versions', '--json'], { encoding: 'utf8' }),
  );
  return versions.filter(isTested);
}

/** Each goes on in itself, in the last one, and from the last one; those where something changed in each other too. */
function* ways(): Generator<[from: string, to: string]> {
  for (const from of VERSIONS)
    for (const to of VERSIONS)
      if (from === to || [from, to].includes(LAST_TESTED) || (CHANGED.includes(from) && CHANGED.includes(to)))
        yield [from, to];
}

describe('every version of v86', function () {
  this.timeout(600_000);
  let directory: string;
  /** The command line, on one version. */
  const run = (version: string, ...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [
        '--import',
        'tsx',
        '--import',
        join(ROOT, 'test/support/other-v86.mjs'),
        join(ROOT, 'harness/node/cli.ts'),
        ...args,
      ],
      {
        encoding: 'utf8',
        cwd: ROOT,
        timeout: 240_000,
        env: { ...process.env, V86_PACKAGE: join(directory, version, 'node_modules/v86') },
      },
    );
    return { code: status, stdout, stderr };
  };
  const store = (version: string) => join(directory, `store-${version}`);

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'v86-versions-'));
    for (const version of VERSIONS)
      execFileSync(
        'npm',
        ['install', '--silent', '--no-audit', '--no-fund', '--prefix', join(directory, version), `v86@${version}`],
        { stdio: ['ignore', 'ignore', 'inherit'] },
      );
  });
  after(() => rmSync(directory, { recursive: true }));

  it('is listed: both ends of the range, and those between', () => {
    expect(VERSIONS).to.include.members(CHANGED);
  });

  for (const version of VERSIONS) {
    it(`${version} boots a guest, and freezes it with a file open`, () => {
      const script = 'exec 3>held; echo before >&3; (sleep 1000; echo) >&3 & echo $! > pid';
      expect(
        run(version, 'freeze', '--no-cache', '--store', store(version), '--name', 'base', '--', 'sh', '-c', script),
      ).to.include({ code: 0 });
    });
  }

  for (const [from, to] of ways()) {
    it(`a snapshot of ${from} goes on in ${to}`, () => {
      const script = 'ls -l /proc/$(cat pid)/fd/3 | grep -o "[a-z/]*held"; cat held; awk "BEGIN { print 1.5 * 3 }"';
      expect(run(to, 'restore', '--store', store(from), 'base', '--', 'sh', '-c', script)).to.include({
        code: 0,
        stdout: '/mnt/share/held\nbefore\n4.5\n',
      });
    });
  }
});
