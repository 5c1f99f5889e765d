import { loadCodec, MemoryStore, SnapshotStore } from '../../device/index.ts';
import type { GuestId, PageApi, StartOptions, StartResult, WorkerApi } from '../protocol.ts';
import { fetchLayer, fetchManifest } from './download.ts';
import { Guest } from './guest.ts';

/** The worker's side of {@link WorkerApi}. */
export class Host implements WorkerApi {
  readonly #guests = new Map<GuestId, Guest>();
  #nextId = 1;
  #page!: PageApi;
  #isStarted = false;

  async start({ base }: StartOptions, page: PageApi): Promise<StartResult> {
    if (this.#isStarted) throw new Error('this worker has started already: make another one');
    this.#isStarted = true;
    this.#page = page;
    const started = performance.now();
    page.progress({ what: 'emulator' });
    const directory = new URL(base);
    const manifest = await fetchManifest(directory);
    const layer = await fetchLayer(directory, manifest, (loaded) => page.progress({ what: 'download', loaded, total: manifest.size }));
    page.progress({ what: 'snapshot' });
    const files = new MemoryStore();
    await files.write(`${manifest.id}.layer`, [layer]);
    const store = await SnapshotStore.open(files, loadCodec());
    const id = this.#nextId++;
    const guest = await Guest.create({
      id, name: 'guest', manifest, store,
      events: {
        output: async (shell, bytes) => page.output(id, shell, bytes),
        ended: (shell) => page.shellEnded(id, shell),
        filesChanged: () => page.filesChanged(id),
        guests: () => this.#guests.values(),
      },
    });
    page.progress({ what: 'guest' });
    await guest.restore(manifest.id);
    this.#guests.set(id, guest);
    return { guests: [guest.info], milliseconds: performance.now() - started };
  }

  guest(id: GuestId): Guest {
    const guest = this.#guests.get(id);
    if (!guest) throw new Error(`there is no guest ${id}: it was closed`);
    return guest;
  }
}
