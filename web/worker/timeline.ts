import { proxyMarker } from 'comlink';
import { type ChunkCodec, type FreezeResult, type SnapshotInfo, SnapshotStore } from '../../device/index.ts';
import { OneAtATime } from '../../device/one-at-a-time.ts';
import type { Trees } from '../../device/snapshot/inspect.ts';
import { KEPT } from '../protocol/timeline.ts';
import type {
  Comparison,
  GuestId,
  KeepResult,
  SnapshotKind,
  SnapshotView,
  TimelineApi,
  TimelineView,
} from '../protocol.ts';
import { compare } from './compare.ts';
import type { Guest } from './guest.ts';
import { Lineage } from './lineage.ts';
import { isSame } from './machine-config.ts';
import { Notes } from './notes.ts';
import type { PageStore } from './page-store.ts';
import { importedSummary, kindOf, readSummary, START, type Summary } from './summary.ts';

/** How many more automatic snapshots than are kept there may be until the older ones are removed. */
const SURPLUS = 6;
/** Seconds. */
const INTERVAL = 15;

/** What a reload goes on with. */
export interface Resumption {
  snapshots: SnapshotInfo[];
  /** Milliseconds since 1970. */
  moment: number;
  /** Names of the guests that can't, because they shared another one's folder. */
  parted: string[];
}

interface TimelineEvents {
  guests(): Iterable<Guest>;
  changed(): void;
  problem(message: string): void;
  /** What images have, by their ids. */
  trees(): Promise<Trees>;
}

/** Every guest's snapshots, one action at a time. */
export class Timeline implements TimelineApi {
  readonly [proxyMarker] = true;
  readonly #files: PageStore;
  readonly notes: Notes;
  readonly #codec: ChunkCodec;
  readonly #guests: () => Iterable<Guest>;
  readonly #onChange: () => void;
  readonly #onProblem: (message: string) => void;
  readonly #trees: TimelineEvents['trees'];
  readonly #standstills = new Map<string, number>();
  readonly #undo = new Map<GuestId, { to: string; before: string }>();
  #store: SnapshotStore;
  readonly #lineage: Lineage;
  #interval = 0;
  #isTaking = false;
  #ticker: ReturnType<typeof setInterval> | undefined;
  readonly #changes = new OneAtATime();

  private constructor(files: PageStore, codec: ChunkCodec, store: SnapshotStore, notes: Notes, events: TimelineEvents) {
    this.#files = files;
    this.#codec = codec;
    this.#store = store;
    this.notes = notes;
    this.#guests = events.guests;
    this.#onChange = events.changed;
    this.#onProblem = events.problem;
    this.#trees = events.trees;
    this.#lineage = new Lineage(() => this.#store.list());
  }

  /** Over all that `files` has. What can't be read is left alone, and nothing is kept then. */
  static async open(files: PageStore, codec: ChunkCodec, events: TimelineEvents): Promise<Timeline> {
    let store: SnapshotStore;
    try {
      store = await SnapshotStore.open(files, codec);
    } catch (error) {
      files.giveUp(
        `The snapshots that were kept can’t be read (${(error as Error).message}), and are left as they are; new ones are not kept. “Remove all” in the timeline makes room for new ones.`,
      );
      store = await SnapshotStore.open(files, codec);
    }
    return new Timeline(files, codec, store, await Notes.open(files), events);
  }

  get store(): SnapshotStore {
    return this.#store;
  }

  /** Begins with the automatic snapshots. */
  start(): void {
    this.setInterval(INTERVAL);
  }

  /** The newest snapshot since a moment in milliseconds, and those of the guests that ran beside. */
  async newest(since: number): Promise<Resumption | undefined> {
    const all = this.#store.list().filter(({ damage }) => !damage);
    const last = all
      .filter((info) => !['imported', 'close'].includes(kindOf(info)) && Date.parse(info.created) > since)
      .at(-1);
    const position = await this.notes.position();
    const isPosition =
      position &&
      position.moment > since &&
      !(position.moment < Date.parse(last?.created ?? '')) &&
      position.together.every((id) => all.some((info) => info.id === id));
    const { moment, together, parted } = isPosition
      ? position
      : { ...readSummary(last?.summary), moment: Date.parse(last?.created ?? '') };
    const snapshots = together.flatMap((id) => all.find((info) => info.id === (id || last?.id)) ?? []);
    return snapshots.length ? { snapshots, moment, parted } : undefined;
  }

