import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Network, NetworkCounts } from './slow-server.ts';

/** A web server of a directory on another computer, as it were: its process has nothing else to do. */
export class Server {
  readonly base: URL;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.base = new URL(`http://127.0.0.1:${port}/`);
  }

  static async start(directory: string): Promise<Server> {
    const child = fork(fileURLToPath(new URL('./slow-server.ts', import.meta.url)), [directory]);
    const [port] = (await once(child, 'message')) as [number];
    return new Server(child, port);
  }

  set network(network: Network) {
    // Infinity is no JSON.
    this.#child.send({ ...network, bandwidth: Number.isFinite(network.bandwidth) ? network.bandwidth : 0 });
  }

  /** Since it was asked for the last time. */
  async counts(): Promise<NetworkCounts> {
    const answer = once(this.#child, 'message');
    this.#child.send('counts');
    return ((await answer) as [NetworkCounts])[0];
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'exit');
    this.#child.kill();
    await ended;
  }
}
