import { concat } from '../bytes.ts';
import type { FileSystem } from '../fs/filesystem.ts';
import { OneAtATime } from '../one-at-a-time.ts';
import { V86Machine } from '../v86/adapter.ts';
import type { V86Like } from '../v86/types.ts';
import { deviceStateLength, keepDeviceState, readDeviceState } from './device-state.ts';
import { MissingChunkError, SnapshotError } from './errors.ts';
import { type ChangedPages, GuestRam } from './guest-ram.ts';
import { chunkNames, KeptRanges, listed, nameOf } from './kept-ranges.ts';
import { type Frozen, fromHex, hashNames, toHex } from './layer.ts';
import { MachineState, type SavedMachine } from './machine-state.ts';
import { CHUNK_BYTES, PageMap } from './ram-map.ts';
import type { RestorePolicies, RestoreReport } from './session-only.ts';
import type { SnapshotStore } from './store/snapshot-store.ts';

/** Bytes of a device state that has neither devices nor files, amply. */
const ENVELOPE = 4096;
export interface RestoreOptions extends RestorePolicies {
  /**
   * The machine has just been made and nothing was restored into it, so that its RAM need not be looked at, and is written while it is
   * read: when that fails the machine is of no use any more. Default: false.
   */
  isFresh?: boolean;
  /** The machine has not run since the last restore, so that its RAM is known. Default: false. */
  isUnchanged?: boolean;
  /** Another snapshot will be restored before the machine runs, so that this one's device state need not be right. Default: false. */
  isInterim?: boolean;
}

/** Options of {@link MachineSnapshots.freeze}. */
export interface FreezeOptions {
  /** A name to find it by. Default: none. */
  name?: string;
  /** What has to be the same where it is restored: emulator version, guest image, memory, devices. */
  machine: Frozen['machine'];
  /** Told by `inspect`. A function is asked at the moment of the freeze. */
  summary?: unknown | (() => unknown);
  /** Filesystems stay where they are, all or these, and only their identity is kept: for those that several guests share. Default: false. */
  sessionOnly?: boolean | readonly FileSystem[];
  /**
   * Whether the state of the devices is judged as a restore would, before it is said to be stored. Default: true. False is for those who
   * restore it themselves before they rely on it.
   */
  isJudged?: boolean;
  /** Milliseconds to wait for a filesystem that is being changed and has not answered yet. Default: 10,000. */
  patience?: number;
}

/** What came of a freeze. */
export interface FreezeResult {
  id: string;
  /** For how long the guest was paused, in milliseconds. */
  standstill: number;
  /** Pages of RAM that had changed since the snapshot before. */
  changedPages: number;
}

/** What a frozen moment is made of, before it is stored: nothing here changes when the guest goes on. */
interface Moment {
  pages: ChangedPages;
  state: Uint8Array;
  devices: SavedMachine;
  summary: unknown;
}

/**
 * Freezes one machine into a {@link SnapshotStore} and takes it back, by what has changed: the pages
 * of RAM that a scan finds, and the chunks of files that are not in the store yet. The guest stands
 * still for the scan and the copy of what has changed; the rest is done while it runs.
 */
export class MachineSnapshots {
  readonly #machine: V86Machine;
  readonly #store: SnapshotStore;
  readonly #ram: GuestRam;
  #last = '';
  readonly #ranges = new KeptRanges();
  /** Names of chunks that are files' bytes, by their buffers: those never change. */
  readonly #hashes = new WeakMap<ArrayBufferLike, { offset: number; length: number; name: string }>();
  /** Freezes and restores. */
  readonly #changes = new OneAtATime();

  /** For the machine of `emulator`, which need not have virtio-fs devices, and has to be new or known: see `V86Machine.of`. */
  static async of(emulator: V86Like, store: SnapshotStore): Promise<MachineSnapshots> {
    const machine = V86Machine.of(emulator);
    MachineState.of(machine);
    await machine.ready;
    return new MachineSnapshots(machine, store);
  }

  private constructor(machine: V86Machine, store: SnapshotStore) {
    this.#machine = machine;
    this.#store = store;
    this.#ram = new GuestRam(machine.ram);
  }

  get #devices(): MachineState {
    return MachineState.of(this.#machine);
  }

  /** Of the last restore. */
  get report(): RestoreReport {
    return this.#devices.report;
  }

  /** The snapshot that the machine was frozen to, or restored from, last; '' for none. */
  get last(): string {
    return this.#last;
  }

