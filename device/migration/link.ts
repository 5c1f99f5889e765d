import { concat } from '../bytes.ts';
import { decodeRefusal, encodeRefusal } from './bodies.ts';
import { type MigrationChannel, MigrationError, MigrationRefusedError } from './channel.ts';
import { decodeHello, encodeHello, type Role } from './hello.ts';
import { checkToken } from './token.ts';

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
  /** The first of each side: it knows the token. */
  PROOF: 0,
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
  /** A destination that has called: the source has proven itself, and may begin. */
  GREETED: 12,
  /** Source: it has heard RUNNING, and will not ask. Nothing depends on it. */
  HEARD: 13,
} as const;

export interface Message {
  type: number;
  body: Uint8Array;
}

/**
 * An authenticated connection: both sides prove that they know the token, which is never sent, and every message
 * carries its number and an HMAC-SHA-256 by a key of this connection. What was changed, left out, put in or sent
 * again ends it. Who has called proves first: nobody gets anything from a side that waits which depends on the token.
 */
export class Link {
  static readonly #opened = new WeakMap<MigrationChannel, Link>();
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
   * The link over a channel: the one that was opened before, if there is one. `timeoutMs`: for how long the other side may say or
   * take nothing; then the link is closed.
   *
   * @throws MigrationError for another version, another token, or no answer. The channel is closed, then.
   */
  static async open(channel: MigrationChannel, role: Role, token: string, timeoutMs = TIMEOUT): Promise<Link> {
    const opened = Link.#opened.get(channel);
    if (opened) return opened;
    try {
      checkToken(token);
      const link = await Link.#greet(channel, role, token, timeoutMs);
      Link.#opened.set(channel, link);
      return link;
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  static async #greet(channel: MigrationChannel, role: Role, token: string, timeoutMs: number): Promise<Link> {
    const isCaller = channel.isCaller ?? role === 'source';
    const hello = encodeHello(role, isCaller);
    const say = () => within(timeoutMs, channel, channel.send(hello));
    const hear = async () => {
      const answer = await within(timeoutMs, channel, channel.receive());
      if (!answer) throw new MigrationError('the other side does not answer: look whether it waits for a migration');
      decodeHello(answer, role, isCaller);
      return answer;
    };
    if (isCaller) await say();
    const theirs = await hear();
    if (!isCaller) await say();
    const [caller, called] = isCaller ? [hello, theirs] : [theirs, hello];
    const secret = await hmacKey(encoder.encode(token));
    const keyOf = async (isCallers: boolean) =>
      hmacKey(await hmac(secret, concat([encoder.encode(isCallers ? 'caller' : 'called'), caller, called])));
    const link = new Link(channel, timeoutMs, await keyOf(isCaller), await keyOf(!isCaller));
    if (isCaller) await link.#prove();
    await link.#check();
    channel.admit();
    if (!isCaller) await link.#prove();
    // Only now it is known that it hears more than a stranger says.
    if (isCaller && role === 'destination') await link.send(MESSAGE.GREETED, new Uint8Array(0));
    if (!isCaller && role === 'source') await link.receive(MESSAGE.GREETED);
    return link;
  }

  async #prove(): Promise<void> {
    await this.send(MESSAGE.PROOF, new Uint8Array(0));
  }

  async #check(): Promise<void> {
    const proof = await within(this.#timeoutMs, this.#channel, this.#channel.receive());
    if (!proof) throw new MigrationError('the other side hung up: it has a different token');
    const { type } = await this.#open(proof).catch(() => {
      throw new MigrationError('the other side has a different token: give both sides the same one');
    });
    if (type !== MESSAGE.PROOF) throw new MigrationError('the other side could not prove that it knows the token');
  }

  /** Sends one message, numbered and authenticated. `body` is borrowed until it settles. */
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
    message.set(await hmac(this.#own, message.subarray(0, end)), end);
    return () => {
      this.bytes += message.length;
      return within(this.#timeoutMs, this.#channel, this.#channel.send(message));
    };
  }

  /** Sends a value as JSON. */
  async sendJson(type: number, value: unknown): Promise<void> {
    await this.send(type, encoder.encode(JSON.stringify(value)));
  }

  /** The next message. @throws MigrationError when the link has ended or was tampered with, or the other side refuses, with its reason. */
  async receive(...expected: number[]): Promise<Message> {
    const patience = this.#timeoutMs * (expected.includes(MESSAGE.ACCEPTED) ? MAKING : 1);
    const message = await within(patience, this.#channel, this.#channel.receive());
    if (!message) throw new MigrationError('the link to the other side has ended');
    const { type, body } = await this.#open(message);
    if (type === MESSAGE.REFUSED) throw new MigrationRefusedError(`the other side refuses: ${decodeRefusal(body)}`);
    if (!expected.includes(type)) throw new MigrationError(`the other side sent message ${type} out of turn`);
    return { type, body };
  }

  async #open(message: Uint8Array): Promise<Message> {
    const end = message.length - TAG_LENGTH;
    const isSound =
      end >= HEADER_LENGTH &&
      (await crypto.subtle.verify('HMAC', this.#other, message.slice(end), message.slice(0, end)));
    if (!isSound || new DataView(message.buffer, message.byteOffset).getBigUint64(0) !== BigInt(this.#received)) {
      this.#channel.close();
      throw new MigrationError('a message was damaged, or is not from the other side: the link is closed');
    }
    this.#received++;
    return { type: message[8]!, body: message.subarray(HEADER_LENGTH, end) };
  }

  /** Tells the reason, as far as that is possible, and ends the link. */
  async refuse(reason: string): Promise<void> {
    await this.sendJson(MESSAGE.REFUSED, encodeRefusal(reason)).catch(() => {});
    this.close();
  }

  /** Ends the link and its channel. */
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

function hmacKey(bytes: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey('raw', bytes as Uint8Array<ArrayBuffer>, { name: 'HMAC', hash: 'SHA-256' }, false, [
    'sign',
    'verify',
  ]);
}

async function hmac(key: CryptoKey, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, bytes));
}
