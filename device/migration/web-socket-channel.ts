import type { MigrationChannel } from './channel.ts';

/** A `WebSocket` of a page, or one of Node's package `ws`. */
export interface WebSocketLike {
  binaryType: string;
  readonly readyState: number;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(): void;
  addEventListener(type: string, listener: (event: { data?: unknown }) => void): void;
}

const OPEN = 1;
/** Bytes that may wait in the socket. */
const BUFFERED = 4 << 20;
const POLL_MS = 5;

/** A channel over a WebSocket that has just been made, or came in just now: what it receives before is lost. */
export async function webSocketChannel(socket: WebSocketLike): Promise<MigrationChannel> {
  socket.binaryType = 'arraybuffer';
  const received: Uint8Array[] = [];
  let isClosed = false;
  let wake: () => void = () => {};
  let woken = new Promise<void>((resolve) => (wake = resolve));
  const changed = () => {
    wake();
    woken = new Promise((resolve) => (wake = resolve));
  };
  const end = () => {
    isClosed = true;
    changed();
  };
  const close = () => {
    end();
    socket.close();
  };
  socket.addEventListener('message', ({ data }) => {
    if (isClosed) return;
    // As a length, text could ask for gigabytes.
    if (!(data instanceof ArrayBuffer)) return close();
    received.push(new Uint8Array(data));
    changed();
  });
  for (const type of ['close', 'error']) socket.addEventListener(type, end);
  socket.addEventListener('open', changed);
  while (socket.readyState < OPEN && !isClosed) await woken;
  return {
    async send(message) {
      while (socket.bufferedAmount > BUFFERED && !isClosed) await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      if (isClosed || socket.readyState !== OPEN) throw new Error('the socket is closed');
      socket.send(message.slice());
    },
    async receive() {
      while (!received.length && !isClosed) await woken;
      return received.shift();
    },
    close,
  };
}
