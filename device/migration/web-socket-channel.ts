import type { MigrationChannel } from './channel.ts';
import { CreditChannel } from './credit-channel.ts';

/** A `WebSocket` of a page, or one of Node's package `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: string, listener: (event: { data?: unknown }) => void): void;
}

const OPEN = 1;

/**
 * A channel over a WebSocket that has just been made, or came in just now: what it receives before is lost. `isCaller`: see
 * {@link MigrationChannel}.
 */
export async function webSocketChannel(socket: WebSocketLike, isCaller?: boolean): Promise<MigrationChannel> {
  socket.binaryType = 'arraybuffer';
  const channel = new CreditChannel(
    {
      post: (bytes) => {
        if (socket.readyState !== OPEN) throw new Error('the socket is closed');
        socket.send(bytes);
      },
      close: () => socket.close(),
    },
    isCaller,
  );
  socket.addEventListener('message', ({ data }) => channel.take(data));
  for (const type of ['close', 'error']) socket.addEventListener(type, () => channel.end());
  if (socket.readyState < OPEN)
    await new Promise<void>((resolve) =>
      ['open', 'close', 'error'].forEach((type) => socket.addEventListener(type, () => resolve())),
    );
  return channel;
}
