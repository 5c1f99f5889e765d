import type { MigrationChannel } from './channel.ts';

/** What message ports, broadcast channels and workers have in common, in browsers and in Node. */
export interface PortLike {
  postMessage(message: unknown): void;
  addEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  removeEventListener(type: 'message', listener: (event: { data: unknown }) => void): void;
  start?(): void;
}

type Part = { bytes: Uint8Array } | { taken: true } | { closed: true };

/** Messages on their way at once. */
const WINDOW = 4;

/** A channel over a port that nobody else uses. Each message is confirmed when it was taken, which is the back pressure that ports don't have. */
export function portChannel(port: PortLike): MigrationChannel {
  const received: Uint8Array[] = [];
  let isClosed = false;
  let onWay = 0;
  let wake: () => void = () => {};
  let woken = new Promise<void>((resolve) => (wake = resolve));
  const changed = () => {
    wake();
    woken = new Promise((resolve) => (wake = resolve));
  };
  const listen = ({ data }: { data: unknown }) => {
    const part = data as Part;
    if ('bytes' in part) received.push(part.bytes);
    else if ('taken' in part) onWay--;
    else end();
    changed();
  };
  /** Node's process lives for as long as somebody listens. */
  const end = () => {
    isClosed = true;
    port.removeEventListener('message', listen);
  };
  port.addEventListener('message', listen);
  port.start?.();
  return {
    async send(message) {
      while (onWay >= WINDOW && !isClosed) await woken;
      if (isClosed) throw new Error('the other side has closed the port');
      onWay++;
      port.postMessage({ bytes: message.slice() } satisfies Part);
    },
    async receive() {
      while (!received.length && !isClosed) await woken;
      const message = received.shift();
      if (message) port.postMessage({ taken: true } satisfies Part);
      return message;
    },
    close() {
      if (isClosed) return;
      port.postMessage({ closed: true } satisfies Part);
      end();
      changed();
    },
  };
}
