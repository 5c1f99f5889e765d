import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type MigrationChannel, MigrationLink } from '../../../device/index.ts';
import { VmError } from '../../machine/errors.ts';
import { dial, dialWeb, type Trust } from '../migration/dial.ts';
import { Door, type DoorOptions } from '../migration/door.ts';
import { duplexChannel } from '../migration/duplex-channel.ts';

/** In place of an address: this process's stdin and stdout. */
export const STDIO = 'stdio';
/** What an address to wait on begins with: the rest is its port. */
const WAITING = /^(tls:|ws:|wss:|)(\d+)$/;
const HELP = `give HOST:PORT, tls:HOST:PORT, ws://HOST:PORT or wss://HOST:PORT, ws:PORT or wss:PORT to wait for a page, or ${STDIO}`;
/** Callers that have proven themselves and wait for their turn. */
const MAX_QUEUE = 4;

/** How addresses are waited on and called, as commander gives it. */
export interface EndpointFlags {
  /** To wait on. */
  host: string;
  origin?: string[];
  tlsCert?: string;
  tlsKey?: string;
  tlsCa?: string;
  tlsFingerprint?: string;
}

/** How the other side of a migration is reached. */
export interface Endpoint {
  /** What the other side calls, where this one waits to be called; without the token. */
  readonly address?: string;
  /** A connection: made, or waited for. @throws VmError `configuration` when nobody answers. */
  connect(): Promise<MigrationChannel>;
  close(): void;
}

/** Whether somebody calls there, and doesn't wait. */
export function isWaiting(address: string): boolean {
  return /^wss?:\d/.test(address);
}

/**
 * What reaches an address, or stdio. A caller of `ws:PORT` has to know `token`: one that does not, or says nothing, keeps nobody from calling.
 *
 * @throws VmError `configuration`.
 */
export async function openEndpoint(to: string, token: string, flags: EndpointFlags): Promise<Endpoint> {
  if (to === STDIO) return { connect: async () => duplexChannel(process.stdin, process.stdout), close: () => {} };
  return isWaiting(to) ? waitFor(to, token, flags) : { connect: callerOf(to, flags), close: () => {} };
}

/** Finds whatever is wrong with an address and its options before it is opened. @throws VmError `configuration`. */
export function checkAddress(to: string, flags: EndpointFlags): void {
  if (to === STDIO) return;
  if (isWaiting(to)) doorOptions(to, flags);
  else callerOf(to, flags);
}

/** What calls an address. @throws VmError `configuration`. */
function callerOf(to: string, flags: EndpointFlags): () => Promise<MigrationChannel> {
  const trust = trustOf(flags);
  if (/^wss?:\/\//.test(to)) {
    if (!URL.canParse(to)) throw new VmError('configuration', `${to} is not an address: ${HELP}`);
    return () => dialWeb(to, trust);
  }
  const [, tls, host, port] = /^(tls:)?(?:\[?)([^[\]]+?)(?:\]?):(\d+)$/.exec(to) ?? [];
  if (host === undefined) throw new VmError('configuration', `${to} is not an address: ${HELP}`);
  const target = { host, port: parsePort(port!), tls: tls ? trust : undefined };
  return () => dial(target);
}

async function waitFor(address: string, token: string, flags: EndpointFlags): Promise<Endpoint> {
  const queue: MigrationChannel[] = [];
  let called = () => {};
  const door = await listen(address, flags, (channel) => {
    MigrationLink.open(channel, 'source', token).then(
      () => {
        if (queue.length === MAX_QUEUE) return channel.close();
        queue.push(channel);
        called();
      },
      () => {},
    );
  });
  return {
    address: door.address,
    async connect() {
      while (!queue.length) await new Promise<void>((resolve) => (called = resolve));
      return queue.shift()!;
    },
    close: () => door.close(),
  };
}

/** Waits for callers at `PORT` or `tls:PORT`, or at `ws:PORT` or `wss:PORT` for pages. @throws VmError `configuration`. */
export async function listen(
  address: string,
  flags: EndpointFlags,
  onCaller: (channel: MigrationChannel) => void,
): Promise<Door> {
  return Door.open(doorOptions(address, flags), onCaller);
}

function doorOptions(address: string, { host, origin, tlsCert, tlsKey }: EndpointFlags): DoorOptions {
  const [, scheme, port] = WAITING.exec(address) ?? [];
  if (port === undefined)
    throw new VmError(
      'configuration',
      `${address} is not a port to wait on: give PORT, tls:PORT, ws:PORT, wss:PORT, or ${STDIO}`,
    );
  const isSecure = scheme === 'tls:' || scheme === 'wss:';
  if (isSecure && !(tlsCert && tlsKey))
    throw new VmError('configuration', `${scheme} needs a certificate and its key: give --tls-cert and --tls-key`);
  return {
    host,
    port: parsePort(port),
    isWeb: scheme!.startsWith('ws'),
    origins: origin,
    onNotice: (message) => process.stderr.write(`${message}\n`),
    tls: isSecure ? { cert: readPem(tlsCert!), key: readPem(tlsKey!) } : undefined,
  };
}

/** What those who call need to know of a certificate that no authority has signed; '' where there is none. */
export function fingerprintNote(address: string, { tlsCert }: EndpointFlags): string {
  return /^(tls|wss):/.test(address) && tlsCert
    ? `\nits certificate has the SHA-256 fingerprint ${new X509Certificate(readPem(tlsCert)).fingerprint256}`
    : '';
}

function trustOf({ tlsCa, tlsFingerprint }: EndpointFlags): Trust {
  if (tlsFingerprint !== undefined && !/^([\da-f]{2}:?){32}$/i.test(tlsFingerprint))
    throw new VmError('configuration', `${tlsFingerprint} is not a SHA-256 fingerprint: give 64 hexadecimal digits`);
  return { ca: tlsCa === undefined ? undefined : readPem(tlsCa), fingerprint: tlsFingerprint };
}

function readPem(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new VmError('configuration', `can't read ${file}: ${(error as Error).message}`, { cause: error });
  }
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!text || !Number.isInteger(port) || port < 0 || port > 65535)
    throw new VmError('configuration', `${text} is not a TCP port: give 0 to 65535`);
  return port;
}
