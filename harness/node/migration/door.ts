import { createServer as createHttpServer, type IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext, TLSSocket } from 'node:tls';
import { MAX_MESSAGE, type MigrationChannel, type WebSocketLike, webSocketChannel } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { duplexChannel } from './duplex-channel.ts';

/** Callers at once that have not proven that they know the token, and that have. */
const MAX_STRANGERS = 32;
const MAX_CALLERS = 8;
/** Milliseconds that one has for it. */
const STRANGER_TIME = 10_000;
/** Bytes that it may send over a WebSocket for it, and in the request before. */
const STRANGER_BYTES = 4096;
const MAX_REQUEST_HEAD = 8192;
/** Of origins, those that the user is told of. */
const MAX_TOLD = 16;

export interface DoorOptions {
  host: string;
  /** 0 for any. */
  port: number;
  /** For WebSockets of pages, in place of TCP. */
  isWeb?: boolean;
  /** Certificate and key, PEM: TLS, then. */
  tls?: { cert: string | Buffer; key: string | Buffer };
  /** Pages from elsewhere that may call, as `https://example.org`; `*` for all. Those of this computer may. */
  origins?: readonly string[];
  /** Told what a person should know. */
  onNotice?: (message: string) => void;
}

/** Where callers come in that nobody knows yet: few of them, for a short time, with a few bytes each. */
export class Door {
  /** In the form that others give to `--to`, without the token. */
  readonly address: string;
  readonly #server: Server;
  readonly #lobby: Lobby;

  private constructor(server: Server, lobby: Lobby, address: string) {
    this.#server = server;
    this.#lobby = lobby;
    this.address = address;
  }

  /**
   * Waits for callers until it is closed, which ends their connections too. The channels of `onCaller` are those of strangers until each
   * proves itself to a `MigrationLink`.
   *
   * @throws VmError `configuration`.
   */
  static async open(options: DoorOptions, onCaller: (channel: MigrationChannel) => void): Promise<Door> {
    const { host, port, isWeb = false, tls } = options;
    const secureContext = tls && openCertificate(tls);
    const lobby = new Lobby();
    const receive = isWeb
      ? await webReceiver(options, onCaller)
      : (visitor: Visitor) => onCaller(visitor.guard(duplexChannel(visitor.stream, visitor.stream, false)));
    const server = createServer((socket) => {
      receive(lobby.enter(socket, secureContext ? new TLSSocket(socket, { isServer: true, secureContext }) : socket));
    });
    const failure = (error: Error) =>
      new VmError('configuration', `can't wait on ${host}:${port}: ${error.message}; choose another port`);
    await new Promise<void>((resolve, reject) =>
      server
        .listen({ host, port })
        .once('listening', resolve)
        .once('error', (error: Error) => reject(failure(error))),
    );
    const scheme = isWeb ? (tls ? 'wss://' : 'ws://') : tls ? 'tls:' : '';
    return new Door(
      server,
      lobby,
      `${scheme}${host.includes(':') ? `[${host}]` : host}:${(server.address() as AddressInfo).port}`,
    );
  }

  close(): void {
    this.#server.close();
    this.#lobby.clear();
  }
}

/** A caller. */
class Visitor {
  /** What it says comes over this: the connection, or what TLS makes of it. */
  readonly stream: Duplex;
  readonly #connection: Socket;
  readonly #lobby: Lobby;

  constructor(lobby: Lobby, connection: Socket, stream: Duplex) {
    this.#lobby = lobby;
    this.#connection = connection;
    this.stream = stream;
  }

  get isStranger(): boolean {
    return this.#lobby.strangers.has(this);
  }

  /** The channel, which tells here when the caller has proven itself. */
  guard(channel: MigrationChannel): MigrationChannel {
    const admit = () => {
      if (this.#lobby.admit(this)) channel.admit();
      else channel.close();
    };
    return { ...channel, admit };
  }

  end(): void {
    this.stream.destroy();
    this.#connection.destroy();
  }
}

/** Who is there, and who of them is known. */
class Lobby {
  readonly #visitors = new Set<Visitor>();
  /** Those who have not proven themselves, longest there first; when they have to leave. */
  readonly strangers = new Map<Visitor, ReturnType<typeof setTimeout>>();

