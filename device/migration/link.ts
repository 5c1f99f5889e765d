import { MigrationError, MigrationRefusedError, type MigrationChannel } from './channel.ts';

/** Of the protocol: both sides have to have the same one. */
const VERSION = 1;
const NONCE_LENGTH = 32;
const TAG_LENGTH = 32;
/** Sequence number, u64 as two u32; type, u8. */
const HEADER_LENGTH = 9;
/** For how long the other side may say or take nothing, by default, in milliseconds. */
const TIMEOUT = 30_000;
/** As many of those for it to make a machine: it may have to build the guest's image first. */
const MAKING = 20;
const encoder = new TextEncoder();

/** What a message is. */
export const MESSAGE = {
  /** JSON. Source: what machine it is. */
  DESCRIPTION: 1,
  /** Destination: it can be had. */
  ACCEPTED: 2,
  /** JSON: the reason. Either side, then it ends. */
  REFUSED: 3,
  /** JSON: name and length of a layer whose bytes follow. */
  LAYER: 4,
  BYTES: 5,
  /** JSON: a snapshot that is complete now, and whether it is the last. Answered by READY when it is in place. */
  ROUND: 6,
  READY: 7,
  /** Source: go on. From here on it does not run there by itself. */
  SWITCH: 8,
  RUNNING: 9,
  /** JSON: the id of a migration whose end is unknown. Answered by FATE: `started`, `never` or `unknown`. */
  QUERY: 10,
  FATE: 11,
} as const;

export interface Message {
  type: number;
  body: Uint8Array;
}

type Role = 'source' | 'destination';

/**
 * An authenticated connection: both sides prove that they know the token, which is never sent, and every message
 * carries its number and an HMAC-SHA-256 by a key of this connection. What was changed, left out, put in or sent
 * again ends it.
 */
export class Link {
  readonly #channel: MigrationChannel;
  readonly #own: CryptoKey;
  readonly #other: CryptoKey;
  readonly #timeoutMs: number;
  #sent = 0;
  #received = 0;
  /** Bytes sent. */
  bytes = 0;

  private constructor(channel: MigrationChannel, timeoutMs: number, own: CryptoKey, other: CryptoKey) {
    this.#channel = channel;
    this.#timeoutMs = timeoutMs;
    this.#own = own;
    this.#other = other;
  }

