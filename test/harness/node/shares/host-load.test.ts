import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { filesystemOf } from '../../../../device/filesystems/memfs/volume.ts';
import type { Inode } from '../../../../device/filesystems/memory/inode.ts';
import { dumpJson, dumpTar, loadTar, Volume } from '../../../../device/index.ts';
import { walk } from '../../../../device/trees/tree-writer.ts';
import { VmError } from '../../../../harness/machine/errors.ts';
import { type LoadedTree, loadHostTree, loadingHostTree } from '../../../../harness/node/shares/host-tree.ts';
import { writeBack } from '../../../../harness/node/shares/write-back.ts';
import { bytesOf, streamOf } from '../../../support/tar.ts';

const isRoot = process.getuid!() === 0;
const own = { uid: 0, gid: 0 };

/** As a user who is not root, whom permissions bind. */
function asNobody<T>(action: () => T): T {
  if (!isRoot) return action();
  process.setegid!(65534);
  process.seteuid!(65534);
  try {
    return action();
  } finally {
    process.seteuid!(0);
    process.setegid!(0);
  }
}

describe('loading host directories', () => {
  let directory: string;
  const host = (path: string) => join(directory, path);
  const fresh = (options?: { size?: number; inodes?: number }) => {
    const volume = new Volume();
    return { volume, filesystem: filesystemOf(volume, options) };
  };
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'load-'));
    chmodSync(directory, 0o755);
  });
  // Node's own removes nothing that is deeper than paths can be.
  afterEach(() => execFileSync('rm', ['-rf', directory]));

  it('what can’t be read is left out and told, is no conflict later, and nothing of it is made', () => {
    writeFileSync(host('secret'), 'x', { mode: 0 });
    writeFileSync(host('open'), 'x');
    mkdirSync(host('closed'));
    writeFileSync(host('closed/x'), 'x');
    chmodSync(host('closed'), 0);
    for (const path of ['.', 'secret', 'open', 'closed']) if (isRoot) chownSync(host(path), 65534, 65534);
    const { volume, filesystem } = fresh();
    const tree = asNobody(() => loadHostTree(directory, filesystem));
    expect(tree.skipped).to.have.deep.members(
      ['secret', 'closed'].map((path) => ({
        path,
        reason: 'the host does not permit it (EACCES): check the permissions there',
      })),
    );
    expect(volume.readdirSync('/')).to.deep.equal(['open']);
    volume.writeFileSync('/open', 'changed');
    expect(asNobody(() => writeBack(tree, filesystem))).to.deep.equal({ written: ['open'], removed: [], kept: [] });
    volume.writeFileSync('/secret', 'by the guest');
    expect(asNobody(() => writeBack(tree, filesystem)).kept).to.deep.equal([
      { path: 'secret', reason: 'the host has an entry of this name that the share was not loaded with' },
    ]);
    chmodSync(host('closed'), 0o700);
  });

  it('a directory that can’t be read is an error that says so', () => {
    chmodSync(directory, 0);
    if (isRoot) chownSync(directory, 65534, 65534);
    expect(() => asNobody(() => loadHostTree(directory, fresh().filesystem))).to.throw(
      VmError,
      /can't be read \(the host does not permit it \(EACCES\)/,
    );
    chmodSync(directory, 0o755);
  });

  it('more than the share holds is an error that says what did not fit, and what to do', () => {
    writeFileSync(host('large\x1b[2J'), Buffer.alloc(200_000));
    expect(() => loadHostTree(directory, fresh({ size: 100_000 }).filesystem)).to.throw(
      VmError,
      /^large\\x1b\[2J of .* does not fit into the share, which holds .* KiB and .* inodes: share less/,
    );
    writeFileSync(host('another'), '');
    expect(() => loadHostTree(directory, fresh({ inodes: 2 }).filesystem)).to.throw(
      VmError,
      /does not fit.*give it more room/,
    );
  });

  it('into a share that has something: the same as from an archive', async () => {
    mkdirSync(host('dir/sub'), { recursive: true });
    mkdirSync(host('empty-on-the-host'));
    for (const name of ['file', 'dir/a', 'was-a-directory', 'was-full']) writeFileSync(host(name), 'new');
    mkdirSync(host('was-a-file'));
    writeFileSync(host('was-a-file/x'), 'new');
    mkdirSync(host('was-a-link'));
    writeFileSync(host('was-a-link/x'), 'new');
    symlinkSync('file', host('link'));
    const before = () => {
      const volume = Volume.fromJSON({
        '/file': 'old',
        '/dir/kept': 'old',
        '/dir/a': 'old',
        '/was-a-directory': null,
        '/was-full/x': 'old',
        '/was-a-file': 'old',
        '/elsewhere/y': 'old',
        '/link': 'old',
      });
      volume.symlinkSync('elsewhere', '/was-a-link');
      return { volume, filesystem: filesystemOf(volume) };
    };
    const [fromHost, fromTar] = [before(), before()];
    const { skipped } = loadHostTree(directory, fromHost.filesystem);
    const report = await loadTar(
      fromTar.filesystem,
      streamOf(execFileSync('tar', ['-c', '--format=posix', '-C', directory, '.'])),
    );
    const reason = 'a directory of this name is not empty';
    expect(skipped).to.deep.equal([{ path: 'was-full', reason }]);
    expect(report.skipped).to.deep.equal([{ path: './was-full', reason }]);
    const listing = ({ filesystem }: ReturnType<typeof before>) =>
      [...walk(filesystem, filesystem.root)]
        .map(({ path, inode }) => {
          const { mode, mtime } = filesystem.getattr(inode as Inode);
          return `${path} ${mode.toString(8)} ${path.startsWith('elsewhere') || path === 'was-full' || /kept|\/x$/.test(path) ? '' : mtime.sec}`;
        })
        .sort();
    expect(listing(fromHost)).to.deep.equal(listing(fromTar));
    expect(fromHost.volume.toJSON()).to.deep.equal(fromTar.volume.toJSON());
    expect(
      `${fromHost.volume.readFileSync('/dir/kept', 'utf8')}${fromHost.volume.readFileSync('/dir/a', 'utf8')}`,
    ).to.equal('oldnew');
  });

  it('others have their turn: at each entry, if need be, with the counts so far', () => {
    for (let n = 0; n < 20; n++) writeFileSync(host(`file${n}`), 'abc');
    writeFileSync(host('large'), Buffer.alloc(5 << 20, 'x'));
    const counts: number[] = [];
    const steps = loadingHostTree(directory, fresh().filesystem, (files) => counts.push(files))(() => true);
    let breaks = 0;
    let step = steps.next();
    for (; !step.done; step = steps.next()) breaks++;
    expect(breaks).to.be.above(20 + 5);
    expect(counts).to.deep.equal([...Array.from({ length: 21 }, (_, n) => n + 1), 21]);
    expect((step.value as LoadedTree).bytes).to.equal(60 + (5 << 20));
  });

  it('a file that changes while it is read is read again, or left out; one that grows is as it was', () => {
    const size = 3 << 20;
    for (const [name, change] of [
      ['grows', () => appendFileSync(host('grows'), 'x'.repeat(100))],
      ['shrinks', () => truncateSync(host('shrinks'), size - 4096)],
      ['changes', () => writeFileSync(host('changes'), Buffer.alloc(size, String(performance.now())))],
    ] as const) {
      writeFileSync(host(name), Buffer.alloc(size, 'a'));
      const { volume, filesystem } = fresh();
      let turns = 0;
      const steps = loadingHostTree(directory, filesystem)(() => true);
      let step = steps.next();
      for (; !step.done; step = steps.next()) if (name === 'changes' || turns++ === 0) change();
      const { skipped } = step.value as LoadedTree;
      expect(skipped).to.deep.equal(
        name === 'changes' ? [{ path: name, reason: 'it was changed each time that it was read' }] : [],
      );
      expect(volume.existsSync(`/${name}`)).to.equal(name !== 'changes');
      if (name === 'grows') expect(volume.statSync(`/${name}`).size).to.equal(size);
      if (name === 'shrinks') expect(volume.statSync(`/${name}`).size).to.equal(size - 4096);
      unlinkSync(host(name));
    }
  });

  it('holes are kept, and not counted', () => {
    for (const name of ['hole', 'middle']) {
      writeFileSync(host(name), name);
      truncateSync(host(name), 0);
      truncateSync(host(name), 20 << 20);
    }
    execFileSync('dd', [`of=${host('middle')}`, 'bs=1', `seek=${10 << 20}`, 'conv=notrunc', 'status=none'], {
      input: 'in the middle',
    });
    const { filesystem } = fresh({ size: 1 << 20 });
    expect(loadHostTree(directory, filesystem).skipped).to.deep.equal([]);
    expect(filesystem.lookup(filesystem.root, 'hole')).to.include({ size: 20 << 20, blocks: 0 });
    expect(filesystem.lookup(filesystem.root, 'middle')).to.include({ size: 20 << 20, blocks: 8 });
    truncateSync(host('hole'), 2 ** 40);
    expect(loadHostTree(directory, fresh().filesystem).skipped).to.deep.equal([
      { path: 'hole', reason: 'it has 1.0 TiB of holes, and no more than 64.0 GiB are looked through' },
    ]);
  });

  it('links in circles, devices and FIFOs are taken as what they are', function () {
    symlinkSync('loop', host('loop'));
    symlinkSync('.', host('here'));
    symlinkSync('/dev/zero', host('zero-link'));
    execFileSync('mkfifo', [host('pipe')]);
    if (isRoot) execFileSync('mknod', [host('zero'), 'c', '1', '5']);
    const { volume, filesystem } = fresh();
    expect(loadHostTree(directory, filesystem))
      .to.include({ bytes: 0 })
      .and.to.have.property('skipped')
      .that.deep.equals([]);
    expect(volume.readlinkSync('/loop')).to.equal('loop');
    expect(filesystem.getattr(filesystem.lookup(filesystem.root, 'pipe')!).mode & 0o170000).to.equal(0o10000);
    if (isRoot) expect(filesystem.getattr(filesystem.lookup(filesystem.root, 'zero')!)).to.include({ rdev: 0x105 });
  });

  it('trees that are deeper than paths can be: the rest is told', async () => {
    execFileSync('perl', ['-e', 'for (1 .. 300) { mkdir "a" x 19 or die; chdir "a" x 19 or die }'], { cwd: directory });
    const { filesystem } = fresh();
    const { skipped } = loadHostTree(directory, filesystem);
    expect(skipped).to.have.length(1);
    expect(skipped[0]!.path.length).to.be.within(4080, 4200);

    const guest = fresh();
    const tree = loadHostTree(mkdtempSync(join(directory, 'b-')), guest.filesystem);
    let dir: Inode = guest.filesystem.root;
    for (let n = 0; n < 20_000; n++) dir = guest.filesystem.mknod(dir, 'd', { mode: 0o40755, ...own });
    const { stream, report } = dumpTar(guest.filesystem);
    await bytesOf(stream);
    const reason = /longer than 4095 bytes/;
    expect(report.skipped).to.have.length(1);
    expect(report.skipped[0]!.reason).to.match(reason);
    expect((await dumpJson(guest.filesystem)).report.skipped[0]!.reason).to.match(reason);
    const { kept, written } = writeBack(tree, guest.filesystem);
    expect(written.length).to.equal(501);
    expect(kept).to.deep.equal([
      { path: Array(502).fill('d').join('/'), reason: 'it is in more than 500 directories' },
    ]);
  });

  it('what takes the place of a file or a directory after it was listed is not followed, waited for, or taken for it', () => {
    mkdirSync(host('share'));
    writeFileSync(host('outside'), 'SECRET');
    mkdirSync(host('away'));
    writeFileSync(host('away/secret'), 'SECRET');
    const makers: Record<string, (path: string) => void> = {
      link: (path) => symlinkSync('../outside', path),
      up: (path) => symlinkSync('../away', path),
      pipe: (path) => execFileSync('mkfifo', [path]),
      directory: (path) => mkdirSync(path),
      nothing: () => {},
      file: (path) => writeFileSync(path, 'inside'),
    };
    for (const kind of ['file', 'directory']) {
      for (const name of Object.keys(makers))
        for (const copy of ['1', '2']) makers[kind]!(host(`share/${name}${copy}`));
      const { volume, filesystem } = fresh();
      const steps = loadingHostTree(host('share'), filesystem)(() => true);
      steps.next();
      const [first] = Object.keys(volume.toJSON());
      for (const [name, make] of Object.entries(makers)) {
        for (const copy of ['1', '2']) {
          const path = host(`share/${name}${copy}`);
          if (`/${name}${copy}` === first) continue;
          rmSync(path, { recursive: true });
          make(path);
        }
      }
      let step = steps.next();
      while (!step.done) step = steps.next();
      const { skipped } = step.value as LoadedTree;
      const left = Object.keys(makers).filter((name) => name !== kind && !first!.includes(name));
      expect(
        new Set(skipped.map(({ path }) => path.slice(0, -1)).filter((name) => !first!.includes(name))),
      ).to.deep.equal(new Set(left));
      for (const { reason } of skipped)
        expect(reason).to.match(
          /took its place while the directory was read|removed on the host meanwhile|moved or replaced on the host/,
        );
      expect(JSON.stringify(volume.toJSON())).not.to.contain('SECRET');
      rmSync(host('share'), { recursive: true });
      mkdirSync(host('share'));
    }
  });

  it('while another process makes files, links, FIFOs and directories of each other: nothing from outside, and an end', async function () {
    this.timeout(60_000);
    writeFileSync(host('outside'), 'SECRET');
    mkdirSync(host('share/dir'), { recursive: true });
    const program = `
      const fs = require('node:fs'), { execFileSync } = require('node:child_process');
      process.chdir(${JSON.stringify(host('share'))});
      fs.mkdirSync('../spare/dir', { recursive: true });
      fs.writeFileSync('../spare/dir/x', 'inside'); fs.writeFileSync('../spare/file', 'inside'); fs.symlinkSync('../outside', '../spare/link'); fs.symlinkSync('..', '../spare/up');
      execFileSync('mkfifo', ['../spare/pipe']);
      const kinds = ['file', 'link', 'pipe', 'dir', 'up'];
      console.log('ready');
      for (let n = 0; ; n++) { const kind = kinds[n % kinds.length]; const at = ['a', 'b', 'c'][n % 3]; fs.renameSync('../spare/' + kind, at); fs.renameSync(at, '../spare/' + kind); }`;
    const swapper = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await once(swapper.stdout, 'data');
      let seen = 0;
      // The other process may not get its turn for a while.
      for (let round = 0; (round < 400 || seen <= 5) && swapper.exitCode === null; round++) {
        await new Promise((resolve) => setImmediate(resolve));
        const { volume, filesystem } = fresh();
        loadHostTree(host('share'), filesystem);
        for (const [path, content] of Object.entries(volume.toJSON())) {
          if (path !== '/dir') seen++;
          const isLink = volume.lstatSync(path).isSymbolicLink();
          if (!isLink && content !== null) expect(content, path).to.be.oneOf(['inside', '']);
        }
      }
      expect(swapper.exitCode).to.equal(null);
    } finally {
      swapper.kill('SIGKILL');
      await once(swapper, 'close');
    }
    expect(readFileSync(host('outside'), 'utf8')).to.equal('SECRET');
  });
});
