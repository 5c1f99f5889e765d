import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { WebSocket, WebSocketServer } from 'ws';
import { type MigrationChannel, MigrationError, type WebSocketLike, webSocketChannel } from '../../../device/index.ts';

const channelOf = (socket: WebSocket) => webSocketChannel(socket as unknown as WebSocketLike);

describe('channel over a WebSocket', () => {
  let server: WebSocketServer;
  let caller: WebSocket;
  let channel: MigrationChannel;

  beforeEach(async () => {
    server = new WebSocketServer({ host: 'localhost', port: 0 });
    const arrived = once(server, 'connection') as Promise<[WebSocket]>;
    await once(server, 'listening');
    caller = new WebSocket(`ws://localhost:${(server.address() as AddressInfo).port}`);
    channel = await channelOf((await arrived)[0]);
    await once(caller, 'open');
  });
  afterEach(() => {
    caller.terminate();
    server.close();
  });

  it('passes messages on, whole and in order, and ends for both', async () => {
    const other = await channelOf(caller);
    await other.send(Uint8Array.of(1, 2));
    await other.send(new Uint8Array(0));
    expect([await channel.receive(), await channel.receive()]).to.deep.equal([Uint8Array.of(1, 2), new Uint8Array(0)]);
    channel.close();
    expect([await channel.receive(), await other.receive()]).to.deep.equal([undefined, undefined]);
    expect(await channel.send(Uint8Array.of(3)).catch((error: Error) => error.message)).to.equal(
      'the connection is closed',
    );
  });

  for (const text of ['-1', '4000000000', 'GET / HTTP/1.1']) {
    it(`ends at the text ${text}`, async () => {
      caller.send(text);
      const [error] = await Promise.all([channel.receive().catch((thrown: Error) => thrown), once(caller, 'close')]);
      expect(error)
        .to.be.instanceOf(MigrationError)
        .with.property('message')
        .that.matches(/something other than bytes/);
    });
  }

  it('takes nothing any more once it is closed', async () => {
    channel.close();
    caller.send(Uint8Array.of(1));
    await once(caller, 'close');
    expect(await channel.receive()).to.equal(undefined);
  });
});
