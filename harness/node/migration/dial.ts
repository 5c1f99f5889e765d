import { connect, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { MAX_MESSAGE, type MigrationChannel, type WebSocketLike, webSocketChannel } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { duplexChannel } from './duplex-channel.ts';

/** Milliseconds for the other side to answer. */
const PATIENCE = 20_000;

export interface DialOptions {
  host: string;
  port: number;
  /** Undefined for a connection without. */
  tls?: Trust;
}

/** Whom to take for the other side of TLS. */
export interface Trust {
  /** Certificates of authorities, PEM. Default: those that Node knows. */
  ca?: string | Buffer;
  /** SHA-256 of the one certificate that is the other side's, as hexadecimal digits, with colons or without. Then nothing else is asked of it. */
  fingerprint?: string;
}

/** Calls a TCP port. @throws VmError `configuration` when nobody answers, or another than it should be. */
export async function dial(options: DialOptions): Promise<MigrationChannel> {
  const socket = await open(options);
  return duplexChannel(socket, socket, true);
}

/** Calls a WebSocket. @throws as {@link dial}. */
export async function dialWeb(url: string, tls?: Trust): Promise<MigrationChannel> {
  const { WebSocket } = await import('ws');
  const { protocol, hostname, port } = new URL(url);
  const isSecure = protocol === 'wss:';
  const connection = await open({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (isSecure ? 443 : 80)),
    tls: isSecure ? (tls ?? {}) : undefined,
  });
  const socket = new WebSocket(url, {
    createConnection: () => connection,
    maxPayload: MAX_MESSAGE + 1,
    perMessageDeflate: false,
    handshakeTimeout: PATIENCE,
  });
  const failure = new Promise<never>((_, reject) => socket.on('error', (error) => reject(silence(url, error))));
  failure.catch(() => {});
  return Promise.race([webSocketChannel(socket as unknown as WebSocketLike, true), failure]);
}

async function open({ host, port, tls }: DialOptions): Promise<Socket> {
  const address = `${host}:${port}`;
  // A certificate that is known by its fingerprint may be signed by anybody, for any name.
  const socket = tls
    ? connectTls({
        host,
        port,
        servername: /^[\d.]+$|:/.test(host) ? '' : host,
        ca: tls.ca,
        rejectUnauthorized: !tls.fingerprint,
      })
    : connect({ host, port });
  const timer = setTimeout(() => socket.destroy(new Error(`it does not answer within ${PATIENCE / 1000} s`)), PATIENCE);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(tls ? 'secureConnect' : 'connect', resolve);
      socket.once('error', (error) => reject(silence(address, error)));
    });
  } finally {
    clearTimeout(timer);
  }
  if (tls?.fingerprint) {
    const found = (socket as TLSSocket).getPeerCertificate().fingerprint256;
    if (normalize(found) !== normalize(tls.fingerprint)) {
      socket.destroy();
      throw new VmError(
        'configuration',
        `${address} has another certificate than it should: its SHA-256 fingerprint is ${found}`,
      );
    }
  }
  return socket;
}

function normalize(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}

function silence(address: string, { message }: Error): VmError {
  return new VmError(
    'configuration',
    `nobody answers at ${address}: ${message}; start \`v86-virtiofs serve --incoming PORT\` there`,
  );
}
