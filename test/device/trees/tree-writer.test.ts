import { expect } from 'chai';
import { MemoryFileSystem } from '../../../device/index.ts';
import { removeTree } from '../../../device/trees/tree-writer.ts';

describe('what puts trees into filesystems', () => {
  it('takes away a directory with more entries than a call can have arguments', () => {
    const owner = { uid: 0, gid: 0 };
    const filesystem = new MemoryFileSystem();
    const dir = filesystem.mkdir(filesystem.root, 'large', { mode: 0o755, ...owner });
    for (let n = 0; n < 150_000; n++) filesystem.mknod(dir, `${n}`, { mode: 0o100644, ...owner });
    removeTree(filesystem, filesystem.root, 'large');
    expect(filesystem.entries(filesystem.root)).to.deep.equal([]);
  });
});
