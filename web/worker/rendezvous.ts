import { checkToken, type MigrationChannel, type PortLike, portChannel, webSocketChannel } from '../../device/index.ts';

/** Milliseconds that a tab has to answer. */
const PATIENCE = 5000;
const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/;

const open = (code: string) => new BroadcastChannel(`v86-virtiofs ${code}`);

/** The id in a note of another tab; undefined in what is no such note. */
export function decodeNote(kind: 'here' | 'go', data: unknown): string | undefined {
  const id =
    typeof data === 'object' && data !== null && Object.hasOwn(data, kind)
      ? (data as Record<string, unknown>)[kind]
      : undefined;
  return typeof id === 'string' && UUID.test(id) ? id : undefined;
}

/** Waits until another tab of this browser has called {@link join} with the same code. The channel is between those two alone. */
export function offer(code: string, signal?: AbortSignal): Promise<MigrationChannel> {
  const board = open(code);
  let isTaken = false;
  return new Promise<MigrationChannel>((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new Error('it was cancelled')), { once: true });
    board.addEventListener('message', ({ data }) => {
      const id = decodeNote('here', data);
      if (id === undefined || isTaken) return;
      isTaken = true;
      const channel = channelOf(code, id, false);
      board.postMessage({ go: id });
      resolve(channel);
    });
  }).finally(() => board.close());
}

/** Calls a tab that {@link offer}s. @throws Error when there is none. */
export function join(code: string): Promise<MigrationChannel> {
  const id = crypto.randomUUID();
  const board = open(code);
  const channel = channelOf(code, id, true);
  return new Promise<MigrationChannel>((resolve, reject) => {
    const timer = setTimeout(() => {
      channel.close();
      reject(new Error('no tab of this browser has a machine for this link any more: ask for a new link there'));
    }, PATIENCE);
    board.addEventListener('message', ({ data }) => {
      if (decodeNote('go', data) !== id) return;
      clearTimeout(timer);
      resolve(channel);
    });
    board.postMessage({ here: id });
  }).finally(() => board.close());
}

function channelOf(code: string, id: string, isCaller: boolean): MigrationChannel {
  const port = new BroadcastChannel(`v86-virtiofs ${code} ${id}`);
  return portChannel(port as unknown as PortLike, isCaller, () => port.close());
}

/** What a command-line tells: `ws://HOST:PORT#TOKEN`. @throws Error when it is no such address. */
export function parseAddress(address: string): { url: string; token: string } {
  let url: URL;
  try {
    url = new URL(address.trim());
    if (!/^wss?:$/.test(url.protocol) || url.hash.length < 2) throw new Error('it has no token');
  } catch (error) {
    throw new Error(
      `${JSON.stringify(address)} is not the address of a machine: paste what v86-virtiofs prints while it waits, ws://HOST:PORT#TOKEN`,
      { cause: error },
    );
  }
  const token = url.hash.slice(1);
  checkToken(token);
  url.hash = '';
  return { url: url.href, token };
}

/** `signal` ends the attempt. @throws Error when nobody answers there. */
export async function call(url: string, signal?: AbortSignal): Promise<MigrationChannel> {
  const socket = new WebSocket(url);
  let cancel!: () => void;
  const failure = new Promise<never>((_, reject) => {
    socket.addEventListener('error', () =>
      reject(new Error(`no reply from ${url}: make sure that v86-virtiofs is waiting there`)),
    );
    cancel = () => {
      reject(new Error('it was cancelled'));
      socket.close();
    };
  });
  failure.catch(() => {});
  signal?.addEventListener('abort', cancel);
  return Promise.race([webSocketChannel(socket, true), failure]).finally(() =>
    signal?.removeEventListener('abort', cancel),
  );
}
