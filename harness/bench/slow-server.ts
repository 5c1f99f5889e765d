// A web server of a directory, in a process of its own, as far away as it is told to be. `NetworkCounts` are sent when they are asked for.

import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';

/** What lies between. */
export interface Network {
  /** Milliseconds until an answer begins. */
  delay: number;
  /** Bits a second, of all answers together. */
  bandwidth: number;
  /** Nothing is answered. */
  isDown?: boolean;
}

/** What was served since it was asked for the last time. */
export interface NetworkCounts {
  requests: number;
  bytes: number;
}

const [directory = '.'] = process.argv.slice(2);
const PART = 16_384;
let network: Network = { delay: 0, bandwidth: Infinity };
let counts: NetworkCounts = { requests: 0, bytes: 0 };
/** When all that was sent so far has arrived. */
let busyUntil = 0;

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** As fast as the network is. */
async function* paced(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  const length = network.bandwidth === Infinity ? bytes.length : PART;
  for (let at = 0; at < bytes.length; at += length) {
    const part = bytes.subarray(at, at + length);
    const now = performance.now();
    busyUntil = Math.max(busyUntil, now) + (part.length * 8000) / network.bandwidth;
    // Timers are exact to a millisecond or so.
    if (busyUntil - now > 2) await sleep(busyUntil - now);
    counts.bytes += part.length;
    yield part;
  }
}

const server = createServer((request, response) => {
  if (network.isDown) {
    request.socket.destroy();
    return;
  }
  counts.requests++;
  void (async () => {
    await sleep(network.delay);
    const file = await open(join(directory, new URL(request.url!, 'http://here').pathname));
    try {
      const { size } = await file.stat();
      const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
      const from = Number(first ?? 0);
      const to = Math.min(size, last ? Number(last) + 1 : size);
      const bytes = new Uint8Array(to - from);
      await file.read(bytes, 0, bytes.length, from);
      response.writeHead(first === undefined ? 200 : 206, {
        'content-length': bytes.length,
        ...(first !== undefined && { 'content-range': `bytes ${from}-${to - 1}/${size}` }),
      });
      await pipeline(paced(bytes), response);
    } finally {
      await file.close();
    }
  })().catch(() => {
    if (response.headersSent) response.destroy();
    else response.writeHead(404).end();
  });
});

process.on('message', (wanted: Network | 'counts') => {
  if (wanted !== 'counts') {
    network = { ...wanted, bandwidth: wanted.bandwidth || Infinity };
    return;
  }
  process.send!(counts);
  counts = { requests: 0, bytes: 0 };
});
process.on('disconnect', () => process.exit());
server.listen(0, '127.0.0.1', () => process.send!((server.address() as AddressInfo).port));
