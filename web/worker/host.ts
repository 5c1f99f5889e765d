import { loadCodec, type MemfsBackend } from '../../device/index.ts';
import type { GuestId, GuestInfo, GuestManifest, PageApi, StartOptions, StartResult, WorkerApi } from '../protocol.ts';
import { fetchLayer, fetchManifest } from './download.ts';
import { Guest } from './guest.ts';
import { specOf, specOfSnapshot, type MachineSpec } from './machine-spec.ts';
import { PageStore } from './page-store.ts';
import { Timeline } from './timeline.ts';

/** More need more memory than phones have. */
const MAX_GUESTS = 4;

/** The worker's side of {@link WorkerApi}. */
export class Host implements WorkerApi {
  readonly #guests = new Map<GuestId, Guest>();
  #nextId = 1;
  #page!: PageApi;
  #files!: PageStore;
  #timeline: Timeline | undefined;
  #isStarted = false;

  async start({ base, store }: StartOptions, page: PageApi): Promise<StartResult> {
    if (this.#isStarted) throw new Error('this worker has started already: make another one');
    this.#isStarted = true;
    this.#page = page;
    const started = performance.now();
    page.progress({ what: 'emulator' });
    this.#files = await PageStore.open(store);
    this.#timeline = await Timeline.open(this.#files, loadCodec(), {
      guests: () => this.#guests.values(),
      changed: () => page.timelineChanged(),
      problem: (message) => page.problem(message),
    });
    const resumed = await this.#resume() ?? await this.#begin(new URL(base));
    if (store !== undefined) this.#timeline.start();
    return { guests: [...this.#guests.values()].map(({ info }) => info), milliseconds: performance.now() - started, ...resumed };
  }

  /** Goes on where the last visit ended, if that was kept. */
  async #resume(): Promise<{ resumed: number } | undefined> {
    const last = this.timeline.newest;
    if (!last) return undefined;
    try {
      this.#page.progress({ what: 'snapshot' });
      await this.#add(specOfSnapshot(last), last.id);
      return { resumed: Date.parse(last.created) };
    } catch (error) {
      this.#page.problem(`The guest of your last visit can't go on, so this is a new one: ${(error as Error).message}`);
      return undefined;
    }
  }

  async #begin(base: URL): Promise<{ resumed?: undefined }> {
    const manifest = await fetchManifest(base);
    await this.#fetch(base, manifest);
    this.#page.progress({ what: 'guest' });
    await this.#add(specOf(manifest), manifest.id);
    return {};
  }

  async #fetch(base: URL, manifest: GuestManifest): Promise<void> {
    const layer = await fetchLayer(base, manifest, (loaded) => this.#page.progress({ what: 'download', loaded, total: manifest.size }));
    this.#page.progress({ what: 'snapshot' });
    const name = `${manifest.id}.layer`;
    await this.#files.adopt(name, layer);
    await this.timeline.store.look(name);
  }

  get timeline(): Timeline {
    if (!this.#timeline) throw new Error('the page has not started yet');
    return this.#timeline;
  }

  async #add(spec: MachineSpec, snapshot: string, folder?: MemfsBackend): Promise<Guest> {
    if (this.#guests.size >= MAX_GUESTS) throw new Error(`there are ${MAX_GUESTS} guests already: close one first`);
    const id = this.#nextId++;
    const page = this.#page;
    const guest = await Guest.create({
      id, name: id === 1 ? 'guest' : `guest ${id}`, spec, store: this.timeline.store, folder,
      events: {
        output: async (shell, bytes) => page.output(id, shell, bytes),
        ended: (shell) => page.shellEnded(id, shell),
        filesChanged: () => page.filesChanged(id),
        changed: (info) => page.guestChanged(info),
        guests: () => this.#guests.values(),
      },
    });
    try {
      await guest.restore(snapshot);
    } catch (error) {
      await guest.close();
      throw error;
    }
    this.#guests.set(id, guest);
    if (guest.lostLocks) page.problem(`${guest.lostLocks} of ${guest.name}'s locks stay with the guest that has them already`);
    return guest;
  }

  guest(id: GuestId): Guest {
    const guest = this.#guests.get(id);
    if (!guest) throw new Error(`there is no guest ${id}: it was closed`);
    return guest;
  }

  async fork(from: { snapshot: string } | { guest: GuestId; folder: 'own' | 'shared' }): Promise<GuestInfo> {
    const { store } = this.timeline;
    if ('snapshot' in from) return (await this.#add(specOfSnapshot(store.info(from.snapshot)), from.snapshot)).info;
    const original = this.guest(from.guest);
    const isShared = from.folder === 'shared';
    const snapshot = await this.timeline.takeForFork(original, isShared);
    try {
      return (await this.#add(original.spec, snapshot, isShared ? original.device.backend : undefined)).info;
    } finally {
      // Without its folder nobody else can go on from it.
      if (isShared) await this.timeline.remove(snapshot);
    }
  }

  async close(id: GuestId): Promise<void> {
    const guest = this.guest(id);
    if (this.#guests.size === 1) throw new Error('this is the last guest: it stays');
    this.#guests.delete(id);
    await guest.close();
    for (const other of this.#guests.values()) other.folder.changed();
    this.#page.timelineChanged();
  }
}
