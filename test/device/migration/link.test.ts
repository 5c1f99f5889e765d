import { MessageChannel } from 'node:worker_threads';
import { expect } from 'chai';
import {
  checkToken,
  loadCodec,
  type MigrationChannel,
  MigrationError,
  MigrationLink,
  MigrationTarget,
  makeToken,
  type PortLike,
  portChannel,
} from '../../../device/index.ts';
import { encodeHello } from '../../../device/migration/hello.ts';

const TOKEN = makeToken();
type Role = Parameters<typeof MigrationLink.open>[1];

function ports(...callers: (boolean | undefined)[]): [MigrationChannel, MigrationChannel] {
  const { port1, port2 } = new MessageChannel();
  return [portChannel(port1 as unknown as PortLike, callers[0]), portChannel(port2 as unknown as PortLike, callers[1])];
}

/** What both sides come to: links, or what they were told. */
async function greet(
  [here, there]: [MigrationChannel, MigrationChannel],
  tokens = [TOKEN, TOKEN],
  roles: [Role, Role] = ['source', 'destination'],
): Promise<(MigrationLink | string)[]> {
  const links = await Promise.allSettled([
    MigrationLink.open(here, roles[0], tokens[0]!, 500),
    MigrationLink.open(there, roles[1], tokens[1]!, 500),
  ]);
  return links.map((link) => {
    if (link.status === 'fulfilled') return link.value;
    expect(link.reason).to.be.instanceOf(MigrationError);
    return (link.reason as Error).message;
  });
}

describe('link of a migration', () => {
  for (const [who, callers] of [
    ['the source', [undefined, undefined]],
    ['the destination', [false, true]],
  ] as const) {
    it(`takes long messages both ways when ${who} has called`, async () => {
      const channels = ports(...callers);
      const [source, destination] = (await greet(channels)) as [MigrationLink, MigrationLink];
      const body = new Uint8Array(100_000).fill(7);
      for (const [from, to] of [
        [source, destination],
        [destination, source],
      ] as const) {
        await from.send(5, body);
        expect((await to.receive(5)).body).to.deep.equal(body);
      }
      expect(await MigrationLink.open(channels[0], 'source', TOKEN), 'is opened once').to.equal(source);
      source.close();
    });
  }

  it('says that the tokens differ, to both', async () => {
    expect(await greet(ports(), [makeToken(), TOKEN])).to.deep.equal([
      'the other side hung up: it has a different token',
      'the other side has a different token: give both sides the same one',
    ]);
  });

  it('says when both have called, when nobody has, and when both have a machine or none', async () => {
    expect((await greet(ports(true, true)))[0]).to.match(/both sides are calling/);
    expect((await greet(ports(false, false)))[0]).to.match(/silent for 0.5 s/);
    expect((await greet(ports(true, false), undefined, ['source', 'source']))[1]).to.match(
      /both sides have a machine to move/,
    );
    expect((await greet(ports(true, false), undefined, ['destination', 'destination']))[1]).to.match(
      /both sides are waiting for a machine/,
    );
  });

  /** All that a side that waits says to a caller which does not know its token. */
  async function probe(hello: Uint8Array, ...then: Uint8Array[]): Promise<Uint8Array[]> {
    const [caller, listener] = ports(true, false);
    const opened = MigrationLink.open(listener, 'destination', TOKEN, 500).catch((error: Error) => error);
    const heard: Uint8Array[] = [];
    await caller.send(hello);
    for (let message: Uint8Array | undefined; (message = await caller.receive()); ) {
      heard.push(message);
      const next = then.shift();
      if (next) await caller.send(next);
    }
    expect(await opened).to.be.instanceOf(MigrationError);
    return heard;
  }

  it('tells a caller nothing that depends on the token before that has proven to know it', async () => {
    const hello = encodeHello('source', true);
    const beforeNonce = hello.length - 32;
    for (const proof of [undefined, new Uint8Array(0), new Uint8Array(41), new Uint8Array(128)]) {
      const heard = await probe(hello, ...(proof ? [proof] : []));
      expect(heard.length, 'its hello alone').to.equal(1);
      expect(heard[0]!.subarray(0, beforeNonce)).to.deep.equal(
        encodeHello('destination', false).subarray(0, beforeNonce),
      );
    }
    expect(await probe(hello.subarray(0, 30)), 'half a hello').to.deep.equal([]);
    expect(await probe(new Uint8Array(60)), 'another protocol').to.deep.equal([]);
  });

  it('takes no token that somebody has thought of', async () => {
    for (const token of [
      '',
      'secret',
      'correct horse battery staple',
      'a'.repeat(28),
      TOKEN.slice(1),
      TOKEN.slice(0, -1),
      `${TOKEN}A`,
      TOKEN.replace(/^./, (first) => (first === 'A' ? 'B' : 'A')),
      undefined as unknown as string,
    ]) {
      expect(() => checkToken(token), token).to.throw(MigrationError, /v86-virtiofs token/);
      expect(
        () => new MigrationTarget({ token, codec: loadCodec(), make: () => Promise.reject(new Error()) }),
        token,
      ).to.throw(MigrationError);
      const [here, there] = ports();
      expect(await MigrationLink.open(here, 'source', token).catch((error: Error) => error)).to.be.instanceOf(
        MigrationError,
      );
      expect(await there.receive(), 'nothing was sent').to.equal(undefined);
    }
    for (let n = 0; n < 100; n++) checkToken(makeToken());
  });
});
