import type { ChunkCodec } from '../snapshot/codec/codec.ts';
import { type FreezeOptions, MachineSnapshots } from '../snapshot/machine-snapshots.ts';
import type { RestorePolicies } from '../snapshot/session-only.ts';
import { MemoryStore } from '../snapshot/store/file-store.ts';
import { SnapshotStore } from '../snapshot/store/snapshot-store.ts';
import { V86Machine } from '../v86/adapter.ts';
import type { V86Like } from '../v86/types.ts';
import { decodeDescription, decodeLayer, decodeRound } from './bodies.ts';
import { type MigrationChannel, MigrationError } from './channel.ts';
import { takeOver, tellFate } from './commit.ts';
import { type FateStore, MemoryFates } from './fates.ts';
import { Link, MESSAGE } from './link.ts';
import { checkToken } from './token.ts';

/** The machine that wants to move in. */
export interface Description {
  /** Of this migration. */
  id: string;
  /** As the source gave it to {@link MigrationOptions}; foreign data, to be checked. */
  machine: FreezeOptions['machine'];
}

/** A machine that can take over. It is paused until it is told to start. */
export interface Successor {
  readonly emulator: V86Like;
  /** Lets it run, which it can't be before, and settles when it does. `summary`: what the source had to say of it when it was stopped. */
  start(summary: unknown): Promise<void>;
  /** Settles when it can be used; after {@link start}. */
  ready(): Promise<void>;
  /** It is not needed after all. */
  destroy(): Promise<void>;
}

/** Options of {@link MigrationTarget}. */
export interface IncomingOptions<S extends Successor> {
  /** As in `MigrationOptions`. */
  token: string;
  /** Checks and unpacks what comes: from `loadCodec`. */
  codec: ChunkCodec;
  /** Makes a machine like the one described, which is paused; throws, with the reason, when that can't be. */
  make(description: Description): Promise<S>;
  /** What to do with what a session on a filesystem that stays where it is can't have here: see `sessionOnly` of the source. */
  policies?: Omit<RestorePolicies, 'isMove'>;
  /** Bytes that may be kept on the way in. Default: 2 GiB. */
  limit?: number;
  /** How many machines it takes, those on their way included. Default: as many as come. */
  maxMachines?: number;
  /** For how long the other side may say or take nothing before the link is given up, in milliseconds. Default: 30,000. */
  timeoutMs?: number;
  /** Where it is taken down what became of each machine. Default: as long as the target lives. */
  fates?: FateStore;
  /** Told how many bytes have come so far. */
  onProgress?: (bytes: number) => void;
  /** Told, of each machine that was taken over, when the other side has said that it knows, or has asked; with the id of its description. */
  onKnown?: (id: string) => void;
  /** Told what went wrong with a machine that is here already, and is returned all the same: there is no other. */
  onProblem?: (error: Error) => void;
}

const DEFAULT_LIMIT = 2 * 1024 ** 3;
/** Bytes that a layer takes beside its own. */
const LAYER_COST = 4096;

/** Takes machines over, and tells what became of each for ever. */
export class MigrationTarget<S extends Successor> {
  readonly options: IncomingOptions<S>;
  readonly #fates: FateStore;
  #machines = 0;

  /** @throws MigrationError when the token is not one of `makeToken`. */
  constructor(options: IncomingOptions<S>) {
    checkToken(options.token);
    this.options = options;
    this.#fates = options.fates ?? new MemoryFates();
  }

  /**
   * Serves one connection. Returns the machine, which runs; undefined when the other side only asked what became of an earlier one.
   *
   * @throws MigrationError when nothing came of it: the machine goes on where it was.
   */
  async serve(channel: MigrationChannel): Promise<S | undefined> {
    const { token, maxMachines = Infinity, timeoutMs } = this.options;
    const link = await Link.open(channel, 'destination', token, timeoutMs);
    let successor: S | undefined;
    let isCounted = false;
    try {
      const first = await link.receive(MESSAGE.DESCRIPTION, MESSAGE.QUERY);
      if (first.type === MESSAGE.QUERY) {
        const { id, fate } = await tellFate(link, this.#fates, first);
        if (fate === 'started') this.options.onKnown?.(id);
        link.close();
        return undefined;
      }
      const description = decodeDescription(first.body);
      const { id } = description;
      if (this.#machines >= maxMachines) throw new MigrationError('it has a machine already');
      isCounted = true;
      this.#machines++;
      const made = (successor = await this.options.make(description));
      const begin = V86Machine.of(made.emulator).lease.arrive();
      await this.#fates.accept(id);
      await link.send(MESSAGE.ACCEPTED, new Uint8Array(0));
      const { finish, summary } = await this.#receiveRounds(link, made);
      const { problem } = await takeOver(link, this.#fates, id, async () => {
        begin();
        finish();
        await made.start(summary);
      });
      void this.#hear(link, id);
      try {
        if (problem) throw problem;
        await made.ready();
      } catch (error) {
        this.options.onProblem?.(error as Error);
      }
      return made;
    } catch (error) {
      if (isCounted) this.#machines--;
      await link.refuse((error as Error).message);
      await successor?.destroy();
      throw error instanceof MigrationError
        ? error
        : new MigrationError(`the machine could not be taken over: ${(error as Error).message}`, { cause: error });
    }
  }

  async #hear(link: Link, id: string): Promise<void> {
    try {
      await link.receive(MESSAGE.HEARD);
      this.options.onKnown?.(id);
    } catch {
      // It may ask.
    }
  }

  /** Each round is put into the machine at once, so that the last one has little to do: `finish` does what is left. */
  async #receiveRounds(link: Link, { emulator }: Successor): Promise<{ finish: () => void; summary: unknown }> {
    const { codec, policies, limit = DEFAULT_LIMIT, onProgress } = this.options;
    const files = new MemoryStore();
    const store = await SnapshotStore.open(files, codec);
    const snapshots = await MachineSnapshots.of(emulator, store);
    let kept = 0;
    let came = 0;
    let isFirst = true;
    for (;;) {
      const { type, body } = await link.receive(MESSAGE.LAYER, MESSAGE.ROUND);
      if (type === MESSAGE.LAYER) {
        const { name, length } = decodeLayer(body);
        if ((kept += length + LAYER_COST) > limit)
          throw new MigrationError(`the machine takes more than ${limit} bytes: raise the limit`);
        await files.write(name, [await receiveBytes(link, length, (part) => onProgress?.(came + part))]);
        came += length;
        await store.readLayer(name);
        continue;
      }
      const { snapshot, isLast } = decodeRound(body);
      const finish = await snapshots.stage(snapshot, {
        ...policies,
        isMove: true,
        isFresh: isFirst,
        isUnchanged: !isFirst,
        isInterim: !isLast,
      });
      isFirst = false;
      await link.send(MESSAGE.READY, new Uint8Array(0));
      if (isLast) return { finish, summary: store.info(snapshot).summary };
    }
  }
}

async function receiveBytes(link: Link, length: number, onProgress: (bytes: number) => void): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const { body } = await link.receive(MESSAGE.BYTES);
    if (body.length === 0 || at + body.length > length) throw new MigrationError('a layer is not as long as announced');
    bytes.set(body, at);
    at += body.length;
    onProgress(at);
  }
  return bytes;
}
