import { expect } from 'chai';
import { MemfsBackend, Volume, type VirtioFsDevice } from '../../device/index.ts';
import { Folder } from '../../web/worker/folder.ts';

describe('the worker’s shared folder', () => {
  /** A folder as `count` guests have it. */
  function open(count: number): { backend: MemfsBackend; folders: Folder[]; told: number[] } {
    const backend = MemfsBackend.of(Volume.fromJSON({ '/f': 'text' }));
    const told = Array.from({ length: count }, () => 0);
    const folders = told.map((_, n) => new Folder({ backend } as unknown as VirtioFsDevice, () => [], () => told[n]!++));
    return { backend, folders, told };
  }
  const afterNotice = () => new Promise((resolve) => setTimeout(resolve, 150));

  it('is watched by those who have it, in whatever order they come and go', () => {
    const { backend, folders } = open(0);
    const before = backend.observerCount;
    for (let round = 0; round < 20; round++) {
      const more = Array.from({ length: 4 }, () => new Folder({ backend } as unknown as VirtioFsDevice, () => [], () => {}));
      expect(backend.observerCount).to.equal(before + 4);
      for (const n of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]][round % 3]!) more[n]!.close();
      expect(backend.observerCount).to.equal(before);
    }
    expect(folders).to.deep.equal([]);
  });

  it('tells everyone who has it, and nobody who had it, of changes through guests and host alike', async () => {
    const { backend, folders, told } = open(3);
    const heard: string[] = [];
    backend.volume.watch('/', (_, name) => void heard.push(String(name)));
    folders[1]!.create('/made', 'file');
    folders[0]!.close();
    await afterNotice();
    expect(told).to.deep.equal([0, 1, 1]);
    backend.volume.writeFileSync('/by-host', '');
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
});
