import { loadCodec, type MemoryFileSystem, MemoryStore, type SnapshotInfo, SnapshotStore } from '../../device/index.ts';
import { equipmentOf, type MachineConfig } from '../../harness/machine/config.ts';
import { called, calledFirst } from '../protocol/format.ts';
import type {
  GuestId,
  GuestInfo,
  GuestManifest,
  KeepResult,
  MemoryUse,
  PageApi,
  StartOptions,
  StartResult,
  WorkerApi,
} from '../protocol.ts';
import { Batches } from './batches.ts';
import { Guest } from './guest.ts';
import { protect, setAside } from './last-visit.ts';
import { checkEmulator, configOfSnapshot, isSame } from './machine-config.ts';
import { Moves } from './moves.ts';
import { NetworkError, request } from './network.ts';
import { type Beginning, PageGuest, RootError } from './page-guest.ts';
import { PageImages } from './page-images.ts';
import { PageStore } from './page-store.ts';
import { type Resumption, Timeline } from './timeline.ts';
import { compileV86 } from './v86-module.ts';

/** More need more memory than phones have. */
const MAX_GUESTS = 4;
/** Milliseconds for the tab that a machine comes from to leave its snapshots to this one. */
const LEGACY_PATIENCE = 3000;

const hasRoot = (config: MachineConfig) => equipmentOf(config).root !== undefined;

/** The worker's side of {@link WorkerApi}. */
export class Host implements WorkerApi {
  readonly #guests = new Map<GuestId, Guest>();
  #images!: PageImages;
  /** What the page's server has. */
  #source!: PageGuest;
  #nextId = 1;
  /** Those of the guests, and those that are on their way to being one. */
  #machines = 0;
  #page!: PageApi;
  #files!: PageStore;
  #timeline: Timeline | undefined;
  #isStarted = false;
  /** See {@link StartResult.isNew}. */
  #isNew = false;
  readonly moves = new Moves({
    guest: (id) => this.guest(id),
    // Until the machine is here there may be no timeline.
    make: async (config) =>
      this.#make(config, this.#timeline?.store ?? (await SnapshotStore.open(new MemoryStore(), loadCodec()))),
    arrived: async (guest) => {
      this.#guests.set(guest.id, guest);
      if (this.#timeline) await this.#keep(guest);
    },
    left: (guest) => this.#leave(guest),
    doubted: () => this.timeline.remember(),
    undisturbed: (action) => this.#undisturbed(action),
    progress: (progress) => this.#page.moving(progress),
    problem: (message) => this.#page.problem(message),
  });

  async start(options: StartOptions, page: PageApi): Promise<StartResult> {
    const { base, root, store, from } = options;
    if (this.#isStarted) throw new Error('this worker has started already: create another one');
    this.#isStarted = true;
    this.#page = page;
    this.#images = new PageImages(page);
    this.#source = new PageGuest(
      new URL(base),
      root === undefined ? undefined : new URL(root),
      this.#images,
      (progress) => page.progress(progress),
    );
    const started = performance.now();
    page.progress({ what: 'emulator' });
    // Whoever waits for it is told what went wrong.
    compileV86().catch(() => {});
    const resumed = from === undefined ? await this.#startHere(options) : await this.#startFrom(from, options);
    if (store !== undefined) this.timeline.start();
    return {
      guests: [...this.#guests.values()].map(({ info }) => info),
      milliseconds: performance.now() - started,
      isNew: this.#isNew,
      hasStore: this.#files.isWriter,
      ...resumed,
    };
  }

  async #startHere({ store, since = 0, snapshot, isOfLink }: StartOptions): Promise<{ resumed?: number }> {
    await this.#openTimeline(await PageStore.open(store), store);
    const last = await this.timeline.newest(since);
    if (snapshot !== undefined && (await this.#open(new URL(snapshot)))) {
      if (isOfLink) await this.#setAside(last);
      return {};
    }
    return (await this.#resume(last)) ?? (await this.#begin());
  }

  /** With a snapshot that somebody has exported. Says why where that can't be, and the page begins as without it. */
  async #open(url: URL): Promise<boolean> {
    try {
      this.#page.progress({ what: 'download' });
      const id = await this.timeline.import(await request(url, (response) => response.blob()));
      this.#page.progress({ what: 'guest' });
      await this.#add(configOfSnapshot(this.timeline.store.info(id)), (guest) => guest.restore(id));
      await this.timeline.remember();
      return true;
    } catch (error) {
      this.#page.problem(
        `The snapshot of the link can’t be opened, so this is another guest: ${(error as Error).message}`,
      );
      return false;
    }
  }

  /** With a machine that runs elsewhere; its snapshots are those of that tab, when it was the last one there. */
  async #startFrom(place: string, { store, since = 0 }: StartOptions): Promise<{ resumed?: undefined }> {
    this.#page.progress({ what: 'move' });
    const isInherited = await PageStore.isOpen(store);
    const guest = await this.moves.from(place);
    await this.#openTimeline(await PageStore.open(store, LEGACY_PATIENCE), store);
    if (!isInherited) await this.#setAside(await this.timeline.newest(since));
    await guest.moveTo(this.timeline.store);
    await this.#keep(guest);
    return {};
  }

