import { loadCodec, MemoryStore, SnapshotStore, type MemfsBackend } from '../../device/index.ts';
import type { GuestId, GuestInfo, GuestManifest, PageApi, StartOptions, StartResult, WorkerApi } from '../protocol.ts';
import { fetchLayer, fetchManifest } from './download.ts';
import { Guest } from './guest.ts';
import { specOf, specOfSnapshot, type MachineSpec } from './machine-spec.ts';
import { Moves } from './moves.ts';
import { PageStore } from './page-store.ts';
import { Timeline } from './timeline.ts';

/** More need more memory than phones have. */
const MAX_GUESTS = 4;
/** Milliseconds for the tab that a machine comes from to leave its snapshots to this one. */
const LEGACY_PATIENCE = 3000;

/** The worker's side of {@link WorkerApi}. */
export class Host implements WorkerApi {
  readonly #guests = new Map<GuestId, Guest>();
  #nextId = 1;
  #page!: PageApi;
  #files!: PageStore;
  #timeline: Timeline | undefined;
  #isStarted = false;
  readonly moves = new Moves({
    guest: (id) => this.guest(id),
    // Until the machine is here there may be no time line.
    make: async (spec) => this.#make(spec, this.#timeline?.store ?? await SnapshotStore.open(new MemoryStore(), loadCodec())),
    arrived: async (guest) => {
      this.#guests.set(guest.id, guest);
      if (this.#timeline) await this.timeline.takeNow(guest);
    },
    left: (guest) => this.#leave(guest),
    undisturbed: (action) => this.timeline.inTurn(action),
    progress: (progress) => this.#page.moving(progress),
  });

  async start({ base, store, from, since = 0 }: StartOptions, page: PageApi): Promise<StartResult> {
    if (this.#isStarted) throw new Error('this worker has started already: make another one');
    this.#isStarted = true;
    this.#page = page;
    const started = performance.now();
    page.progress({ what: 'emulator' });
    const resumed = from === undefined ? await this.#startHere(new URL(base), store, since) : await this.#startFrom(from, store);
    if (store !== undefined) this.timeline.start();
    return { guests: [...this.#guests.values()].map(({ info }) => info), milliseconds: performance.now() - started, ...resumed };
  }

  async #startHere(base: URL, store: string | undefined, since: number): Promise<{ resumed?: number }> {
    await this.#openTimeline(await PageStore.open(store));
    return await this.#resume(since) ?? await this.#begin(base);
  }

  /** With a machine that runs elsewhere; its snapshots are those of that tab, when it was the last one there. */
  async #startFrom(place: string, store: string | undefined): Promise<{ resumed?: undefined }> {
    this.#page.progress({ what: 'move' });
    const guest = await this.moves.from(place);
    await this.#openTimeline(await PageStore.open(store, LEGACY_PATIENCE));
    await guest.moveTo(this.timeline.store);
    await this.timeline.takeNow(guest);
    return {};
  }

  async #openTimeline(files: PageStore): Promise<void> {
    this.#files = files;
    this.#timeline = await Timeline.open(files, loadCodec(), {
      guests: () => this.#guests.values(),
      changed: () => this.#page.timelineChanged(),
      problem: (message) => this.#page.problem(message),
    });
  }

  /** Goes on where the last visit ended, if that was kept. */
  async #resume(since: number): Promise<{ resumed: number } | undefined> {
    const last = this.timeline.newest(since);
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
    const guest = await this.#make(spec, this.timeline.store, folder);
    try {
      await guest.restore(snapshot);
    } catch (error) {
      await guest.close();
      throw error;
    }
    this.#guests.set(guest.id, guest);
    if (guest.lostLocks) this.#page.problem(`${guest.lostLocks} of ${guest.name}'s locks stay with the guest that has them already`);
    return guest;
  }

  /** A guest that is nobody's yet, and has not run. */
  async #make(spec: MachineSpec, store: SnapshotStore, folder?: MemfsBackend): Promise<Guest> {
    if (this.#guests.size >= MAX_GUESTS) throw new Error(`there are ${MAX_GUESTS} guests already: close one first`);
    const id = this.#nextId++;
    const page = this.#page;
    return Guest.create({
      id, name: id === 1 ? 'guest' : `guest ${id}`, spec, store, folder,
      events: {
        output: async (shell, bytes) => page.output(id, shell, bytes),
        ended: (shell) => page.shellEnded(id, shell),
        filesChanged: () => page.filesChanged(id),
        changed: (info) => page.guestChanged(info),
        guests: () => this.#guests.values(),
      },
    });
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
    await this.#end(guest);
  }

  async #leave(guest: Guest): Promise<void> {
    await this.#end(guest);
    if (this.#guests.size) return;
    this.timeline.setInterval(0);
    await this.#files.release();
  }

  async #end(guest: Guest): Promise<void> {
    this.#guests.delete(guest.id);
    await guest.close();
    for (const other of this.#guests.values()) other.folder.changed();
    this.#page.timelineChanged();
  }
}
