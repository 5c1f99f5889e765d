import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What becomes of a request; true when it was answered. */
type Answer = (request: IncomingMessage, response: ServerResponse, file: Uint8Array | undefined) => boolean;

/** A web server of files in memory, that does to them what a test wants. */
export class ImageServer {
  readonly files: Map<string, Uint8Array>;
  /** What was asked for: `GET /file bytes=0-1`. */
  readonly log: string[] = [];
  /** Where it knows no ranges it answers with whole files. */
  hasRanges = true;
  /** Asked first. */
  answer: Answer = () => false;
  /** Bytes of answers. */
  sent = 0;
  readonly #server: Server;
  #port = 0;

  private constructor(files: Map<string, Uint8Array>) {
    this.files = files;
    this.#server = createServer((request, response) => this.#serve(request, response));
  }

  static async start(files: Map<string, Uint8Array>): Promise<ImageServer> {
    const server = new ImageServer(files);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    server.#port = (server.#server.address() as AddressInfo).port;
    return server;
  }

  get base(): string {
    return `http://127.0.0.1:${this.#port}/`;
  }

  url(name: string): URL {
    return new URL(name, this.base);
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const name = decodeURIComponent(request.url!.slice(1));
    const file = this.files.get(name);
    const { range } = request.headers;
    this.log.push(`${name}${range ? ` ${range}` : ''}`);
    if (this.answer(request, response, file)) return;
    if (!file) {
      response.writeHead(404).end('not here');
      return;
    }
    const [, from, to] = (this.hasRanges && /^bytes=(\d+)-(\d*)$/.exec(range ?? '')) || [];
    if (from === undefined) {
      this.sent += file.length;
      response.writeHead(200, { 'content-length': file.length }).end(file);
      return;
    }
    if (Number(from) >= file.length) {
      response.writeHead(416, { 'content-range': `bytes */${file.length}` }).end();
      return;
    }
    const part = file.subarray(Number(from), to ? Number(to) + 1 : undefined);
    this.sent += part.length;
    response
      .writeHead(206, {
        'content-length': part.length,
        'content-range': `bytes ${from}-${Number(from) + part.length - 1}/${file.length}`,
      })
      .end(part);
  }
}
