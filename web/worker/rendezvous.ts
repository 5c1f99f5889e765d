import { portChannel, webSocketChannel, type MigrationChannel, type PortLike } from '../../device/index.ts';

/** Milliseconds that a tab has to answer. */
const PATIENCE = 5000;

type Note = { here: string } | { go: string };

const open = (code: string) => new BroadcastChannel(`v86-virtiofs ${code}`);

/** Waits until another tab of this browser has called {@link join} with the same code. The channel is between those two alone. */
export function offer(code: string, signal?: AbortSignal): Promise<MigrationChannel> {
  const board = open(code);
  return new Promise<MigrationChannel>((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new Error('it was broken off')), { once: true });
    board.addEventListener('message', ({ data }: MessageEvent<Note>) => {
      if (!('here' in data)) return;
      const channel = channelOf(code, data.here);
      board.postMessage({ go: data.here } satisfies Note);
      resolve(channel);
    });
  }).finally(() => board.close());
}

/** Calls a tab that {@link offer}s. @throws Error when there is none. */
export function join(code: string): Promise<MigrationChannel> {
  const id = crypto.randomUUID();
  const board = open(code);
  const channel = channelOf(code, id);
  return new Promise<MigrationChannel>((resolve, reject) => {
    const timer = setTimeout(() => {
      channel.close();
      reject(new Error('no tab of this browser has a machine for this link, or not any more: ask for a new link there'));
    }, PATIENCE);
    board.addEventListener('message', ({ data }: MessageEvent<Note>) => {
      if (!('go' in data && data.go === id)) return;
      clearTimeout(timer);
      resolve(channel);
    });
    board.postMessage({ here: id } satisfies Note);
  }).finally(() => board.close());
}

function channelOf(code: string, id: string): MigrationChannel {
  const port = new BroadcastChannel(`v86-virtiofs ${code} ${id}`);
  const channel = portChannel(port as unknown as PortLike);
  return {
    ...channel,
    close: () => {
      channel.close();
      port.close();
    },
  };
}

/** What a command-line tells: `ws://HOST:PORT#TOKEN`. @throws Error when it is no such address. */
export function parseAddress(address: string): { url: string; token: string } {
  const url = URL.canParse(address.trim()) ? new URL(address.trim()) : undefined;
  if (!url || !/^wss?:$/.test(url.protocol) || url.hash.length < 2) {
    throw new Error(`${JSON.stringify(address)} is no address of a machine: paste what v86-virtiofs tells when it waits, ws://HOST:PORT#TOKEN`);
  }
  const token = decodeURIComponent(url.hash.slice(1));
  url.hash = '';
  return { url: url.href, token };
}

/** @throws Error when nobody answers there. */
export async function call(url: string): Promise<MigrationChannel> {
  const socket = new WebSocket(url);
  const failure = new Promise<never>((_, reject) => {
    socket.addEventListener('error', () => reject(new Error(`nobody answers at ${url}: look whether v86-virtiofs waits there`)));
  });
  failure.catch(() => {});
  return Promise.race([webSocketChannel(socket), failure]);
}
