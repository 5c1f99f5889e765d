import { joinSignals } from '../join-signals.ts';
import { randomUuid } from '../random-uuid.ts';
import type { ChunkCodec } from '../snapshot/codec/codec.ts';
import { type FreezeOptions, MachineSnapshots } from '../snapshot/machine-snapshots.ts';
import { MachineState } from '../snapshot/machine-state.ts';
import type { FileStore } from '../snapshot/store/file-store.ts';
import { SnapshotStore } from '../snapshot/store/snapshot-store.ts';
import { V86Machine } from '../v86/adapter.ts';
import type { MachineLease } from '../v86/lease.ts';
import type { V86Like } from '../v86/types.ts';
import { type MigrationChannel, MigrationError, MigrationUnknownError } from './channel.ts';
import { askFate, settle, switchOver } from './commit.ts';
import type { Fate } from './fates.ts';
import { Link, MESSAGE } from './link.ts';

/** A layer is sent in messages of up to this size. */
const PIECE = 256 << 10;
/** What they begin with, and the least; one that takes longer than `SLOW` ms is followed by smaller ones, one that takes less than `QUICK` by larger ones. */
const FIRST_PIECE = 16 << 10;
const LEAST_PIECE = 1 << 10;
const SLOW = 2000;
const QUICK = 100;
const MAX_ROUNDS = 20;
/** Of the guest's time that a throttled one keeps: with less it would be paused for seconds each time. */
const LEAST_SHARE = 1 / 64;
/** What the guest may have changed for the last round to be the next one, in bytes. */
const SMALL = 2 << 20;

/** How far a migration is, after each round. */
export interface MigrationProgress {
  /** From 1. */
  round: number;
  /** Pages of RAM that were sent in it. */
  pages: number;
  /** Sent so far. */
  bytes: number;
}

/** Options of {@link migrateOut}. */
export interface MigrationOptions {
  /** What both sides know, and nobody else: from `makeToken`. It is never sent. */
  token: string;
  /** What the machine is, for the destination to make one like it: as in {@link FreezeOptions}. */
  machine: FreezeOptions['machine'];
  /** What its owner wants to have there, of the moment when it is stopped: see `Successor.start`. Plain data, bytes included. */
  summary?: () => unknown;
  /** Filesystems stay where they are, and the destination's devices have the same ones: see {@link FreezeOptions}. Default: false. */
  sessionOnly?: boolean;
  /** Hashes and compresses what is sent: from `loadCodec`. */
  codec: ChunkCodec;
  /** Bytes a second, at most. Default: what the link takes. */
  bandwidth?: number;
  /**
   * When the guest changes more than can be sent: `give-up`, or `throttle` it, more with each round, or `stop` it all the same
   * and pause it for as long as it takes. Default: `throttle`.
   */
  policy?: 'throttle' | 'give-up' | 'stop';
  /** For how long the other side may say or take nothing before the link is given up, in milliseconds. Default: 30,000. */
  timeoutMs?: number;
  /** Called after each round. */
  onProgress?: (progress: MigrationProgress) => void;
  /** Ends it, as long as it has not been switched over. */
  signal?: AbortSignal;
}

/** On which side a machine goes on. */
export type MigrationFate = 'runs there' | 'runs here' | 'unknown';

/** What a migration that has succeeded took. */
export interface MigrationResult {
  rounds: number;
  /** Sent, in all rounds together. */
  bytes: number;
  /** For how long the machine ran on neither side, in milliseconds. */
  downtime: number;
}

/** Sends what is written, layer by layer, and keeps nothing. */
class SendingStore implements FileStore {
  readonly #link: Link;
  readonly #pace: (bytes: number) => Promise<void>;
  /** Of the next piece. A slow link must not seem silent to the other side. */
  #size = FIRST_PIECE;

  constructor(link: Link, pace: (bytes: number) => Promise<void>) {
    this.#link = link;
    this.#pace = pace;
  }

  async list(): Promise<string[]> {
    return [];
  }

  async read(name: string): Promise<Uint8Array> {
    throw new MigrationError(`${name} was sent, and is not here any more`);
  }