  /**
   * Takes a snapshot of this very moment, or of the one when an earlier freeze or restore has ended.
   * The guest goes on at once; the snapshot is stored when this settles.
   */
  freeze(options: FreezeOptions): Promise<FreezeResult> {
    return this.#changes.run(async () => {
      try {
        return await this.#freezeNow(options);
      } catch (error) {
        if (!(error instanceof MissingChunkError)) throw error;
        // Another process has removed what this one built on. Now nothing is left to build on.
        return this.#freezeNow(options);
      }
    });
  }

  async #freezeNow(options: FreezeOptions): Promise<FreezeResult> {
    const capture = () => {
      const started = performance.now();
      // Earlier snapshots, which this one builds on, may have been removed.
      if (!this.#ram.chunks.every((name) => this.#store.has(name))) this.#ram.forget();
      return { moment: this.#capture(options), standstill: performance.now() - started };
    };
    const { moment, standstill } = await this.#machine.lease.inTurn('freeze', () =>
      this.#devices.isChanging ? this.#whenStill(capture, options.patience) : capture(),
    );
    const id = await this.#orStartOver(() => this.#keep(moment, options));
    return { id, standstill, changedPages: moment.pages.count };
  }

  async #whenStill<T>(action: () => T, patience: number | undefined): Promise<T> {
    const resume = await this.#devices.still(patience);
    try {
      return action();
    } finally {
      resume();
    }
  }

  /**
   * Takes the machine to a snapshot, whether or not it has run before. Returns for how long it stood
   * still, in milliseconds; what could not come back as it was is in {@link report}.
   *
   * @throws SnapshotError when that can't be; the machine goes on as if nothing had been asked.
   */
  restore(id: string, options: RestoreOptions = {}): Promise<number> {
    return this.#changes.run(() =>
      this.#machine.lease.inTurn('restore', async () => {
        const load = await this.#prepare(id, options);
        const resume = await this.#machine.lease.hold();
        const started = performance.now();
        try {
          const finish = await load();
          finish();
          return performance.now() - started;
        } finally {
          resume();
        }
      }),
    );
  }

  /**
   * As {@link restore}, of a machine that another one moves into, but for its virtio-fs devices: they are restored when what it returns is called,
   * which can't fail any more. Until then sessions on filesystems that have stayed where they are go on elsewhere.
   */
  stage(id: string, options: RestoreOptions = {}): Promise<() => void> {
    return this.#changes.run(() =>
      this.#machine.lease.inTurn('fill', async () => (await this.#prepare(id, options))()),
    );
  }

  /** What it returns is called while the machine is paused, and restores it but for its devices; those are what that returns. */
  async #prepare(
    id: string,
    { isFresh = false, isUnchanged = false, isInterim = false, ...policies }: RestoreOptions,
  ): Promise<() => Promise<() => void>> {
    const frozen = this.#store.frozen(id);
    if (frozen.ram.pageCount !== this.#ram.pageCount) {
      throw new SnapshotError(
        `memory differs: the snapshot has ${frozen.ram.pageCount / 256} MiB, this emulator ${this.#ram.pageCount / 256}; make it with the snapshot's`,
      );
    }
    const state = await this.#readState(frozen);
    const devices = await this.#readDevices(frozen);
    const target = PageMap.decode(frozen.ram);
    return () =>
      this.#orStartOver(async () => {
        const fill = await this.#ram.fill(target, this.#store, { isFresh, isUnchanged });
        // Not before: other machines on the same filesystems have gone on meanwhile.
        const restoreDevices = isInterim ? () => {} : this.#devices.prepareState(devices, policies);
        this.#machine.applyState(state, (ram) => fill.write(ram));
        fill.settle();
        this.#last = id;
        return restoreDevices;
      });
  }

  /** What a scan has found is lost when the rest fails: the next one has to find everything. */
  async #orStartOver<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      this.#ram.forget();
      this.#ranges.forget();
      throw error;
    }
  }

  /** All that has to be done while the guest is paused; synchronous, so between two of its ticks. */
  #capture({ summary = {}, sessionOnly }: FreezeOptions): Moment {
    return {
      pages: this.#ram.capture(),
      state: this.#machine.captureState(),
      devices: this.#devices.capture(sessionOnly),
      summary: typeof summary === 'function' ? (summary() as unknown) : summary,
    };
  }

  async #keep(
    { pages, state, devices, summary }: Moment,
    { name = '', machine, isJudged = true }: FreezeOptions,
  ): Promise<string> {
    const { codec } = this.#store;
    const chunks = new Map<string, Uint8Array>();
    const add = (bytes: Uint8Array): Uint8Array => {
      const hash = codec.hash(bytes);
      chunks.set(toHex(hash), bytes);
      return hash;
    };
    const ram = this.#ram.place(pages, add);
    const stateHashes: Uint8Array[] = [];
    for (let at = 0; at < state.length; at += CHUNK_BYTES) stateHashes.push(add(state.subarray(at, at + CHUNK_BYTES)));
    const kept = keepDeviceState(devices, this.#ranges, (bytes) => {
      const hash = this.#hashOf(bytes);
      chunks.set(toHex(hash), bytes);
      return hash;
    });
    if (isJudged) {
      const ranges = this.#known(rangesIn(devices));
      this.#devices.judge(
        readDeviceState(kept, { chunk: (name) => chunks.get(name), range: (name) => ranges.get(name) }),
      );
    }
    const id = await this.#store.add(
      {
        created: new Date().toISOString(),
        name,
        parent: this.#last,
        machine,
        summary,
        ram,
        state: concat(stateHashes),
        stateLength: state.length,
        ...kept,
      },
      chunks,
    );
    this.#last = id;
    return id;
  }

  #hashOf(bytes: Uint8Array): Uint8Array {
    const known = this.#hashes.get(bytes.buffer);
    if (known?.offset === bytes.byteOffset && known.length === bytes.length) return fromHex(known.name);
    const hash = this.#store.codec.hash(bytes);
    this.#hashes.set(bytes.buffer, { offset: bytes.byteOffset, length: bytes.length, name: toHex(hash) });
    return hash;
  }

  async #readState({ state, stateLength }: Frozen): Promise<Uint8Array> {
    const names = hashNames(state);
    const length = this.#store.lengthOf(names);
    if (length !== stateLength)
      throw new SnapshotError(
        `the snapshot is invalid: its emulator state has ${length} bytes instead of ${stateLength}`,
      );
    const chunks = await this.#store.chunks(names);
    return concat(names.map((name) => chunks.get(name)!));
  }

  async #readDevices(frozen: Frozen): Promise<SavedMachine> {
    const names = new Set(hashNames(frozen.deviceChunks));
    const length = this.#store.lengthOf(names) + deviceStateLength(frozen, (parts) => this.#store.lengthOf(parts));
    const { capacity } = this.#devices;
    if (length > capacity + ENVELOPE) {
      const reason = capacity
        ? `the filesystems here have room for ${capacity}: give them a larger \`size\``
        : 'this machine has no filesystem: attach the devices of the snapshot';
      throw new SnapshotError(`the files of the snapshot take ${length} bytes, and ${reason}`);
    }
    const here = [...rangesIn({ filesystems: this.#devices.files() })];
    const known = this.#known(here, names);
    const spared = new Set([...known.values()].flatMap((range) => chunkNames(this.#ranges.of(range)!)));
    const stay = new Set(known.values());
    const chunks = this.#unchanged(
      here.filter((range) => !stay.has(range)),
      names,
    );
    const parts = hashNames(frozen.deviceParts);
    const read = async (wanted: Iterable<string>) => {
      for (const [name, bytes] of await this.#store.chunks(wanted)) {
        chunks.set(name, bytes);
        if (names.has(name)) this.#hashes.set(bytes.buffer, { offset: bytes.byteOffset, length: bytes.length, name });
      }
    };
    await read([...names, ...parts].filter((name) => !chunks.has(name) && !spared.has(name)));
    const lacking = new Set<string>();
    const source = {
      chunk: (name: string) => {
        const bytes = chunks.get(name);
        if (!bytes && spared.has(name)) lacking.add(name);
        return bytes;
      },
      range: (name: string) => known.get(name),
      ranges: this.#ranges,
      limit: capacity + ENVELOPE,
    };
    try {
      return readDeviceState(frozen, source);
    } catch (error) {
      if (!lacking.size) throw error;
    }
    // Another range has the same content as one that is here.
    await read([...spared].filter((name) => names.has(name) && !chunks.has(name)));
    return readDeviceState(frozen, source);
  }

  /** Of `ranges` those that are kept, by their names, if all chunks that they take are among `names`. */
  #known(ranges: Iterable<object>, names?: ReadonlySet<string>): Map<string, object> {
    const known = new Map<string, object>();
    for (const range of ranges) {
      const kept = this.#ranges.of(range);
      const name = kept && nameOf(kept.pieces);
      if (name && (!names || chunkNames(kept).every((chunk) => names.has(chunk)))) known.set(name, range);
    }
    return known;
  }

  /** Those chunks that files have here now: what has not changed since it was frozen or restored need not be read. */
  #unchanged(ranges: Iterable<object>, names: ReadonlySet<string>): Map<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    for (const range of ranges) {
      for (const bytes of listed(range)) {
        const known = this.#hashes.get(bytes.buffer);
        if (known?.offset === bytes.byteOffset && known.length === bytes.length && names.has(known.name))
          found.set(known.name, bytes);
      }
    }
    return found;
  }
}

/** The ranges of all filesystems that have them. */
function* rangesIn({ filesystems }: Pick<SavedMachine, 'filesystems'>): Generator<object> {
  for (const filesystem of filesystems) yield* (filesystem as { ranges?: object[] }).ranges ?? [];
}
