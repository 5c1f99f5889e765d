import { connect } from 'node:net';

/** Whether somebody listens there; says `message` to them, and waits for their answer. */
export function isAnswered(path: string, message?: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    let isHeard = message === undefined;
    const socket = connect(path, () => {
      if (message) socket.write(message);
      else socket.end();
    });
    socket.on('data', () => (isHeard = true));
    let isConnected = false;
    socket.on('connect', () => (isConnected = true));
    socket.on('error', () => {}).on('close', () => resolve(isConnected && isHeard));
  });
}