  /** Guests that run beside `guest`, or all. */
  #company(guest?: Guest): Pick<Summary, 'together' | 'parted'> {
    // One that may run elsewhere does not go on here by itself; one that is passing never does.
    const guests = [...this.#guests()].filter(({ isUnsettled, isPassing }) => !isUnsettled && !isPassing);
    const ofFolder = new Map(guest && [[guest.device.filesystem, guest]]);
    for (const other of guests)
      if (!ofFolder.has(other.device.filesystem)) ofFolder.set(other.device.filesystem, other);
    const kept = guests.filter(
      (other) => ofFolder.get(other.device.filesystem) === other && (other === guest || other.at),
    );
    return {
      // The snapshot of a fork with the same folder is gone again.
      together: kept.map((other) => (other === guest ? '' : (this.#lineage.lineOf(other.at)[0] ?? other.at))),
      parted: guests.filter((other) => !kept.includes(other)).map(({ name }) => name),
    };
  }

  /** So that a reload goes on from here although no snapshot was taken since. */
  async remember(): Promise<void> {
    const position = { moment: Date.now(), ...this.#company() };
    // A reload goes on from the newest snapshot then.
    await this.notes
      .setPosition(position)
      .catch((error: Error) =>
        this.#onProblem(`A reload will not find the guests where they are now: ${error.message}`),
      );
  }

  view(): TimelineView {
    const snapshots = this.#store
      .list()
      .map((info) => this.#viewOf(info))
      .sort((a, b) => b.created - a.created);
    for (const { id, at } of this.#guests()) {
      const [place] = this.#lineage.lineOf(at);
      snapshots.find((snapshot) => snapshot.id === place)?.guests.push(id);
    }
    return {
      snapshots,
      damaged: this.#store.damaged().map(({ id, reason }) => ({ id, reason })),
      isKept: this.#files.isKept,
      reason: this.#files.reason,
      used: snapshots.reduce((sum, { addedBytes }) => sum + addedBytes, 0),
      interval: this.#interval,
      undo: [...this.#undo]
        .filter(([, { before }]) => snapshots.some(({ id }) => id === before))
        .map(([guest, places]) => ({ guest, ...places })),
    };
  }

  #viewOf(info: SnapshotInfo): SnapshotView {
    const { id, name, created, addedBytes, damage } = info;
    const { guest, isPinned } = readSummary(info.summary);
    return {
      id,
      name,
      addedBytes,
      damage,
      guest,
      isPinned,
      kind: kindOf(info),
      created: this.notes.arrivalOf(id) ?? Date.parse(created),
      parent: this.#lineage.parentOf(info),
      guests: [],
      ...(this.#standstills.has(id) && { standstill: this.#standstills.get(id)! }),
    };
  }

  take(guest: GuestId, name: string): Promise<string> {
    return this.inTurn(async () => (await this.#freeze(this.#guest(guest), 'manual', name)).id);
  }

  /** The snapshot that such a guest began with; undefined where that was removed. */
  startOf({ config }: Guest): string | undefined {
    return this.#store.list().find((info) => !info.damage && kindOf(info) === 'start' && isSame(info, config))?.id;
  }

  /** As the automatic ones; or, of a guest that has just booted, what it can be reset to. */
  takeNow(guest: Guest, kind: 'automatic' | 'start' = 'automatic'): Promise<FreezeResult> {
    return this.inTurn(() => this.#freeze(guest, kind, kind === 'start' ? START : ''));
  }

  /** A snapshot that only forks need. */
  takeForFork(guest: Guest, withoutFolder: boolean): Promise<string> {
    return this.inTurn(async () => (await this.#freeze(guest, 'fork', '', withoutFolder)).id);
  }

  async #freeze(guest: Guest, kind: SnapshotKind, name = '', withoutFolder = false): Promise<FreezeResult> {
    const result = await guest.freeze(
      name,
      {
        guest: guest.name,
        kind,
        ancestors: this.#lineage.lineOf(guest.at),
        ...this.#company(guest),
      } satisfies Partial<Summary>,
      withoutFolder,
    );
    this.#standstills.set(result.id, result.standstill);
    this.#onChange();
    return result;
  }

  rewind(id: GuestId, snapshot: string, keep = true): Promise<KeepResult> {
    return this.inTurn(async () => {
      const guest = this.#guest(id);
      guest.checkRewind(snapshot);
      return this.#leave(guest, keep && 'rewind', async (before) => {
        await guest.rewind(snapshot);
        if (before) this.#undo.set(id, { to: snapshot, before });
        else this.#undo.delete(id);
      });
    });
  }

  /** Runs what ends a guest, when it is kept. The last one stays. */
  end(id: GuestId, keep: boolean, action: (guest: Guest) => Promise<void>): Promise<KeepResult> {
    return this.inTurn(async () => {
      const guest = this.#guest(id);
      if ([...this.#guests()].length === 1) throw new Error('this is the last guest: it stays');
      return this.#leave(guest, keep && 'close', async () => {
        await action(guest);
        this.#undo.delete(id);
      });
    });
  }

  /** Does what ends the present moment of a guest, once a snapshot has it: of kind `kept`, and none if that is false. */
  async #leave(
    guest: Guest,
    kept: 'rewind' | 'close' | false,
    action: (before: string | undefined) => Promise<void>,
  ): Promise<KeepResult> {
    let before: string | undefined;
    try {
      if (kept) before = (await this.#freeze(guest, kept)).id;
    } catch (error) {
      return { isDone: false, reason: (error as Error).message };
    }
    await action(before);
    await this.remember();
    await this.#prune();
    this.#onChange();
    return { isDone: true, reason: '' };
  }

  rename(snapshot: string, name: string): Promise<void> {
    return this.inTurn(async () => {
      await this.#store.rename(snapshot, name);
      this.#onChange();
    });
  }

  pin(snapshot: string, isPinned: boolean): Promise<void> {
    return this.inTurn(async () => {
      const { summary } = this.#store.info(snapshot);
      await this.#store.amend(snapshot, {
        summary: { ...(summary as object | undefined), isPinned } satisfies Partial<Summary>,
      });
      this.#onChange();
    });
  }

  async compare(from: string, to: string): Promise<Comparison> {
    return compare(this.#store, from, to, await this.#trees());
  }

  remove(snapshot: string): Promise<void> {
    return this.inTurn(async () => {
      // A reload is to go on with the guests that are there, not with what they were before. Who removes snapshots may have no room for another.
      const isNeeded = (guest: Guest) => this.#files.isKept && guest.at === snapshot && guest.isRunning;
      for (const guest of this.#guests()) if (isNeeded(guest)) await this.#freeze(guest, 'automatic').catch(() => {});
      await this.#remove(snapshot);
    });
  }

  /** One of {@link takeForFork}. */
  discard(snapshot: string): Promise<void> {
    return this.inTurn(() => this.#remove(snapshot));
  }

  async #remove(snapshot: string): Promise<void> {
    await this.#takeOut(snapshot);
    await this.#store.gc();
    this.#onChange();
  }

  /** What it alone needs goes with {@link SnapshotStore.gc}. */
  async #takeOut(snapshot: string): Promise<void> {
    const info = this.#store.list().find(({ id }) => id === snapshot);
    if (info) this.#lineage.removes(info, (id) => [...this.#guests()].some(({ at }) => at === id));
    await this.#store.remove(snapshot);
  }

  export(snapshot: string): Promise<{ name: string; blob: Blob }> {
    return this.inTurn(async () => {
      const { name, created } = this.#store.info(snapshot);
      const parts = await this.#store.export(snapshot);
      return {
        name: `${(name || created).replaceAll(/[^\w.-]+/g, '-')}.layer`,
        blob: new Blob(parts as Uint8Array<ArrayBuffer>[]),
      };
    });
  }

  import(file: Blob): Promise<string> {
    return this.inTurn(async () => {
      const id = await this.#store.import(new Uint8Array(await file.arrayBuffer()), importedSummary);
      this.#onChange();
      return id;
    });
  }

  setInterval(seconds: number): void {
    this.#interval = seconds;
    clearInterval(this.#ticker);
    if (seconds) this.#ticker = setInterval(() => void this.#takeAutomatically(), seconds * 1000);
    this.#onChange();
  }

  async #takeAutomatically(): Promise<void> {
    // What is under way may last for several intervals.
    if (this.#isTaking) return;
    this.#isTaking = true;
    try {
      await this.inTurn(async () => {
        for (const guest of this.#guests()) if (guest.isRunning) await this.#freeze(guest, 'automatic');
        await this.#prune();
      });
    } catch (error) {
      this.setInterval(0);
      this.#onProblem(`The automatic snapshots are off: ${(error as Error).message}`);
    } finally {
      this.#isTaking = false;
    }
  }

  /** Removes the oldest snapshots that nobody asked for, when there are too many. What has a name or a pin somebody wants. */
  async #prune(): Promise<void> {
    const nameless = this.#store
      .list()
      .filter(({ name, damage, summary }) => name === '' && !damage && !readSummary(summary).isPinned);
    const ofKind = (...kinds: SnapshotKind[]) => nameless.filter((info) => kinds.includes(kindOf(info)));
    const automatic = ofKind('automatic', 'fork');
    const surplus = [
      ...(automatic.length > KEPT.automatic + SURPLUS ? automatic.slice(0, -KEPT.automatic) : []),
      ...ofKind('rewind', 'close').slice(0, -KEPT.before),
    ];
    if (!surplus.length) return;
    const needed = new Set([...this.#guests()].map(({ at }) => at));
    for (const { id } of surplus) if (!needed.has(id)) await this.#takeOut(id);
    await this.#store.gc();
    this.#onChange();
  }

  clear(): Promise<void> {
    return this.inTurn(async () => {
      await this.#files.clear();
      this.#store = await SnapshotStore.open(this.#files, this.#codec);
      for (const guest of this.#guests()) await guest.moveTo(this.#store);
      this.#onChange();
    });
  }

  #guest(id: GuestId): Guest {
    const guest = [...this.#guests()].find((candidate) => candidate.id === id);
    if (!guest) throw new Error('this guest was closed');
    return guest;
  }

  /** Runs what no snapshot may be taken in between, nor restored. */
  inTurn<T>(action: () => Promise<T>): Promise<T> {
    return this.#changes.run(action);
  }
}
