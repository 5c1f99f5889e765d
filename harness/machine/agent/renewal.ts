import type { Clock } from '../../../device/fs/clock.ts';
import { errnoName } from '../../../device/fs/errno.ts';

/** What a guest gets that comes back, before anything else is asked of it: see `GuestAgent.ready`. */
export interface Renewal {
  /** What its clock is set to. Default: it goes on as it stands. */
  clock?: Clock;
  /** Fresh random bytes, 32 to 256, that its kernel makes a new key from. Borrowed. Default: it draws on where it was. */
  seed?: Uint8Array;
}

/** A session that has not begun. */
export interface Beginning {
  renewal: Renewal | undefined;
  /** Whether the guest has answered, and only the renewal is waited for. */
  isWelcome: boolean;
  resolve(): void;
  reject(error: Error): void;
}

const SET_CLOCK = 1;
const HEAD_SIZE = 16;
/** Nanoseconds that host and guest may differ by: the link can't tell less, and a clock that is right must not go back. */
const CLOSE_ENOUGH = 1_000_000n;
const NS_PER_S = 1_000_000_000n;
const NS_PER_MS = 1e6;

/**
 * The payload of RENEW, in answer to the payload of WELCOME, which has just arrived: i64 seconds and u32 nanoseconds of the guest's clock.
 * The guest is told by how much to put its clock forward, so it does not matter when it hears of it. `age`: milliseconds since WELCOME came.
 *
 * @throws Error when the guest did not tell the time.
 */
export function encodeRenewal({ clock, seed = new Uint8Array(0) }: Renewal, welcome: Uint8Array, age = 0): Uint8Array {
  const payload = new Uint8Array(HEAD_SIZE + seed.length);
  const view = new DataView(payload.buffer);
  if (clock) {
    if (welcome.length < 12)
      throw new Error("the guest's agent comes from an older image and can't set the clock: build the image again");
    const told = new DataView(welcome.buffer, welcome.byteOffset, welcome.byteLength);
    const { sec, nsec } = clock();
    const ahead =
      (BigInt(sec) - told.getBigInt64(0, true)) * NS_PER_S +
      BigInt(nsec - told.getUint32(8, true) - Math.round(age * NS_PER_MS));
    if (ahead > CLOSE_ENOUGH || ahead < -CLOSE_ENOUGH) {
      const rest = ((ahead % NS_PER_S) + NS_PER_S) % NS_PER_S;
      view.setUint32(0, SET_CLOCK, true);
      view.setBigInt64(4, (ahead - rest) / NS_PER_S, true);
      view.setUint32(12, Number(rest), true);
    }
  }
  payload.set(seed, HEAD_SIZE);
  return payload;
}

/** Reads the payload of RENEWED: an errno for the clock, and one for the seed. Returns what went wrong. */
export function renewalFailure(payload: Uint8Array): string | undefined {
  if (payload.length < 8) return "the guest's agent does not say whether it has set its clock";
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const [clock, seed] = [view.getUint32(0, true), view.getUint32(4, true)];
  if (clock) return `the guest can't set its clock: ${errnoName(clock)}`;
  return seed ? `the guest can't take new random numbers: ${errnoName(seed)}` : undefined;
}
