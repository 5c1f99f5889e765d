import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { NotYet } from '../../../../device/fs/not-yet.ts';
import { MemoryFileSystem } from '../../../../device/index.ts';
import { loadHostTree } from '../../../../harness/node/shares/host-tree.ts';
import { inSlices } from '../../../../harness/node/shares/slices.ts';
import { writeBack, writingBack } from '../../../../harness/node/shares/write-back.ts';
import { ChunkOrigin, empty } from '../../../support/chunk-origin.ts';

const NAMES = ['a', 'b', 'dir/c', 'dir/d'];
const contentOf = (name: string) => Buffer.alloc(300_000, name.charCodeAt(name.length - 1));

describe('write-back of content that is elsewhere', () => {
  let place: string;
  beforeEach(() => {
    place = mkdtempSync(join(tmpdir(), 'write-back-absent-'));
    mkdirSync(join(place, 'dir'));
    for (const name of NAMES) writeFileSync(join(place, name), contentOf(name));
  });
  afterEach(() => rmSync(place, { recursive: true, force: true }));

  /** All of it is elsewhere, and looks changed; there is room for two chunks. */
  function start(origin = new ChunkOrigin()) {
    const filesystem = new MemoryFileSystem({ origin, maxContent: 2 << 16 });
    const tree = loadHostTree(place, filesystem);
    empty(filesystem, origin);
    for (const inode of filesystem.inodes()) if (inode.isRegular) filesystem.setattr(inode, { mode: 0o600 });
    for (const name of NAMES) writeFileSync(join(place, name), '', { flag: 'r+' });
    return { filesystem, tree, origin };
  }
  const found = () => readdirSync(place, { recursive: true }).sort();

  it('fetches it first', async () => {
    const { filesystem, tree, origin } = start();
    const { written, kept } = await inSlices(writingBack(tree, filesystem));
    expect(kept).to.deep.equal([]);
    expect(written).to.have.members(NAMES);
    for (const name of NAMES) expect(readFileSync(join(place, name)).equals(contentOf(name)), name).to.equal(true);
    expect(origin.most).to.be.at.most(20 << 16);
    expect((await inSlices(writingBack(tree, filesystem))).written).to.deep.equal([]);
  });

  it('leaves what can’t be had as it was, says so, and writes the rest', async () => {
    const { filesystem, tree, origin } = start();
    const before = found();
    let failures = 0;
    origin.fails = () => failures++ === 0;
    const { written, kept } = await inSlices(writingBack(tree, filesystem));
    expect(kept).to.deep.equal([{ path: 'a', reason: "its content can't be had: EIO" }]);
    expect(written).to.have.members(NAMES.slice(1));
    expect(found()).to.deep.equal(before);
    expect((await inSlices(writingBack(tree, filesystem))).written).to.deep.equal(['a']);
  });

  it('ends when it is told to while it waits, and tidies up', async () => {
    const { filesystem, tree, origin } = start(new ChunkOrigin());
    const before = found();
    const control = new AbortController();
    origin.schedule = () => setImmediate(() => control.abort(new Error('enough')));
    const ended = await inSlices(writingBack(tree, filesystem), control.signal).then(String, String);
    expect(ended).to.equal('Error: enough');
    expect(found()).to.deep.equal(before);
    expect(readFileSync(join(place, 'a')).equals(contentOf('a'))).to.equal(true);
  });

  it('that can’t wait says that it is not here, and tidies up', () => {
    const { filesystem, tree } = start();
    const before = found();
    expect(() => writeBack(tree, filesystem)).to.throw(NotYet);
    expect(found()).to.deep.equal(before);
  });
});
