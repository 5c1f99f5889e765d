import { PassThrough } from 'node:stream';
import { MAX_STRANGER_MESSAGE, type MigrationChannel, MigrationError } from '../../device/index.ts';
import { CreditChannel } from '../../device/migration/credit-channel.ts';
import { duplexChannel } from '../../harness/node/migration/duplex-channel.ts';
import { compose, count, damage, noise, type Outcomes, pick, type Random } from './hostile-values.ts';

/** Another tab, a page or a server that posts anything to a channel. */
export async function fuzzCreditChannel(random: Random, messages: number): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  for (let n = 0; n < messages; ) {
    let posted = 0;
    let closed = 0;
    const channel = new CreditChannel({ post: () => void posted++, close: () => void closed++ }, undefined);
    if (random(4) === 0) channel.admit();
    let unread = 0;
    let sent = 0;
    const honesty = pick(random, [5, 100, 10_000]);
    const isSlow = random(3) === 0;
    for (; n < messages && !closed; n++) {
      const isConfirming = sent > 0 && random(4) === 0;
      if (isConfirming) sent--;
      const data = isConfirming ? Uint8Array.of(2) : compose(random, honesty);
      const isMessage =
        (data instanceof Uint8Array || data instanceof ArrayBuffer) &&
        new Uint8Array(data instanceof Uint8Array && data.length ? data : new ArrayBuffer(1))[0] === 1;
      channel.take(data);
      if (isMessage) unread++;
      if (unread > 17 && !closed) throw new Error(`${unread} messages wait`);
      if (!closed && unread && random(isSlow ? 20 : 3) >= (isSlow ? 12 : 1)) {
        await channel.receive();
        unread--;
      }
      if (!closed && sent < 16 && random(4) === 0) {
        sent++;
        await channel.send(noise(random, 3)).catch(() => {});
      }
      if (random(2000) === 0) channel.close();
      count(outcomes, 'accepted');
    }
    channel.take(compose(random));
    channel.close();
    const before = posted;
    for (let end = false; !end; )
      end = await channel.receive().then(
        (message) => message === undefined,
        (error: unknown) => expectMigrationError(error, outcomes),
      );
    if (
      !(await channel.send(new Uint8Array(1)).then(
        () => false,
        (error: unknown) => error instanceof MigrationError,
      )) ||
      posted !== before
    )
      throw new Error('a closed channel sends');
    if (closed !== 1) throw new Error(`closed ${closed} times`);
  }
  return outcomes;
}

function expectMigrationError(error: unknown, outcomes: Outcomes): true {
  if (!(error instanceof MigrationError)) throw error;
  count(outcomes, error.message.replace(/\d+/g, 'n'));
  return true;
}

/** Another process that writes anything into a socket or pipe, in parts of any length. */
export async function fuzzDuplexChannel(random: Random, messages: number): Promise<Outcomes> {
  const outcomes: Outcomes = new Map();
  for (let n = 0; n < messages; ) {
    const [incoming, outgoing] = [new PassThrough(), new PassThrough()];
    outgoing.resume();
    const channel: MigrationChannel = duplexChannel(incoming, outgoing);
    const isKnown = random(2) === 0;
    if (isKnown) channel.admit();
    const bodies = Array.from({ length: 1 + random(200) }, () =>
      noise(random, random(isKnown ? 300 : MAX_STRANGER_MESSAGE + 1)),
    );
    const whole = Buffer.concat(bodies.flatMap((body) => [Uint8Array.of(0, 0, body.length >> 8, body.length), body]));
    const isWhole = random(2) === 0;
    const bytes = isWhole ? whole : random(4) ? damage(random, whole) : noise(random, random(3000));
    for (let at = 0; at < bytes.length; )
      at +=
        incoming.write(bytes.subarray(at, at + 1 + random(2000))) === undefined ? 0 : Math.min(bytes.length - at, 2000);
    incoming.end();
    let came = 0;
    for (let end = false; !end; ) {
      end = await channel.receive().then(
        (message) => {
          if (message && message.length > (isKnown ? 512 << 10 : MAX_STRANGER_MESSAGE))
            throw new Error(`a message of ${message.length} bytes`);
          came++;
          return message === undefined;
        },
        (error: unknown) => expectMigrationError(error, outcomes),
      );
    }
    count(outcomes, 'accepted');
    n += Math.max(came, 1);
    channel.close();
    channel.close();
  }
  return outcomes;
}
