import { proxyMarker } from 'comlink';
import { SnapshotStore, type ChunkCodec, type FreezeResult, type SnapshotInfo } from '../../device/index.ts';
import type { GuestId, SnapshotKind, SnapshotView, TimelineApi, TimelineView } from '../protocol.ts';
import type { Guest } from './guest.ts';
import type { PageStore } from './page-store.ts';

/** Automatic snapshots that are kept, and how many more there may be until the older ones are removed. */
const AUTOMATIC = 12;
const SURPLUS = 6;
/** Seconds. */
const INTERVAL = 15;

/** What the page keeps in a snapshot besides the machine. */
interface Summary {
  guest?: string;
  kind?: SnapshotKind;
  /** Snapshots of the guests that ran then, '' for this one: of those with one folder, one. And the names of the others. */
  together?: string[];
  parted?: string[];
}

/** What a reload goes on with. */
export interface Resumption {
  snapshots: SnapshotInfo[];
  /** Milliseconds since 1970. */
  moment: number;
  /** Names of the guests that can't, because they shared another one's folder. */
  parted: string[];
}

/** Every guest's snapshots, one action at a time. */
export class Timeline implements TimelineApi {
  readonly [proxyMarker] = true;
  readonly #files: PageStore;
  readonly #codec: ChunkCodec;
  readonly #guests: () => Iterable<Guest>;
  readonly #onChange: () => void;
  readonly #onProblem: (message: string) => void;
  readonly #standstills = new Map<string, number>();
  #store: SnapshotStore;
  #interval = 0;
  #isTaking = false;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  private constructor(files: PageStore, codec: ChunkCodec, store: SnapshotStore, events: { guests: () => Iterable<Guest>; changed: () => void; problem: (message: string) => void }) {
    this.#files = files;
    this.#codec = codec;
    this.#store = store;
    this.#guests = events.guests;
    this.#onChange = events.changed;
    this.#onProblem = events.problem;
  }

  /** Over all that `files` has. What can't be read is left alone, and nothing is kept then. */
  static async open(files: PageStore, codec: ChunkCodec, events: { guests: () => Iterable<Guest>; changed: () => void; problem: (message: string) => void }): Promise<Timeline> {
    let store: SnapshotStore;
    try {
      store = await SnapshotStore.open(files, codec);
    } catch (error) {
      files.giveUp(`The snapshots that were kept can't be read (${(error as Error).message}), and are left as they are; new ones are not kept. “Remove all” in the time line makes room for new ones.`);
      store = await SnapshotStore.open(files, codec);
    }
    return new Timeline(files, codec, store, events);
  }

  get store(): SnapshotStore {
    return this.#store;
  }

  /** Begins with the automatic snapshots. */
  start(): void {
    this.setInterval(INTERVAL);
  }

  /** The newest snapshot since a moment in milliseconds, and those of the guests that ran beside. */
  newest(since: number): Resumption | undefined {
    const all = this.#store.list();
    const last = all.filter((info) => kindOf(info) !== 'imported' && Date.parse(info.created) > since).at(-1);
    if (!last) return undefined;
    const { together = [''], parted = [] } = summaryOf(last);
    return { snapshots: together.flatMap((id) => all.find((info) => info.id === (id || last.id)) ?? []), moment: Date.parse(last.created), parted };
  }

  #company(guest: Guest): Pick<Required<Summary>, 'together' | 'parted'> {
    const guests = [...this.#guests()];
    const ofFolder = new Map([[guest.device.backend, guest]]);
    for (const other of guests) if (!ofFolder.has(other.device.backend)) ofFolder.set(other.device.backend, other);
    const kept = guests.filter((other) => ofFolder.get(other.device.backend) === other && (other === guest || other.at));
    return { together: kept.map((other) => (other === guest ? '' : other.at)), parted: guests.filter((other) => !kept.includes(other)).map(({ name }) => name) };
  }

  view(): TimelineView {
    const snapshots = this.#store.list().map((info) => this.#viewOf(info)).reverse();
    return {
      snapshots,
      isKept: this.#files.isKept,
      reason: this.#files.reason,
      used: snapshots.reduce((sum, { addedBytes }) => sum + addedBytes, 0),
      interval: this.#interval,
    };
  }

  #viewOf(info: SnapshotInfo): SnapshotView {
    const { id, name, created, addedBytes } = info;
    return {
      id, name, addedBytes,
      guest: summaryOf(info).guest ?? '',
      kind: kindOf(info),
      created: Date.parse(created),
      guests: [...this.#guests()].filter(({ at }) => at === id).map((holder) => holder.id),
      ...(this.#standstills.has(id) && { standstill: this.#standstills.get(id)! }),
    };
  }

  take(guest: GuestId, name: string): Promise<string> {
    return this.inTurn(async () => (await this.#freeze(this.#guest(guest), 'manual', name)).id);
  }

  /** As the automatic ones. */
  takeNow(guest: Guest): Promise<FreezeResult> {
    return this.inTurn(() => this.#freeze(guest, 'automatic'));
  }

  /** A snapshot that only forks need. */
  takeForFork(guest: Guest, sessionOnly: boolean): Promise<string> {
    return this.inTurn(async () => (await this.#freeze(guest, 'fork', '', sessionOnly)).id);
  }

  async #freeze(guest: Guest, kind: SnapshotKind, name = '', sessionOnly = false): Promise<FreezeResult> {
    const result = await guest.freeze(name, { guest: guest.name, kind, ...this.#company(guest) } satisfies Summary, sessionOnly);
    this.#standstills.set(result.id, result.standstill);
    this.#onChange();
    return result;
  }

  rewind(guest: GuestId, snapshot: string): Promise<void> {
    return this.inTurn(async () => {
      await this.#guest(guest).rewind(snapshot);
      this.#onChange();
    });
  }

  rename(snapshot: string, name: string): Promise<void> {
    return this.inTurn(async () => {
      await this.#store.rename(snapshot, name);
      this.#onChange();
    });
  }

  remove(snapshot: string): Promise<void> {
    return this.inTurn(async () => {
      await this.#store.remove(snapshot);
      await this.#store.gc();
      this.#onChange();
    });
  }

  export(snapshot: string): Promise<{ name: string; blob: Blob }> {
    return this.inTurn(async () => {
      const { name, created } = this.#store.info(snapshot);
      const parts = await this.#store.export(snapshot);
      return { name: `${(name || created).replaceAll(/[^\w.-]+/g, '-')}.layer`, blob: new Blob(parts as Uint8Array<ArrayBuffer>[]) };
    });
  }

  import(file: Blob): Promise<string> {
    return this.inTurn(async () => {
      const id = await this.#store.import(new Uint8Array(await file.arrayBuffer()));
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

  /** Removes the oldest automatic snapshots when there are too many. */
  async #prune(): Promise<void> {
    const automatic = this.#store.list().filter((info) => ['automatic', 'fork'].includes(kindOf(info)));
    if (automatic.length <= AUTOMATIC + SURPLUS) return;
    const needed = new Set([...this.#guests()].map(({ at }) => at));
    for (const { id } of automatic.slice(0, -AUTOMATIC)) if (!needed.has(id)) await this.#store.remove(id);
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
    const result = this.#turn.then(action);
    this.#turn = result.catch(() => {});
    return result;
  }
}

/** What others have written there is of no use here. */
function summaryOf({ summary }: SnapshotInfo): Summary {
  return (summary ?? {}) as Summary;
}

function kindOf(info: SnapshotInfo): SnapshotKind {
  return summaryOf(info).kind ?? (info.name === 'start' ? 'start' : 'imported');
}
