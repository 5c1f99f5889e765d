import { conformance, FEATURES, type Features } from '../../../device/conformance/index.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { FileSystem } from '../../../device/fs/filesystem.ts';
import { MAX_CONTENT_CHUNK } from '../../../device/fs/origin.ts';
import { ChunkOrigin } from '../../support/chunk-origin.ts';
import { lateFileSystem, type Pending } from '../../support/late-filesystem.ts';

const ALL: Features = Object.fromEntries(FEATURES.map((feature) => [feature, true]));
const small = () => new MemoryFileSystem({ size: 4 << 20 });

/** In another order, and without timers: there are some hundred thousand requests. */
let isEven = false;
const soon = ({ perform }: Pending) => {
  isEven = !isEven;
  setImmediate(isEven ? perform : () => setImmediate(perform));
};

/** What was written is elsewhere right after that, and there is room for one chunk. */
function alwaysElsewhere(): FileSystem {
  const origin = new ChunkOrigin();
  const filesystem = new MemoryFileSystem({ size: 4 << 20, origin, maxContent: MAX_CONTENT_CHUNK });
  const leave = ({ ino }: { ino: number }) => {
    const content = filesystem.inode(ino)?.written;
    const chunks = [...(content?.chunks() ?? [])].map((chunk) => {
      const stored = chunk.stored();
      return {
        at: chunk.at,
        map: chunk.map,
        bytes: stored instanceof Uint8Array && stored.length ? origin.take(stored) : stored,
      };
    });
    content?.load(content.size, chunks);
  };
  filesystem.watch({
    entryChanged: () => {},
    inodeChanged: (inode, isContent) => isContent && queueMicrotask(() => leave(inode)),
    everythingChanged: () => {},
  });
  return filesystem;
}

const FILESYSTEMS: [name: string, features: Features, make: () => FileSystem][] = [
  ['in memory', ALL, small],
  ['whose content is always elsewhere', ALL, alwaysElsewhere],
  ['that answers later', ALL, () => lateFileSystem(small(), { schedule: soon })],
];

for (const [name, features, make] of FILESYSTEMS)
  describe(`conformance of a filesystem ${name}`, () => {
    const { scenarios } = conformance(features);
    for (const { subject, name, run } of scenarios) it(`${subject}: ${name}`, () => run(make));
  });
