import { lstatSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { conformance, type Features } from '../../../../device/conformance/index.ts';
import { LiveDirectory } from '../../../../harness/node/live/live-directory.ts';

/** After 2446, where ext4's times end. */
const FAR = 253_402_300_799;

/** What Node gives of a directory in which the host can do so much. Of the kernel's calls it has no more. */
function featuresOf(path: string): Features {
  mkdirSync(join(path, 'probe/inside'), { recursive: true });
  const { nlink } = lstatSync(join(path, 'probe'));
  utimesSync(join(path, 'probe'), 1, FAR);
  const { mtimeMs } = statSync(join(path, 'probe'));
  return {
    hardLinks: true,
    symlinks: true,
    modes: true,
    owners: process.getuid?.() === 0,
    times: true,
    farTimes: mtimeMs === FAR * 1000,
    atime: true,
    directoryLinks: nlink === 3,
    byteNames: true,
    directoryCookies: true,
    openUnlinked: true,
    fileHandles: true,
    largeFiles: true,
    fallocate: true,
    renameNoreplace: true,
    timeGranularity: 12,
  };
}

describe('conformance of a live directory', () => {
  const path = mkdtempSync(join(tmpdir(), 'live-'));
  const filesystem = LiveDirectory.open(path, { setIds: true });
  after(() => {
    filesystem.end();
    rmSync(path, { recursive: true });
  });
  for (const { subject, name, run } of conformance(featuresOf(path)).scenarios)
    it(`${subject}: ${name}`, () => run(() => filesystem));
});
