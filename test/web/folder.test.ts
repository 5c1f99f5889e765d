import { expect } from 'chai';
import { filesystemOf, volumeOf } from '../../device/filesystems/memfs/volume.ts';
import { S_IFREG } from '../../device/fs/constants.ts';
import { loadTar, MemoryFileSystem, type VirtioFsDevice, Volume } from '../../device/index.ts';
import type { DownloadProgress } from '../../web/protocol/folder.ts';
import { Folder } from '../../web/worker/folder.ts';
import { ChunkOrigin, empty } from '../support/chunk-origin.ts';

/** A folder as one guest has it. */
function folderOf(filesystem: MemoryFileSystem, onChange = () => {}): Folder {
  return new Folder({ filesystem } as unknown as VirtioFsDevice, () => [], onChange);
}

describe('the worker’s shared folder', () => {
  /** A folder as `count` guests have it. */
  function open(count: number): { filesystem: MemoryFileSystem; folders: Folder[]; told: number[] } {
    const filesystem = filesystemOf(Volume.fromJSON({ '/f': 'text' }));
    const told = Array.from({ length: count }, () => 0);
    const folders = told.map((_, n) => folderOf(filesystem, () => told[n]!++));
    return { filesystem, folders, told };
  }
  const text = (filesystem: MemoryFileSystem, path: string) => volumeOf(filesystem).readFileSync(path, 'utf8');
  const afterNotice = () => new Promise((resolve) => setTimeout(resolve, 150));

  it('is watched by those who have it, in whatever order they come and go', () => {
    const { filesystem, folders } = open(0);
    const before = filesystem.observerCount;
    for (let round = 0; round < 20; round++) {
      const more = Array.from({ length: 4 }, () => folderOf(filesystem));
      expect(filesystem.observerCount).to.equal(before + 4);
      for (const n of [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [1, 3, 0, 2],
      ][round % 3]!)
        more[n]!.close();
      expect(filesystem.observerCount).to.equal(before);
    }
    expect(folders).to.deep.equal([]);
  });

  it('tells everyone who has it, and nobody who had it, of changes through guests and host alike', async () => {
    const { filesystem, folders, told } = open(3);
    const heard: string[] = [];
    volumeOf(filesystem).watch('/', (_, name) => void heard.push(String(name)));
    folders[1]!.create('/made', 'file');
    folders[0]!.close();
    await afterNotice();
    expect(told).to.deep.equal([0, 1, 1]);
    volumeOf(filesystem).writeFileSync('/by-host', '');
    folders[2]!.remove('/f');
    await afterNotice();
    expect(told).to.deep.equal([0, 2, 2]);
    expect(heard).to.include.members(['made', 'f']);
    folders[1]!.close();
    folders[1]!.close();
    folders[2]!.create('/more', 'directory');
    await afterNotice();
    expect(told).to.deep.equal([0, 2, 3]);
  });

  describe('writes over nothing that has changed since somebody looked', () => {
    const file = (path: string, content: string) => ({ path, content: new Blob([content]) });

    it('files that are put there', async () => {
      const {
        filesystem,
        folders: [folder],
      } = open(1);
      volumeOf(filesystem).writeFileSync('/g', 'old');
      const versions = folder!.existing('/', ['f', 'g', 'new']);
      expect([...versions.keys()]).to.deep.equal(['f', 'g']);
      volumeOf(filesystem).writeFileSync('/g', 'the guest’s');
      volumeOf(filesystem).writeFileSync('/new', 'the guest’s');
      expect(
        await folder!.put(
          '/',
          [file('f', 'mine'), file('g', 'mine'), file('new', 'mine'), file('newer', 'mine')],
          versions,
        ),
      ).to.deep.equal(['g', 'new']);
      expect(['f', 'g', 'new', 'newer'].map((name) => text(filesystem, `/${name}`))).to.deep.equal([
        'mine',
        'the guest’s',
        'the guest’s',
        'mine',
      ]);
      expect(
        await folder!.put('/', [file('g', 'mine'), file('new', 'mine')], folder!.existing('/', ['g', 'new'])),
      ).to.deep.equal([]);
      expect(await folder!.put('/', [file('g', 'whatever is there')])).to.deep.equal([]);
      volumeOf(filesystem).unlinkSync('/g');
      expect(await folder!.put('/', [file('g', 'mine')], folder!.existing('/', ['f']))).to.deep.equal([]);
    });

    it('texts that are saved', async () => {
      const {
        filesystem,
        folders: [folder],
      } = open(1);
      const mine = new TextEncoder().encode('mine');
      const { version } = await folder!.read('/f', 100);
      volumeOf(filesystem).writeFileSync('/f', 'the guest’s');
      expect(await folder!.save('/f', mine, version)).to.equal(undefined);
      // For somebody who saw it go.
      expect(await folder!.save('/f', mine, '')).to.equal(undefined);
      expect(text(filesystem, '/f')).to.equal('the guest’s');
      volumeOf(filesystem).unlinkSync('/f');
      expect(await folder!.save('/f', mine, version)).to.equal(undefined);
      expect(await folder!.save('/f', mine, '')).to.be.a('string');
      expect(text(filesystem, '/f')).to.equal('mine');
    });
  });

  it('reads and saves what is elsewhere', async () => {
    const origin = new ChunkOrigin();
    const filesystem = new MemoryFileSystem({ origin });
    const folder = folderOf(filesystem);
    await folder.save('/f', new Uint8Array(100_000).fill(1));
    await folder.save('/g', new Uint8Array(100).fill(2));
    empty(filesystem, origin);
    const { bytes, version } = await folder.read('/f', 70_000);
    expect([bytes.length, bytes.every((byte) => byte === 1)]).to.deep.equal([70_000, true]);
    expect(await folder.save('/f', new Uint8Array(10), `${version}x`)).to.equal(undefined);
    expect(await folder.save('/f', new Uint8Array(10), version)).to.be.a('string');
    empty(filesystem, origin);
    expect((await folder.read('/f', 70_000)).bytes).to.deep.equal(new Uint8Array(10));
    empty(filesystem, origin);
    origin.fails = () => true;
    expect(await folder.read('/g', 70_000).then(String, String)).to.match(/Error: \/g can’t be used: EIO/);
    folder.close();
  });

  describe('of what is elsewhere', () => {
    const SIZE = 600_000;
    const telling =
      (tell?: (bytes: number) => void): DownloadProgress =>
      async (bytes) => {
        tell?.(bytes);
        return true;
      };
    const READS: Record<string, (folder: Folder, tell?: (bytes: number) => void) => Promise<Uint8Array>> = {
      read: async (folder, tell) => (await folder.read('/f', Infinity, tell)).bytes,
      download: async (folder, tell) =>
        new Uint8Array(await (await folder.download('/f', telling(tell))).arrayBuffer()),
    };

    /** Files whose bytes are 1, 2 and so on. `/f` is the first; `next` puts another one in its place. */
    async function files(count: number) {
      const origin = new ChunkOrigin();
      const filesystem = new MemoryFileSystem({ origin });
      const folder = folderOf(filesystem);
      for (let n = 1; n <= count; n++) await folder.save(n === 1 ? '/f' : `/${n}`, new Uint8Array(SIZE).fill(n));
      let at = 1;
      const next = () => {
        folder.remove('/f');
        folder.rename(`/${++at}`, '/f');
      };
      return { origin, filesystem, folder, next };
    }

    for (const [name, read] of Object.entries(READS)) {
      it(`a ${name} tells how much has come`, async () => {
        const { origin, filesystem, folder } = await files(1);
        const told: number[] = [];
        const tell = (bytes: number) => void told.push(bytes);
        expect(await read(folder, tell)).to.deep.equal(new Uint8Array(SIZE).fill(1));
        expect(told, 'all of it is here').to.deep.equal([]);
        empty(filesystem, origin);
        expect(await read(folder, tell)).to.deep.equal(new Uint8Array(SIZE).fill(1));
        expect(told[0]).to.equal(0);
        expect(told.at(-1)).to.be.below(SIZE);
        folder.close();
      });

      it(`a ${name} has one file, whole, when another one takes its place meanwhile; not for ever`, async () => {
        const { origin, filesystem, folder, next } = await files(30);
        empty(filesystem, origin);
        let changes = 0;
        origin.schedule = (answer) => {
          if (changes++ === 0) next();
          setImmediate(answer);
        };
        expect(await read(folder)).to.deep.equal(new Uint8Array(SIZE).fill(2));
        origin.schedule = (answer) => {
          next();
          setImmediate(answer);
        };
        next();
        expect(await read(folder).then(String, String)).to.match(/\/f has changed each time while it was read/);
        folder.close();
      });
    }
  });

  describe('packs a directory whose content is elsewhere', () => {
    const [COUNT, SIZE, ROOM] = [20, 600_000, 2 << 20];
    /** No two of its chunks are the same. */
    const contentOf = (n: number) => new Uint8Array(SIZE).map((_, at) => n * 10 + (at >> 16));

    async function packed(onProgress?: DownloadProgress, fails = () => false) {
      const origin = new ChunkOrigin();
      const filesystem = new MemoryFileSystem({ origin, maxContent: ROOM });
      const folder = folderOf(filesystem);
      folder.create('/d', 'directory');
      for (let n = 1; n <= COUNT; n++) await folder.save(`/d/${n}`, contentOf(n));
      await folder.save('/other', new Uint8Array(SIZE));
      empty(filesystem, origin);
      origin.fails = fails;
      const result = await folder.download('/d', onProgress).catch((error: Error) => error);
      folder.close();
      return { result, origin, folder };
    }

    it('with all of it, little of which is here at once, and tells how much is done', async () => {
      const told: [number, number][] = [];
      const { result, origin, folder } = await packed(async (bytes, size) => told.push([bytes, size]) > 0);
      const copy = filesystemOf(new Volume());
      await loadTar(copy, (result as Blob).stream());
      for (let n = 1; n <= COUNT; n++)
        expect(Buffer.compare(volumeOf(copy).readFileSync(`/${n}`) as Buffer, contentOf(n)), `${n}`).to.equal(0);
      expect(told[0]).to.deep.equal([0, COUNT * SIZE]);
      for (const [bytes, size] of told) expect(bytes).to.be.at.most(size);
      expect(origin.most).to.be.within(1, ROOM);
      const fetches = origin.fetches.length;
      await folder.read('/d/1', SIZE);
      expect(origin.fetches.length, 'the first file is here no more').to.be.above(fetches);
    });

    it('until it is cancelled', async () => {
      const { result, origin } = await packed(async () => false);
      expect(String(result)).to.equal('Error: the download was cancelled');
      expect(origin.fetches.length).to.be.below(COUNT);
    });

    it('or says why it can’t', async () => {
      let fetches = 0;
      const { result } = await packed(undefined, () => ++fetches > 10);
      expect(String(result)).to.match(/^Error: \/d can’t be packed: EIO/);
    });
  });

  describe('with directories deeper than any path', () => {
    const OWNER = { uid: 0, gid: 0 };
    const NAME = 'n'.repeat(250);

    function nest(depth: number): { filesystem: MemoryFileSystem; folder: Folder } {
      const filesystem = new MemoryFileSystem({ size: 256 << 20 });
      let dir = filesystem.root;
      for (let level = 0; level < depth; level++) dir = filesystem.mkdir(dir, NAME, { mode: 0o755, ...OWNER });
      return { filesystem, folder: folderOf(filesystem) };
    }

    it('finds what a program could open', () => {
      const { entries, count } = nest(8000).folder.find('n');
      expect(count).to.equal(entries.length);
      expect(entries.map(({ path }) => path.length)).to.deep.equal(Array.from({ length: 16 }, (_, n) => 251 * (n + 1)));
    });

    it('finds no more than there is room for', () => {
      const { filesystem, folder } = nest(15);
      const top = folder.find(NAME).entries.at(-1)!;
      const dir = filesystem.lookup(filesystem.root, NAME)!;
      let deepest = dir;
      for (let next = filesystem.lookup(dir, NAME); next; next = filesystem.lookup(next, NAME)) deepest = next;
      for (let n = 0; n < 3000; n++) filesystem.mknod(deepest, `file ${n}`, { mode: S_IFREG | 0o644, ...OWNER });
      const { entries, count } = folder.find('file');
      expect(count).to.equal(3000);
      expect(entries.length * top.path.length).to.be.within(7 << 20, 8 << 20);
    });

    it('removes them', () => {
      const { filesystem, folder } = nest(20_000);
      folder.remove(`/${NAME}`);
      expect(filesystem.entries(filesystem.root)).to.deep.equal([]);
      expect(() => folder.remove(`/${NAME}`)).to.throw(/does not exist/);
    });

    it('removes one with very many files', () => {
      const { filesystem, folder } = nest(1);
      const dir = filesystem.lookup(filesystem.root, NAME)!;
      for (let n = 0; n < 150_000; n++) filesystem.mknod(dir, String(n), { mode: S_IFREG | 0o644, ...OWNER });
      folder.remove(`/${NAME}`);
      expect(filesystem.entries(filesystem.root)).to.deep.equal([]);
    });
  });

  describe('has directories for a time', () => {
    const names = (filesystem: MemoryFileSystem) => (volumeOf(filesystem).readdirSync('/') as string[]).sort();

    it('which take no name that is in use, and go with what was to be in them', () => {
      const {
        filesystem,
        folders: [folder],
      } = open(1);
      volumeOf(filesystem).mkdirSync('/lesson-x');
      volumeOf(filesystem).writeFileSync('/lesson-x-2', 'a file');
      const path = folder!.makeMarked('lesson-x', { 'a.txt': 'a', 'docs/': '', 'docs/b.txt': 'b' }, [
        'made.txt',
        'docs/moved',
      ]);
      expect(path).to.equal('/lesson-x-3');
      expect(folder!.marked()).to.deep.equal([path]);
      volumeOf(filesystem).writeFileSync(`${path}/made.txt`, '');
      volumeOf(filesystem).unlinkSync(`${path}/a.txt`);
      folder!.removeMarked(path);
      folder!.removeMarked(path);
      folder!.removeMarked('/lesson-x');
      expect(names(filesystem)).to.deep.equal(['f', 'lesson-x', 'lesson-x-2']);
    });

    it('which stay when somebody has put something there', () => {
      const {
        filesystem,
        folders: [folder],
      } = open(1);
      const path = folder!.makeMarked('lesson', { 'a.txt': 'a', 'docs/': '' }, []);
      volumeOf(filesystem).writeFileSync(`${path}/docs/mine`, 'mine');
      folder!.removeMarked(path);
      expect(folder!.marked()).to.deep.equal([]);
      expect(text(filesystem, `${path}/docs/mine`)).to.equal('mine');
      expect(volumeOf(filesystem).readdirSync(path)).to.deep.equal(['docs']);
    });

    it('none where there is no room', () => {
      const filesystem = filesystemOf(new Volume(), { size: 4 * 4096 });
      const folder = folderOf(filesystem);
      expect(() => folder.makeMarked('lesson', { 'a.txt': 'a'.repeat(20_000) }, [])).to.throw(/full/);
      expect(names(filesystem)).to.deep.equal([]);
    });
  });
});