  /**
   * `timeoutMs`: for how long the other side may say or take nothing; then the link is closed.
   *
   * @throws MigrationError for another version, another token, or no answer. The channel is closed, then.
   */
  static async open(channel: MigrationChannel, role: Role, token: string, timeoutMs = TIMEOUT): Promise<Link> {
    try {
      return await Link.#greet(channel, role, token, timeoutMs);
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  static async #greet(channel: MigrationChannel, role: Role, token: string, timeoutMs: number): Promise<Link> {
    const secret = await hmacKey(encoder.encode(token));
    const nonce = crypto.getRandomValues(new Uint8Array(NONCE_LENGTH));
    const hello = Uint8Array.of(...encoder.encode('v86-virtiofs migration'), VERSION, ...nonce);
    await within(timeoutMs, channel, channel.send(hello));
    const answer = await within(timeoutMs, channel, channel.receive());
    if (!answer) throw new MigrationError('the other side does not answer: look whether it waits for a migration');
    const versionAt = hello.length - NONCE_LENGTH - 1;
    if (answer.length !== hello.length || answer.subarray(0, versionAt).some((byte, n) => byte !== hello[n])) throw new MigrationError('the other side speaks something else than this migration');
    if (answer[versionAt] !== VERSION) throw new MigrationError(`the other side has version ${answer[versionAt]} of the protocol, this one ${VERSION}: use the same release on both`);
    const theirs = answer.subarray(versionAt + 1);
    if (theirs.every((byte, n) => byte === nonce[n])) throw new MigrationError('the other side is a mirror: it sends back what it gets');
    const [a, b] = role === 'source' ? [nonce, theirs] : [theirs, nonce];
    const keyOf = async (whose: Role) => hmacKey(new Uint8Array(await crypto.subtle.sign('HMAC', secret, concat(encoder.encode(whose), a, b))));
    const link = new Link(channel, timeoutMs, await keyOf(role), await keyOf(role === 'source' ? 'destination' : 'source'));
    // The first message of each side proves that it knows the token.
    await link.send(0, new Uint8Array(0));
    const proof = await within(timeoutMs, channel, channel.receive());
    if (!proof) throw new MigrationError('the other side has hung up: its token is another one');
    try {
      await link.#open(proof);
    } catch {
      throw new MigrationError('the other side has another token: give both the same');
    }
    return link;
  }

  async send(type: number, body: Uint8Array): Promise<void> {
    const deliver = await this.prepare(type, body);
    await deliver();
  }

  /** Signs a message, which has to be the next one that is sent: what it returns sends it, without a wait before. */
  async prepare(type: number, body: Uint8Array): Promise<() => Promise<void>> {
    const message = new Uint8Array(HEADER_LENGTH + body.length + TAG_LENGTH);
    const view = new DataView(message.buffer);
    view.setBigUint64(0, BigInt(this.#sent++));
    message[8] = type;
    message.set(body, HEADER_LENGTH);
    const end = HEADER_LENGTH + body.length;
    message.set(new Uint8Array(await crypto.subtle.sign('HMAC', this.#own, message.subarray(0, end))), end);
    return () => {
      this.bytes += message.length;
      return within(this.#timeoutMs, this.#channel, this.#channel.send(message));
    };
  }

  async sendJson(type: number, value: unknown): Promise<void> {
    await this.send(type, encoder.encode(JSON.stringify(value)));
  }

  /** The next message. @throws MigrationError when the link has ended or was tampered with, or the other side refuses, with its reason. */
  async receive(...expected: number[]): Promise<Message> {
    const patience = this.#timeoutMs * (expected.includes(MESSAGE.ACCEPTED) ? MAKING : 1);
    const message = await within(patience, this.#channel, this.#channel.receive());
    if (!message) throw new MigrationError('the link to the other side has ended');
    const { type, body } = await this.#open(message);
    if (type === MESSAGE.REFUSED) throw new MigrationRefusedError(`the other side refuses: ${parseJson<{ reason: string }>(body).reason}`);
    if (!expected.includes(type)) throw new MigrationError(`the other side has sent message ${type} out of turn`);
    return { type, body };
  }

  async #open(message: Uint8Array): Promise<Message> {
    const end = message.length - TAG_LENGTH;
    const isSound = end >= HEADER_LENGTH && (await crypto.subtle.verify('HMAC', this.#other, message.slice(end), message.slice(0, end)));
    if (!isSound || new DataView(message.buffer, message.byteOffset).getBigUint64(0) !== BigInt(this.#received)) {
      this.#channel.close();
      throw new MigrationError('a message was damaged, or is not from the other side: the link is closed');
    }
    this.#received++;
    return { type: message[8]!, body: message.subarray(HEADER_LENGTH, end) };
  }

  /** Tells the reason, as far as that is possible, and ends the link. */
  async refuse(reason: string): Promise<void> {
    await this.sendJson(MESSAGE.REFUSED, { reason }).catch(() => {});
    this.close();
  }

  close(): void {
    this.#channel.close();
  }
}

/** What `work` on the channel comes to. @throws MigrationError when it takes too long: the channel is closed. */
async function within<T>(timeoutMs: number, channel: MigrationChannel, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      channel.close();
      reject(new MigrationError(`the other side has been silent for ${timeoutMs / 1000} s: the link is closed`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

export function parseJson<T>(body: Uint8Array): T {
  return JSON.parse(new TextDecoder().decode(body)) as T;
}

function hmacKey(bytes: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', bytes as Uint8Array<ArrayBuffer>, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign', 'verify']);
}

function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (bytes.set(part, at), at + part.length), 0);
  return bytes;
}
