import { readFile, realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import sirv from 'sirv';
import policy from '../policy.json' with { type: 'json' };
import { HASHED } from '../protocol/cached.ts';

export const PAGE_DIRECTORY = fileURLToPath(new URL('../../dist/page', import.meta.url));

/**
 * What the page may do, for its workers too: those have the policy of their own answer. `frame-ancestors` counts in a header only. The same
 * without it is in index.html.
 */
const HEADERS = {
  'content-security-policy': [...Object.entries(policy), ['frame-ancestors', "'self'"]]
    .map((directive) => directive.join(' '))
    .join('; '),
  'x-content-type-options': 'nosniff',
};

/** What gains from it. The guest's files are compressed already, and parts of them are asked for. */
const COMPRESSED: Record<string, string> = {
  '.html': 'text/html;charset=utf-8',
  '.js': 'text/javascript',
  '.map': 'application/json',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.txt': 'text/plain;charset=utf-8',
};
/** Bytes. */
const MIN_COMPRESSED = 1024;
/** Half a second for v86.wasm, once; the best takes ten times as long for a tenth less. */
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } };
const ENCODERS = {
  br: (bytes: Buffer) => promisify(brotliCompress)(bytes, BROTLI),
  gzip: (bytes: Buffer) => promisify(gzip)(bytes, { level: 9 }),
};
type Encoding = keyof typeof ENCODERS;

/** Serves the built page, as any static server would, at the local host. `port`: 0 for a free one. */
export async function servePage(port: number, directory = PAGE_DIRECTORY): Promise<{ url: string; server: Server }> {
  const server = createServer(await pageListener(directory));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { url: `http://localhost:${(server.address() as AddressInfo).port}/`, server };
}

/** Files of a directory and of nothing else, without those whose names begin with a dot, compressed where the browser takes that. */
export async function pageListener(directory: string): Promise<RequestListener> {
  const root = await realpath(directory);
  const serve = sirv(root, { dev: true, etag: true });
  /** By file, encoding and version. */
  const compressed = new Map<string, { version: string; bytes: Promise<Buffer> }>();
  const compress = (file: string, encoding: Encoding, version: string) => {
    const key = `${encoding} ${file}`;
    let entry = compressed.get(key);
    if (entry?.version !== version) {
      entry = { version, bytes: readFile(file).then(ENCODERS[encoding]) };
      compressed.set(key, entry);
    }
    return entry.bytes;
  };

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    for (const [name, value] of Object.entries(HEADERS)) if (!response.hasHeader(name)) response.setHeader(name, value);
    const refuse = (status: number, text: string) =>
      void response.writeHead(status, { 'content-type': 'text/plain;charset=utf-8' }).end(text);
    if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(405, 'only GET and HEAD');
    const file = await fileOf(root, request.url!);
    if (!file) return refuse(404, 'not found');
    const type = COMPRESSED[extname(file)];
    if (type) response.setHeader('vary', 'accept-encoding');
    response.setHeader('cache-control', HASHED.test(file) ? 'public, max-age=31536000, immutable' : 'no-cache');
    const { range } = request.headers;
    // A server may ignore it: what is no single range from here to there.
    if (range !== undefined && !isPlainRange(range)) delete request.headers.range;
    const encoding = encodingFor(request.headers['accept-encoding']);
    const { size, mtimeMs } = await stat(file);
    if (!type || !encoding || range !== undefined || size < MIN_COMPRESSED)
      return serve(request, response, () => refuse(404, 'not found'));
    const etag = `W/"${size}-${mtimeMs}-${encoding}"`;
    response.setHeader('etag', etag);
    if (request.headers['if-none-match'] === etag) return void response.writeHead(304).end();
    const bytes = await compress(file, encoding, etag);
    response
      .writeHead(200, { 'content-type': type, 'content-encoding': encoding, 'content-length': bytes.length })
      .end(request.method === 'HEAD' ? undefined : bytes);
  };
  return (request, response) => {
    answer(request, response).catch((error: Error) => {
      if (response.headersSent) response.destroy();
      else
        response.writeHead(500, { 'content-type': 'text/plain;charset=utf-8' }).end(`can't be read: ${error.message}`);
    });
  };
}

/** The file that is asked for: below `root` also where links lead, and by no name that begins with a dot. */
async function fileOf(root: string, url: string): Promise<string | undefined> {
  try {
    const path = decodeURIComponent(url.replace(/[?#].*$/, ''));
    const names = path.split(/[/\\]/).filter((name) => name !== '');
    if (!path.startsWith('/') || names.some((name) => name.startsWith('.') || name.includes('\0'))) return undefined;
    const wanted = join(root, ...names);
    const file = await realpath((await stat(wanted)).isDirectory() ? join(wanted, 'index.html') : wanted);
    return file.startsWith(root + sep) && (await stat(file)).isFile() ? file : undefined;
  } catch {
    // Not there, or no address at all.
    return undefined;
  }
}

function isPlainRange(range: string): boolean {
  const [, from, to] = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(range) ?? [];
  return from !== undefined && (to === '' || Number(from) <= Number(to));
}

/** The better one of those that an Accept-Encoding names and does not rule out. */
function encodingFor(accepted: string | string[] | undefined): Encoding | undefined {
  const taken = new Map(
    String(accepted ?? '')
      .toLowerCase()
      .split(',')
      .map((item) => {
        const [name = '', ...parameters] = item.split(';').map((part) => part.trim());
        return [name, Number(parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? 1)] as const;
      }),
  );
  return (['br', 'gzip'] as const).find((encoding) => (taken.get(encoding) ?? 0) > 0);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const wanted = process.env['PORT'] ?? '8086';
  try {
    const { url } = await servePage(Number(wanted));
    console.log(`the page is at ${url}`);
  } catch (error) {
    console.error(`can't serve the page: ${(error as Error).message}; choose another port with PORT=…`);
    process.exitCode = 1;
  }
}
