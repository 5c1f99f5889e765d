import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'mocha';
import { conformance, type Features } from '../../device/conformance/index.ts';
import { LiveDirectory, type LiveDirectoryOptions } from '../../harness/node/live/live-directory.ts';

const directory = mkdtempSync(join(tmpdir(), 'live-conformance-'));

/** What Node can do on Linux, and what the host's own file system does here. docs/live-directories.md tells why the rest is missing. */
const FEATURES: Features = {
  hardLinks: true,
  symlinks: true,
  modes: true,
  owners: process.getuid!() === 0,
  times: true,
  byteNames: true,
  directoryCookies: true,
  openUnlinked: true,
  fileHandles: true,
  largeFiles: true,
  fallocate: true,
  renameNoreplace: true,
  ...featuresOfHost(),
  timeGranularity: 10,
};

function featuresOfHost(): Features {
  const [dir, file] = [join(directory, 'probe'), join(directory, 'probe', 'file')];
  mkdirSync(join(dir, 'inner'), { recursive: true });
  writeFileSync(file, 'x');
  utimesSync(file, 1, 2);
  readFileSync(file);
  const atime = lstatSync(file).atimeMs > 1000;
  utimesSync(file, '-3000000000', 20_000_000_000);
  const farTimes = lstatSync(file).mtimeMs === 2e13;
  return { atime, farTimes, directoryLinks: lstatSync(dir).nlink === 3 };
}

after(() => rmSync(directory, { recursive: true, force: true }));

/** Declares the conformance suite on a live directory. `lacks`: what is not there in this way. */
export function declareLiveConformance(
  way: string,
  options: LiveDirectoryOptions,
  lacks: (keyof Features)[] = [],
): void {
  describe(`the conformance suite on a live directory, ${way}`, () => {
    const features = { ...FEATURES, ...Object.fromEntries(lacks.map((feature) => [feature, false])) };
    let live: LiveDirectory;
    before(() => (live = LiveDirectory.open(directory, { setIds: true, ...options })));
    after(() => live.end());
    for (const { subject, name, run } of conformance(features).scenarios)
      it(`${subject}: ${name}`, () => run(() => live));
  });
}
