import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request, before it is passed on. */
export interface Passing {
  /** Of all requests, from 0 on. */
  number: number;
  method: string;
  /** Path and query. */
  url: string;
  headers: IncomingMessage['headers'];
}

/**
 * What becomes of it. `cut`: the connection ends before the server hears of it; `cut after`: it does what it was asked for, and its answer is lost;
 * `cut within`: half of the answer comes. `accept`: the server does not hear of it, and it is said to be stored.
 */
export type Fate = 'pass' | 'cut' | 'cut after' | 'cut within' | 'accept';

/** Stands between a client and a server of objects. */
export class BucketProxy {
  /** What becomes of each request; it may wait. */
  decide: (passing: Passing) => Fate | Promise<Fate> = () => 'pass';
  readonly requests: Passing[] = [];
  readonly #server: Server;
  readonly #target: URL;

  private constructor(target: string) {
    this.#target = new URL(target);
    this.#server = createServer(
      (message, response) => void this.#pass(message, response).catch(() => response.destroy()),
    );
  }

  static async start(target: string): Promise<BucketProxy> {
    const proxy = new BucketProxy(target);
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #pass(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = message;
    const passing = { number: this.requests.length, method, url, headers };
    this.requests.push(passing);
    const body: Buffer[] = [];
    for await (const part of message) body.push(part as Buffer);
    const fate = await this.decide(passing);
    if (fate === 'cut') return void response.destroy();
    if (fate === 'accept') return void response.writeHead(200, { etag: '"accepted"' }).end();
    const { hostname, port } = this.#target;
    const asked = request({ hostname, port, method, path: url, headers });
    asked.end(Buffer.concat(body));
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    const parts: Buffer[] = [];
    for await (const part of answer) parts.push(part as Buffer);
    const bytes = Buffer.concat(parts);
    if (fate === 'cut after') return void response.destroy();
    response.writeHead(answer.statusCode!, answer.headers);
    if (fate === 'cut within') {
      response.write(bytes.subarray(0, bytes.length / 2));
      setTimeout(() => response.destroy(), 5);
    } else response.end(bytes);
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