  async #setAside(last: Resumption | undefined): Promise<void> {
    if (last) await setAside(this.timeline, last.snapshots, (message) => this.#page.problem(message));
  }

  /** A guest that has come runs on also where it can't be kept. */
  async #keep(guest: Guest): Promise<void> {
    await this.timeline
      .takeNow(guest)
      .catch((error: Error) =>
        this.#page.problem(
          `${calledFirst(guest.name)} has arrived, and no snapshot of it can be kept: ${error.message}`,
        ),
      );
  }

  async #openTimeline(files: PageStore, store: string | undefined): Promise<void> {
    this.#files = files;
    if (store !== undefined && files.reason) this.#page.problem(files.reason);
    files.onGiveUp = (reason) => this.#page.problem(reason);
    this.#timeline = await Timeline.open(files, loadCodec(), {
      guests: () => this.#guests.values(),
      changed: () => this.#page.timelineChanged(),
      problem: (message) => this.#page.problem(message),
      trees: () => this.#images.trees(),
    });
  }

  /** Goes on where the last visit ended, if that was kept. */
  async #resume(last: Resumption | undefined): Promise<{ resumed: number } | undefined> {
    if (!last) return undefined;
    const lost: SnapshotInfo[] = [];
    for (const snapshot of last.snapshots) {
      try {
        const config = configOfSnapshot(snapshot);
        this.#page.progress({ what: hasRoot(config) ? 'root' : 'emulator' });
        await this.#add(config, (guest) => {
          this.#page.progress({ what: 'snapshot' });
          return guest.restore(snapshot.id);
        });
      } catch (error) {
        const isAlone = last.snapshots.length === 1;
        this.#page.problem(
          `${isAlone ? 'The guest of your last visit can’t be resumed, so this is a new one' : 'A guest of your last visit can’t be resumed'}: ${(error as Error).message}`,
        );
        lost.push(snapshot);
      }
    }
    await protect(this.timeline, lost, (message) => this.#page.problem(message));
    if (!this.#guests.size) return undefined;
    if (last.parted.length)
      this.#page.problem(
        `${last.parted.map(calledFirst).join(', ')} had the folder of another guest, and was not kept over the reload: fork that one again.`,
      );
    return { resumed: last.moment };
  }

  /** A new guest, from the snapshot that the page comes with; by a cold boot where that can't be. */
  async #begin(): Promise<{ resumed?: undefined }> {
    const beginning = await this.#source.begin();
    const { manifest, config, hasSnapshot } = beginning;
    this.#isNew = true;
    if (!hasSnapshot) {
      await this.#boot(beginning);
      return {};
    }
    try {
      checkEmulator(manifest);
      // The machine is made meanwhile.
      let isMade = false;
      const fetched = this.#fetchSnapshot(manifest).then(() => {
        if (!isMade && hasRoot(config)) this.#page.progress({ what: 'root' });
      });
      fetched.catch(() => {});
      await this.#add(config, async (guest) => {
        isMade = true;
        await fetched;
        this.#page.progress({ what: 'guest' });
        await guest.restore(manifest.snapshot.id);
      });
    } catch (error) {
      if (error instanceof NetworkError || error instanceof RootError) throw error;
      this.#page.problem(
        `The guest boots from its kernel, since its snapshot can’t be used: ${(error as Error).message}`,
      );
      await this.#boot(beginning);
    }
    return {};
  }

  async #fetchSnapshot(manifest: GuestManifest): Promise<void> {
    const layer = await this.#source.snapshot(manifest);
    this.#page.progress({ what: 'snapshot' });
    const { id } = manifest.snapshot;
    const name = `${id}.layer`;
    await this.#files.adopt(name, layer);
    try {
      await this.timeline.store.readLayer(name);
      // Not waited for: it is written behind the snapshot.
      void this.timeline.notes.arrived(id);
    } catch (error) {
      await this.#files.remove(name);
      throw error;
    }
  }

  async #boot({ manifest, config }: Beginning): Promise<void> {
    const { files, folder } = await this.#source.coldBoot(manifest, config);
    this.#page.progress({ what: 'boot' });
    const guest = await this.#add(config, async (made) => {
      if (made.root) this.#source.fill(made.root.filesystem);
      await made.boot(files, folder);
    });
    // What it can be reset to.
    if (guest.root) await this.timeline.takeNow(guest, 'start');
  }

  get timeline(): Timeline {
    if (!this.#timeline) throw new Error('the page has not started yet');
    return this.#timeline;
  }

  /** One more guest, that `begin` brings to life. */
  async #add(config: MachineConfig, begin: (guest: Guest) => Promise<void>, folder?: MemoryFileSystem): Promise<Guest> {
    const guest = await this.#make(config, this.timeline.store, folder);
    try {
      await begin(guest);
    } catch (error) {
      await guest.close();
      // The next one gets its name.
      if (guest.id === this.#nextId - 1) this.#nextId--;
      throw error;
    }
    this.#guests.set(guest.id, guest);
    if (guest.lostLocks)
      this.#page.problem(
        `${guest.lostLocks} of ${called(guest.name)}'s locks stay with the guest that has them already`,
      );
    return guest;
  }

  /** A guest that is nobody's yet, and has not run. */
  async #make(config: MachineConfig, store: SnapshotStore, folder?: MemoryFileSystem): Promise<Guest> {
    if (this.#machines >= MAX_GUESTS) throw new Error(`there are ${MAX_GUESTS} guests already: close one first`);
    this.#machines++;
    const ended = () => void this.#machines--;
    const id = this.#nextId++;
    const page = this.#page;
    const console = new Batches((lines) => page.console(id, lines));
    const create = (root: MemoryFileSystem | undefined) =>
      Guest.create({
        id,
        name: id === 1 ? 'guest' : `guest ${id}`,
        config,
        store,
        folder,
        root,
        events: {
          output: async (shell, bytes) => page.output(id, shell, bytes),
          ended: (shell) => page.shellEnded(id, shell),
          filesChanged: () => page.filesChanged(id, false),
          rootChanged: () => page.filesChanged(id, true),
          console: (line) => console.add(line),
          changed: (info) => page.guestChanged(info),
          guests: () => this.#guests.values(),
          kernelOf: (machine) => this.#source.kernelOf(machine),
          undisturbed: (action) => this.#undisturbed(action),
          problem: (message) => page.problem(message),
        },
      });
    const guest = await this.#source
      .rootOf(config)
      .then(create)
      .catch((error: unknown) => {
        ended();
        throw error;
      });
    guest.onEnd(ended);
    return guest;
  }

  #undisturbed<T>(action: () => Promise<T>): Promise<T> {
    return this.#timeline ? this.#timeline.inTurn(action) : action();
  }

  guest(id: GuestId): Guest {
    const guest = this.#guests.get(id);
    if (!guest) throw new Error(`there is no guest ${id}: it was closed`);
    return guest;
  }

  memory(): MemoryUse {
    const guests = [...this.#guests.values()];
    // Guests may have the same one.
    const folders = new Map(guests.map(({ device, folder }) => [device.filesystem, folder]));
    return {
      guests: guests.reduce((sum, { memory }) => sum + memory, 0),
      folders: [...folders.values()].reduce((sum, folder) => sum + folder.space().used, 0),
    };
  }

  async fork(from: Parameters<WorkerApi['fork']>[0]): Promise<GuestInfo> {
    const { store } = this.timeline;
    const fork =
      'snapshot' in from
        ? await this.#add(configOfSnapshot(store.info(from.snapshot)), (guest) => guest.restore(from.snapshot))
        : await this.#forkGuest(this.guest(from.guest), from.folder === 'shared');
    fork.isPassing = from.isPassing ?? false;
    await this.timeline.remember();
    // It has a place there.
    this.#page.timelineChanged();
    return fork.info;
  }

  async #forkGuest(original: Guest, isShared: boolean): Promise<Guest> {
    const snapshot = await this.timeline.takeForFork(original, isShared);
    try {
      return await this.#add(
        original.config,
        (guest) => guest.restore(snapshot),
        isShared ? original.device.filesystem : undefined,
      );
    } finally {
      // Without its folder nobody else can go on from it.
      if (isShared) await this.timeline.discard(snapshot);
    }
  }

  async reset(id: GuestId, keep = true): Promise<KeepResult> {
    const guest = this.guest(id);
    return this.timeline.rewind(id, this.timeline.startOf(guest) ?? (await this.#fetchStart(guest)), keep);
  }

  /** The snapshot that a guest began with, of which there is none here any more. */
  async #fetchStart({ name, config }: Guest): Promise<string> {
    const { manifest, hasSnapshot } = await this.#source.begin();
    if (!hasSnapshot || !isSame(manifest, config))
      throw new Error(
        `the snapshot that ${called(name)} began with was removed, and the page has none of such a machine; go back to an older snapshot`,
      );
    await this.#fetchSnapshot(manifest);
    return manifest.snapshot.id;
  }

  async close(id: GuestId, keep = true): Promise<KeepResult> {
    return this.timeline.end(id, keep, (guest) => this.#end(guest));
  }

  async #leave(guest: Guest): Promise<void> {
    await this.#end(guest);
    // It must not run here too after a reload.
    if (this.#guests.size) return this.timeline.remember();
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
