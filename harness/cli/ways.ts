import { connect, createServer, Socket, type AddressInfo } from 'node:net';
import { webSocketChannel, type MigrationChannel, type WebSocketLike } from '../../device/index.ts';
import { VmError } from '../errors.ts';
import { duplexChannel } from '../migration/duplex-channel.ts';

/** In place of an address: this process's stdin and stdout. */
export const STDIO = 'stdio';
/** Before a port that pages can call, and before the address of one. */
const WEB = 'ws:';
const MAX_MESSAGE = 16 << 20;

/** A way to the other side of a migration. */
export interface Way {
  /** What the other side calls, where this one waits to be called; without the token. */
  readonly address?: string;
  /** A connection: made, or waited for. @throws VmError `configuration` when nobody answers. */
  connect(): Promise<MigrationChannel>;
  close(): void;
}

/** The way to `HOST:PORT`, `ws://HOST:PORT`, whoever calls `ws:PORT`, or over stdio. @throws VmError `configuration`. */
export async function openWay(to: string, host: string): Promise<Way> {
  if (to === STDIO) return { connect: async () => duplexChannel(process.stdin, process.stdout), close: () => {} };
  if (/^wss?:\/\//.test(to)) return { connect: () => dialWeb(to), close: () => {} };
  if (!to.startsWith(WEB)) return { connect: () => dial(to), close: () => {} };
  const callers: MigrationChannel[] = [];
  let called = () => {};
  const listener = await listen(to, host, (channel) => {
    callers.push(channel);
    called();
  });
  return {
    ...listener,
    async connect() {
      while (!callers.length) await new Promise<void>((resolve) => (called = resolve));
      return callers.shift()!;
    },
  };
}

/** Waits for callers at a TCP port, or at `ws:PORT` for pages. Closing it ends their connections too. @throws VmError `configuration`. */
export async function listen(port: string, host: string, onCaller: (channel: MigrationChannel) => void): Promise<{ address: string; close(): void }> {
  const isWeb = port.startsWith(WEB);
  const options = { host, port: parsePort(isWeb ? port.slice(WEB.length) : port) };
  const ends = new Set<() => void>();
  const keep = (connection: { once(event: 'close', listener: () => void): unknown }, end: () => void) => {
    ends.add(end);
    connection.once('close', () => ends.delete(end));
  };
  const failure = (error: Error) => new VmError('configuration', `can't wait on ${host}:${options.port}: ${error.message}; choose another port`);
  // Half of what Node would load for every other command.
  const { WebSocketServer } = await import('ws');
  const server = isWeb ? new WebSocketServer({ ...options, maxPayload: MAX_MESSAGE, perMessageDeflate: false }) : createServer().listen(options);
  server.on('connection', (connection) => {
    if (connection instanceof Socket) {
      keep(connection, () => connection.destroy());
      onCaller(duplexChannel(connection, connection));
    } else {
      keep(connection, () => connection.terminate());
      connection.on('error', () => {});
      void webSocketChannel(connection as unknown as WebSocketLike).then(onCaller);
    }
  });
  await new Promise<void>((resolve, reject) => server.once('listening', resolve).once('error', (error: Error) => reject(failure(error))));
  return {
    address: `${isWeb ? 'ws://' : ''}${host}:${(server.address() as AddressInfo).port}`,
    close: () => {
      server.close();
      for (const end of ends) end();
    },
  };
}

async function dial(address: string): Promise<MigrationChannel> {
  const at = address.lastIndexOf(':');
  if (at < 1) throw new VmError('configuration', `${address} is no address: give HOST:PORT, ws://HOST:PORT, ws:PORT to wait for a page, or ${STDIO}`);
  const socket = connect(parsePort(address.slice(at + 1)), address.slice(0, at));
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error) => reject(silence(address, error)));
  });
  return duplexChannel(socket, socket);
}

async function dialWeb(address: string): Promise<MigrationChannel> {
  const { WebSocket } = await import('ws');
  const socket = new WebSocket(address, { maxPayload: MAX_MESSAGE, perMessageDeflate: false });
  const failure = new Promise<never>((_, reject) => socket.on('error', (error) => reject(silence(address, error))));
  return Promise.race([webSocketChannel(socket as unknown as WebSocketLike), failure]);
}

function silence(address: string, { message }: Error): VmError {
  return new VmError('configuration', `nobody answers at ${address}: ${message}; start \`v86-virtiofs serve --incoming PORT\` there`);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!text || !Number.isInteger(port) || port < 0 || port > 65535) throw new VmError('configuration', `${text} is no TCP port: give 0 to 65535`);
  return port;
}
