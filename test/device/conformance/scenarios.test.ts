import { conformance, FEATURES, type Features } from '../../../device/conformance/index.ts';
import { MemoryFileSystem } from '../../../device/filesystems/memory/filesystem.ts';
import type { FileSystem } from '../../../device/fs/filesystem.ts';
import { lateFileSystem, type Pending } from '../../support/late-filesystem.ts';

const ALL: Features = Object.fromEntries(FEATURES.map((feature) => [feature, true]));
const small = () => new MemoryFileSystem({ size: 4 << 20 });

/** In another order, and without timers: there are some hundred thousand requests. */
let isEven = false;
const soon = ({ perform }: Pending) => {
  isEven = !isEven;
  setImmediate(isEven ? perform : () => setImmediate(perform));
};

const FILESYSTEMS: [name: string, features: Features, make: () => FileSystem][] = [
  ['in memory', ALL, small],
  ['that answers later', ALL, () => lateFileSystem(small(), { schedule: soon })],
];

for (const [name, features, make] of FILESYSTEMS)
  describe(`conformance of a filesystem ${name}`, () => {
    const { scenarios } = conformance(features);
    for (const { subject, name, run } of scenarios) it(`${subject}: ${name}`, () => run(make));
  });
