import type { AddressInfo } from 'node:net';
import { connect, createServer, type Server, type Socket } from 'node:net';

/** Milliseconds of what is on its way down, beyond which no more is taken in. */
const BUFFERED = 250;

export interface LinkSpeed {
  /** Milliseconds from a request to the first byte of its answer, and for a connection. */
  delay: number;
  /** Megabits a second, for all connections together. */
  bandwidth: number;
}

/** A slow network before a server of this machine. */
export class SlowLink {
  /** Bytes that have come down. */
  bytes = 0;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #speed: LinkSpeed;
  /** When what is on its way will be through. */
  #free = 0;

  private constructor(port: number, speed: LinkSpeed) {
    this.#speed = speed;
    this.#server = createServer((socket) => this.#pass(socket, connect(port, '127.0.0.1')));
  }

  /** `port`: the server's. */
  static async open(port: number, speed: LinkSpeed): Promise<SlowLink> {
    const link = new SlowLink(port, speed);
    await new Promise<void>((resolve) => link.#server.listen(0, '127.0.0.1', resolve));
    return link;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(near: Socket, far: Socket): void {
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', () => other.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    // The first request comes when the connection is made, which takes a way there and back.
    const opened = performance.now() + this.#speed.delay;
    near.on('data', (bytes) => {
      const wait = this.#speed.delay + Math.max(0, opened - performance.now());
      setTimeout(() => far.write(bytes), wait);
    });
    far.on('data', (bytes: Buffer) => {
      this.bytes += bytes.length;
      const now = performance.now();
      this.#free = Math.max(now, this.#free) + (bytes.length * 8) / (this.#speed.bandwidth * 1000);
      setTimeout(() => near.write(bytes), this.#free - now);
      if (this.#free - now < BUFFERED || far.isPaused()) return;
      far.pause();
      setTimeout(() => far.resume(), this.#free - now - BUFFERED / 2);
    });
  }
}
