import { type AddressInfo, createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import { WebSocket, WebSocketServer } from 'ws';
import { makeToken } from '../../device/index.ts';
import { Moves } from '../../web/worker/moves.ts';

describe('a move that is cancelled', () => {
  const globals = { WebSocket, isSecureContext: true };
  const before = Object.keys(globals).map((name) => Object.getOwnPropertyDescriptor(globalThis, name));
  const fail = () => {
    throw new Error('nothing comes');
  };
  let moves: Moves;

  beforeEach(() => {
    for (const [name, value] of Object.entries(globals))
      Object.defineProperty(globalThis, name, { value, configurable: true });
    moves = new Moves({
      guest: () => ({ checkAlone() {} }) as ReturnType<ConstructorParameters<typeof Moves>[0]['guest']>,
      make: fail,
      arrived: fail,
      left: fail,
      doubted: fail,
      undisturbed: (action) => action(),
      progress() {},
      problem() {},
    });
  });

  after(() => {
    for (const [index, name] of Object.keys(globals).entries()) {
      const descriptor = before[index];
      if (descriptor) Object.defineProperty(globalThis, name, descriptor);
      else Reflect.deleteProperty(globalThis, name);
    }
  });

  const addressOf = (server: { address(): unknown }) =>
    `ws://localhost:${(server.address() as AddressInfo).port}#${makeToken()}`;
  const fate = (call: Promise<unknown>) =>
    call.then(
      () => 'done',
      (error: Error) => error.message,
    );

  for (const way of ['fromAddress', 'toAddress'] as const)
    it(`ends while it connects: ${way}`, async () => {
      const server = createServer().listen(0);
      const called = new Promise<Socket>((resolve) => server.once('connection', resolve));
      const address = addressOf(server);
      const result = fate(way === 'toAddress' ? moves.toAddress(1, address) : moves.fromAddress(address));
      const socket = await called;
      const closed = new Promise((resolve) => socket.resume().once('close', resolve));
      moves.cancel();
      expect(await result).to.equal('it was cancelled');
      await closed;
      server.close();
    });

  it('ends while the machine comes, and lets another one come', async () => {
    const server = new WebSocketServer({ port: 0 });
    const address = addressOf(server);
    for (let time = 0; time < 2; time++) {
      const called = new Promise<WebSocket>((resolve) => server.once('connection', resolve));
      const result = fate(moves.fromAddress(address));
      const socket = await called;
      const closed = new Promise((resolve) => socket.once('close', resolve));
      await new Promise((resolve) => socket.once('message', resolve));
      moves.cancel();
      expect(await result).to.match(/the other side does not answer/);
      await closed;
    }
    server.close();
  });
});
