import type { Departure } from '../v86/lease.ts';
import { decodeFate, decodeQuery } from './bodies.ts';
import { MigrationError, MigrationRefusedError, MigrationUnknownError } from './channel.ts';
import type { Fate, FateStore } from './fates.ts';
import { type Link, MESSAGE, type Message } from './link.ts';

// Which side goes on with a machine. There is one decision, and it is in the destination's FateStore: whoever is first there, the order to go on
// or a question what became of it, decides. Until the source knows what was decided its machine is paused.
// test/device/migration/commit.test.ts runs these functions in every order, with every loss and crash.

/** What these need of a link. */
export type CommitLink = Pick<Link, 'send' | 'sendJson' | 'prepare' | 'receive'>;
const EMPTY = new Uint8Array(0);

/**
 * The source's part: everything is in place there, and the guest is paused here.
 *
 * @throws MigrationError when it was refused, and the machine is here again; MigrationUnknownError when nobody knows.
 */
export async function switchOver(link: CommitLink, departure: Departure, id: string): Promise<void> {
  const order = await link.prepare(MESSAGE.SWITCH, EMPTY);
  departure.commit();
  try {
    await order();
    await link.receive(MESSAGE.RUNNING);
  } catch (error) {
    // Who refuses has not started it, and never will.
    if (error instanceof MigrationRefusedError) {
      departure.keep();
      throw error;
    }
    departure.lose();
    throw new MigrationUnknownError(id, departure, error);
  }
  departure.handOver();
}

/** The destination's part. `start`: lets the machine go on; whatever it throws, the machine is here. @throws MigrationError when it is not started, and never will be. */
export async function takeOver(
  link: CommitLink,
  fates: FateStore,
  id: string,
  start: () => Promise<void>,
): Promise<{ problem?: Error }> {
  await link.receive(MESSAGE.SWITCH);
  // A disk that fails may have kept it all the same: then it holds.
  const fate = await fates.decide(id, 'started').catch(() => fates.decide(id, 'never'));
  if (fate !== 'started') throw new MigrationError('the other side has asked meanwhile, and keeps the machine');
  // Signed before, so that the answer is on its way as soon as the guest goes on. Who does not hear it asks.
  const tellRunning = await link.prepare(MESSAGE.RUNNING, EMPTY).catch(() => async () => {});
  try {
    await start();
  } catch (error) {
    return { problem: error as Error };
  }
  await tellRunning().catch(() => {});
  return {};
}

/** The source asks what became of its machine. */
export async function askFate(link: CommitLink, id: string): Promise<Fate | 'unknown'> {
  await link.sendJson(MESSAGE.QUERY, { id });
  return decodeFate((await link.receive(MESSAGE.FATE)).body);
}

/** Asks, and does what the answer says: see `settleMigration`. */
export async function settle(link: CommitLink, unknown: MigrationUnknownError): Promise<Fate | 'unknown'> {
  const fate = await askFate(link, unknown.id);
  if (fate === 'started') unknown.handOver();
  if (fate === 'never') unknown.resume();
  return fate;
}

/** The destination answers. What was not started yet never will be. Returns what it has said. */
export async function tellFate(
  link: CommitLink,
  fates: FateStore,
  { body }: Message,
): Promise<{ id: string; fate: Fate | 'unknown' }> {
  const id = decodeQuery(body);
  const fate = (await fates.decide(id, 'never')) ?? 'unknown';
  await link.sendJson(MESSAGE.FATE, { fate });
  return { id, fate };
}
