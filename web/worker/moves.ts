import { proxyMarker } from 'comlink';
import {
  loadCodec,
  type MigrationChannel,
  type MigrationFate,
  MigrationTarget,
  MigrationUnknownError,
  type Successor,
  settleMigration,
} from '../../device/index.ts';
import type { MachineConfig } from '../../harness/machine/config.ts';
import { isAddress } from '../protocol/address.ts';
import { called } from '../protocol/format.ts';
import type { GuestId, GuestInfo, MoveApi, MoveProgress, MoveResult } from '../protocol.ts';
import type { Guest } from './guest.ts';
import { configOfSnapshot } from './machine-config.ts';
import { call, join, offer, parseAddress } from './rendezvous.ts';

const SETTLE_ATTEMPTS = 5;
const SETTLE_INTERVAL = 1000;

interface MoveEvents {
  guest(id: GuestId): Guest;
  /** A machine that is paused, for a guest to move into. */
  make(config: MachineConfig): Promise<Guest>;
  /** A guest runs here now. */
  arrived(guest: Guest): Promise<void>;
  /** A guest runs elsewhere. */
  left(guest: Guest): Promise<void>;
  /** A guest may run elsewhere. */
  doubted(): Promise<void>;
  /** Runs what no snapshot may be taken in between. */
  undisturbed<T>(action: () => Promise<T>): Promise<T>;
  progress(progress: MoveProgress | undefined): void;
  /** Something that the visitor has to know. */
  problem(message: string): void;
}

interface Arrival extends Successor {
  readonly guest: Guest;
}

/** How the other side is reached. */
interface OtherSide {
  token: string;
  connect(signal: AbortSignal): Promise<MigrationChannel>;
  /** Calls it again, to ask what became of a guest. */
  ask(): Promise<MigrationChannel>;
}

/** Where a tab is asked what became of the guest that it has taken over. */
const inquiries = (code: string) => `${code} inquiries`;

/** Guests that come and go. */
export class Moves implements MoveApi {
  readonly [proxyMarker] = true;
  readonly #events: MoveEvents;
  /** Ends the waiting for another tab. */
  #offer: AbortController | undefined;
  /** Breaks off what is under way. */
  #current: AbortController | undefined;
  /** Over which a guest is on its way here, until it runs. */
  #arriving: MigrationChannel | undefined;
  readonly #unknown = new Map<GuestId, MigrationUnknownError>();

  constructor(events: MoveEvents) {
    this.#events = events;
  }

  async toTab(guest: GuestId, code: string): Promise<MoveResult> {
    this.#events.guest(guest).checkAlone();
    this.#offer?.abort();
    this.#offer = new AbortController();
    const channel = await offer(code, this.#offer.signal);
    try {
      return await this.#moveOut(guest, {
        token: code,
        connect: async () => channel,
        ask: () => join(inquiries(code)),
      });
    } finally {
      channel.close();
    }
  }

  async toAddress(guest: GuestId, address: string): Promise<MoveResult> {
    const { url, token } = parseAddress(address);
    return this.#moveOut(guest, { token, connect: (signal) => call(url, signal), ask: () => call(url) });
  }

  async #moveOut(id: GuestId, side: OtherSide): Promise<MoveResult> {
    const guest = this.#events.guest(id);
    guest.checkAlone();
    return this.#alone(id, async (signal) => {
      const channel = await side.connect(signal);
      return this.#events.undisturbed(async () => {
        const began = Date.now();
        try {
          const onProgress = ({ round, bytes }: { round: number; bytes: number }) =>
            this.#events.progress({ guest: id, round, bytes });
          const { downtime } = await guest.moveOut(channel, { token: side.token, signal, onProgress });
          await this.#events.left(guest);
          return { outcome: 'moved', began, downtime };
        } catch (error) {
          if (!(error instanceof MigrationUnknownError)) throw error;
          const fate = await this.#settle(error, side);
          if (fate === 'runs here') throw new Error(`the link broke, and ${called(guest.name)} keeps running here`);
          if (fate === 'runs there') {
            await this.#events.left(guest);
          } else {
            this.#unknown.set(id, error);
            await this.#events.doubted();
          }
          return { outcome: fate === 'unknown' ? 'unknown' : 'moved', began };
        }
      });
    });
  }

  async #settle(unknown: MigrationUnknownError, { token, ask }: OtherSide): Promise<MigrationFate> {
    for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
      try {
        return await settleMigration(unknown, await ask(), token);
      } catch {
        await new Promise((resolve) => setTimeout(resolve, SETTLE_INTERVAL));
      }
    }
    return 'unknown';
  }

  async decide(id: GuestId, runsThere: boolean): Promise<void> {
    const unknown = this.#unknown.get(id);
    if (!unknown) return;
    this.#unknown.delete(id);
    if (!runsThere) return unknown.resume();
    unknown.handOver();
    await this.#events.left(this.#events.guest(id));
  }

  cancel(): void {
    this.#offer?.abort();
    this.#current?.abort();
    this.#arriving?.close();
  }

  async fromAddress(address: string): Promise<GuestInfo> {
    const { url, token } = parseAddress(address);
    return (
      await this.#alone(undefined, async (signal) => this.#takeOver(await call(url, signal), this.#target(token)))
    ).info;
  }

  /** Takes over from the tab that has made the code, or from an address. */
  async from(place: string): Promise<Guest> {
    return this.#alone(undefined, async (signal) => {
      if (isAddress(place)) {
        const { url, token } = parseAddress(place);
        return this.#takeOver(await call(url, signal), this.#target(token));
      }
      const target = this.#target(place);
      const guest = await this.#takeOver(await join(place), target);
      void this.#answer(place, target);
      return guest;
    });
  }

  /** Tells the tab that a guest has come from what became of it, in case that it did not hear. */
  async #answer(code: string, target: MigrationTarget<Arrival>): Promise<never> {
    for (;;) void target.serve(await offer(inquiries(code))).catch(() => {});
  }

  #target(token: string): MigrationTarget<Arrival> {
    return new MigrationTarget<Arrival>({
      token,
      codec: loadCodec(),
      maxMachines: 1,
      onProgress: (bytes) => this.#events.progress({ bytes }),
      onProblem: ({ message }) => this.#events.problem(`The guest has arrived, but ${message}`),
      make: async ({ machine }) => {
        const guest = await this.#events.make(configOfSnapshot({ machine }));
        const successor = guest.moveIn();
        const start = (summary: unknown) => {
          this.#arriving = undefined;
          return successor.start(summary);
        };
        return { guest, ...successor, start };
      },
    });
  }

  async #takeOver(channel: MigrationChannel, target: MigrationTarget<Arrival>): Promise<Guest> {
    this.#arriving = channel;
    try {
      const { guest } = (await target.serve(channel))!;
      await this.#events.arrived(guest);
      return guest;
    } finally {
      this.#arriving = undefined;
    }
  }

  /** `guest`: the one that leaves. */
  async #alone<T>(guest: GuestId | undefined, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (!isSecureContext) throw new Error('browsers move guests for pages from https or localhost only');
    if (this.#current) throw new Error('a machine is on its way already: wait until it has arrived, or cancel that');
    this.#offer?.abort();
    this.#current = new AbortController();
    this.#events.progress({ ...(guest !== undefined && { guest }), bytes: 0 });
    try {
      return await action(this.#current.signal);
    } finally {
      this.#current = undefined;
      this.#events.progress(undefined);
    }
  }
}
