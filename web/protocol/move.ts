import type { ProxyMarked } from 'comlink';
import type { GuestId, GuestInfo } from '../protocol.ts';

/** How a move goes. */
export interface MoveProgress {
  /** The one that leaves; undefined while one is on its way here. */
  guest?: GuestId;
  /** From 1; where it goes out. */
  round?: number;
  /** Bytes on their way so far. */
  bytes: number;
}

export interface MoveResult {
  /** `unknown`: the link broke in the switch, and the other side can't be asked. The guest is paused: {@link MoveApi.decide}. */
  outcome: 'moved' | 'unknown';
  /** When it began, in milliseconds since 1970: no snapshot of the guest that was taken here is younger. */
  began: number;
  /** For how long the guest was paused, in milliseconds; of one that was moved. */
  downtime?: number;
}

/**
 * Live migration of guests, one at a time. Calls throw an `Error` that says what went wrong, when the guest goes on here as if nothing had
 * been asked.
 */
export interface MoveApi extends ProxyMarked {
  /** Waits for another tab that has started with the code, and moves the guest there; until anything else is begun here. */
  toTab(guest: GuestId, code: string): Promise<MoveResult>;
  /** To a `v86-virtiofs serve --incoming ws:PORT`, by the address it prints. */
  toAddress(guest: GuestId, address: string): Promise<MoveResult>;
  /** Takes over the guest of a `v86-virtiofs migrate --to ws:PORT`, by the address it prints. */
  fromAddress(address: string): Promise<GuestInfo>;
  /** Breaks off what is under way, until it is switched over. */
  cancel(): void;
  /** After `unknown`: whether the guest runs there. It is ended here then, and goes on here otherwise. */
  decide(guest: GuestId, runsThere: boolean): Promise<void>;
}