  async write(name: string, parts: readonly Uint8Array[]): Promise<void> {
    await this.#link.sendJson(MESSAGE.LAYER, { name, length: parts.reduce((sum, { length }) => sum + length, 0) });
    const piece = new Uint8Array(PIECE);
    let filled = 0;
    const flush = async () => {
      if (!filled) return;
      const began = performance.now();
      await this.#link.send(MESSAGE.BYTES, piece.subarray(0, filled));
      await this.#pace(filled);
      const took = performance.now() - began;
      filled = 0;
      if (took > SLOW) this.#size = Math.max(LEAST_PIECE, this.#size / 2);
      if (took < QUICK) this.#size = Math.min(PIECE, this.#size * 2);
    };
    for (const part of parts) {
      for (let at = 0; at < part.length; ) {
        const count = Math.min(this.#size - filled, part.length - at);
        piece.set(part.subarray(at, at + count), filled);
        filled += count;
        at += count;
        if (filled === this.#size) await flush();
      }
    }
    await flush();
  }

  async remove(): Promise<void> {}
}

/**
 * Moves the machine of `emulator` to the other side of `channel` while its guest runs: rounds of what has changed, then
 * a stop, the rest, and the switch. Afterwards the emulator is paused and can't be run, for its owner to destroy.
 *
 * @throws MigrationError when it did not come to the switch: the machine runs on as if nothing had happened.
 * MigrationUnknownError when it can't be told whether it was switched over: the machine is paused, and can't be run until that is settled.
 * MachineStateError when it can't be migrated now.
 */
export async function migrateOut(
  emulator: V86Like,
  channel: MigrationChannel,
  options: MigrationOptions,
): Promise<MigrationResult> {
  const {
    token,
    machine,
    summary,
    sessionOnly,
    codec,
    bandwidth = Infinity,
    policy = 'throttle',
    timeoutMs,
    onProgress,
    signal,
  } = options;
  const id = randomUuid();
  const { lease } = V86Machine.of(emulator);
  const departure = await lease.depart().catch((error: unknown) => {
    channel.close();
    throw error;
  });
  const { signal: cancel, release } = joinSignals([departure.signal, signal]);
  const end = () => channel.close();
  cancel.addEventListener('abort', end);
  let link: Link | undefined;
  let resume = () => {};
  const throttle = new Throttle(lease);
  try {
    cancel.throwIfAborted();
    link = await Link.open(channel, 'source', token, timeoutMs);
    await link.sendJson(MESSAGE.DESCRIPTION, { id, machine });
    await link.receive(MESSAGE.ACCEPTED);
    const store = await SnapshotStore.open(new SendingStore(link, pacer(bandwidth)), codec);
    const snapshots = await MachineSnapshots.of(emulator, store);
    let rounds = 0;
    const send = async (isLast: boolean) => {
      const before = link!.bytes;
      const { id: snapshot, changedPages } = await snapshots.freeze({ machine, summary, sessionOnly, isJudged: false });
      await link!.sendJson(MESSAGE.ROUND, { snapshot, isLast });
      await link!.receive(MESSAGE.READY);
      rounds++;
      onProgress?.({ round: rounds, pages: changedPages, bytes: link!.bytes });
      return link!.bytes - before;
    };
    for (let last = Infinity; ; ) {
      cancel.throwIfAborted();
      const sent = await send(false);
      if (sent <= SMALL) break;
      // Not getting smaller: the guest changes as much as is sent.
      if (rounds >= 3 && sent > last * 0.8) {
        if (policy === 'stop') break;
        if (policy === 'give-up' || rounds >= MAX_ROUNDS) {
          throw new MigrationError(
            `the guest changes more than can be sent: ${(sent / 1e6).toFixed(1)} MB in round ${rounds}; let it rest, raise the bandwidth, or choose another policy`,
          );
        }
        throttle.more();
      }
      last = sent;
    }
    await throttle.stop();
    // Here the machine still runs: what is being changed can be answered.
    resume = await MachineState.of(V86Machine.of(emulator)).still();
    await departure.stand();
    const stopped = performance.now();
    await send(true);
    cancel.throwIfAborted();
    cancel.removeEventListener('abort', end);
    await switchOver(link, departure, id);
    await link.send(MESSAGE.HEARD, new Uint8Array(0)).catch(() => {});
    return { rounds, bytes: link.bytes, downtime: performance.now() - stopped };
  } catch (error) {
    if (error instanceof MigrationUnknownError) throw error;
    await link?.refuse((error as Error).message);
    departure.keep();
    if (departure.signal.aborted)
      throw new MigrationError('the migration was cancelled because the machine was stopped', { cause: error });
    if (signal?.aborted)
      throw new MigrationError('the migration was cancelled: the machine keeps running here', { cause: error });
    throw error instanceof MigrationError
      ? error
      : new MigrationError(`the migration failed, and the machine keeps running here: ${(error as Error).message}`, {
          cause: error,
        });
  } finally {
    cancel.removeEventListener('abort', end);
    release();
    await throttle.stop();
    // It serves again when the machine runs again, whenever that is.
    resume();
    channel.close();
  }
}

/**
 * Asks the other side what became of a migration whose end is unknown, over a new channel. When it was not switched over it never will be,
 * and the machine goes on here. `unknown`: it does not know of this migration, and the machine is paused: the owner has to decide,
 * by `resume` or `handOver` of the error.
 *
 * @throws MigrationError when there is no answer.
 */
export async function settleMigration(
  unknown: MigrationUnknownError,
  channel: MigrationChannel,
  token: string,
): Promise<MigrationFate> {
  return onLink(channel, token, (link) => settle(link, unknown));
}

/** As {@link settleMigration}, for callers that have only the migration's id. When the answer is `runs here`, the machine never starts there, and has to be resumed here. */
export async function askForFate(id: string, channel: MigrationChannel, token: string): Promise<MigrationFate> {
  return onLink(channel, token, (link) => askFate(link, id));
}

async function onLink(
  channel: MigrationChannel,
  token: string,
  ask: (link: Link) => Promise<Fate | 'unknown'>,
): Promise<MigrationFate> {
  const link = await Link.open(channel, 'source', token);
  try {
    return ({ started: 'runs there', never: 'runs here', unknown: 'unknown' } as const)[await ask(link)];
  } finally {
    link.close();
  }
}

/** Waits as long as `bandwidth` demands after each piece. */
function pacer(bandwidth: number): (bytes: number) => Promise<void> {
  let due = performance.now();
  return async (bytes) => {
    if (bandwidth === Infinity) return;
    due = Math.max(due, performance.now() - 100) + (bytes / bandwidth) * 1000;
    const wait = due - performance.now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
  };
}

/** Lets a guest run for a part of the time only. */
class Throttle {
  readonly #lease: MachineLease;
  #share = 1;
  #running: Promise<void> | undefined;

  constructor(lease: MachineLease) {
    this.#lease = lease;
  }

  /** Half of what it had, down to the least. */
  more(): void {
    this.#share = Math.max(this.#share / 2, LEAST_SHARE);
    this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    const SLICE = 20;
    const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    while (this.#share < 1) {
      const resume = await this.#lease.hold();
      await pause(SLICE * (1 / this.#share - 1));
      resume();
      await pause(SLICE);
    }
  }

  async stop(): Promise<void> {
    this.#share = 1;
    await this.#running;
    this.#running = undefined;
  }
}
