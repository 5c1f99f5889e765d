import { type MigrationChannel, MigrationError } from './channel.ts';
import { CreditChannel } from './credit-channel.ts';

/** Not every port has a `close`. */
type PortEvent = 'message' | 'messageerror' | 'close';

/** What message ports, broadcast channels and workers have in common, in browsers and in Node. */
export interface PortLike {
  postMessage(message: unknown): void;
  addEventListener(type: PortEvent, listener: (event: { data: unknown }) => void): void;
  removeEventListener(type: PortEvent, listener: (event: { data: unknown }) => void): void;
  start?(): void;
}

/** A channel over a port that nobody else uses. `isCaller`: see {@link MigrationChannel}. `onEnd` is called once, whoever has ended it. */
export function portChannel(port: PortLike, isCaller?: boolean, onEnd: () => void = () => {}): MigrationChannel {
  const channel = new CreditChannel(
    {
      post: (bytes) => port.postMessage(bytes),
      // Node's process lives for as long as somebody listens.
      close: () => {
        port.removeEventListener('message', listen);
        port.removeEventListener('messageerror', fail);
        port.removeEventListener('close', end);
        onEnd();
      },
    },
    isCaller,
  );
  const listen = ({ data }: { data: unknown }) => channel.take(data);
  const fail = () => channel.end(new MigrationError("the other side has sent what can't be read"));
  const end = () => channel.end();
  port.addEventListener('message', listen);
  port.addEventListener('messageerror', fail);
  port.addEventListener('close', end);
  port.start?.();
  return channel;
}