  /** Whoever has been a stranger for longest makes room: to keep others out, one would have to be quicker than each of them. */
  enter(connection: Socket, stream: Duplex): Visitor {
    const visitor = new Visitor(this, connection, stream);
    this.#visitors.add(visitor);
    this.strangers.set(
      visitor,
      setTimeout(() => visitor.end(), STRANGER_TIME),
    );
    for (const each of [connection, stream]) each.on('error', () => {}).once('close', () => this.#leave(visitor));
    if (this.strangers.size > MAX_STRANGERS) {
      const [oldest] = this.strangers.keys();
      this.#leave(oldest!);
    }
    return visitor;
  }

  #leave(visitor: Visitor): void {
    this.#know(visitor);
    this.#visitors.delete(visitor);
    visitor.end();
  }

  #know(visitor: Visitor): void {
    clearTimeout(this.strangers.get(visitor));
    this.strangers.delete(visitor);
  }

  /** Whether there is room for one more that has proven itself. */
  admit(visitor: Visitor): boolean {
    this.#know(visitor);
    return this.#visitors.size - this.strangers.size <= MAX_CALLERS;
  }

  clear(): void {
    for (const visitor of [...this.#visitors]) this.#leave(visitor);
  }
}

async function webReceiver(
  { host, origins = [], onNotice = () => {} }: DoorOptions,
  onCaller: (channel: MigrationChannel) => void,
): Promise<(visitor: Visitor) => void> {
  // Half of what Node would load for every other command.
  const { WebSocketServer } = await import('ws');
  const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE + 1, perMessageDeflate: false });
  const visitors = new WeakMap<Duplex, Visitor>();
  const told = new Set<string>();
  const refuse = (stream: Duplex, status: string) =>
    stream.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => stream.destroy());
  // It listens nowhere: it is given connections.
  const server = createHttpServer({ maxHeaderSize: MAX_REQUEST_HEAD });
  server.on('clientError', (_, stream) => stream.destroy());
  server.on('request', ({ socket }) => refuse(socket, '426 Upgrade Required'));
  server.on('upgrade', (request: IncomingMessage, stream: Duplex, head: Buffer) => {
    const { origin } = request.headers;
    if (!mayCall(origin, host, origins)) {
      if (told.size < MAX_TOLD && !told.has(origin!)) {
        told.add(origin!);
        onNotice(`refused a page of ${JSON.stringify(origin)}: if it is yours, let it in with --origin`);
      }
      return refuse(stream, '403 Forbidden');
    }
    const visitor = visitors.get(stream)!;
    let left = STRANGER_BYTES - head.length;
    if (left < 0) return visitor.end();
    sockets.handleUpgrade(request, stream, head, (webSocket) => {
      webSocket.on('error', () => {});
      const count = ({ length }: Buffer) => {
        if (!visitor.isStranger) stream.off('data', count);
        else if ((left -= length) < 0) visitor.end();
      };
      stream.on('data', count);
      void webSocketChannel(webSocket as unknown as WebSocketLike, false).then((channel) =>
        onCaller(visitor.guard(channel)),
      );
    });
  });
  return (visitor) => {
    visitors.set(visitor.stream, visitor);
    server.emit('connection', visitor.stream);
  };
}

function openCertificate(tls: NonNullable<DoorOptions['tls']>): ReturnType<typeof createSecureContext> {
  try {
    return createSecureContext(tls);
  } catch (error) {
    throw new VmError(
      'configuration',
      `can't use the certificate: ${(error as Error).message}; give a certificate and its key, both as PEM`,
      { cause: error },
    );
  }
}

/** Browsers say which page calls: one of this computer, or another that may. Others than browsers say nothing. */
export function mayCall(origin: string | undefined, host: string, origins: readonly string[]): boolean {
  if (origin === undefined || origins.includes('*') || origins.includes(origin)) return true;
  try {
    const { hostname, protocol } = new URL(origin);
    return /^https?:$/.test(protocol) && [host, 'localhost', '127.0.0.1', '[::1]'].includes(hostname);
  } catch {
    return false;
  }
}
