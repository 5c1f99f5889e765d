import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import sirv from 'sirv';

export const PAGE_DIRECTORY = fileURLToPath(new URL('../../dist/page', import.meta.url));

/** Serves the built page, as any static server would, at the local host. `port`: 0 for a free one. */
export async function servePage(port: number, directory = PAGE_DIRECTORY): Promise<{ url: string; server: Server }> {
  const serve = sirv(directory, { dev: true, etag: true });
  const server = createServer((request, response) => serve(request, response, () => void response.writeHead(404).end('not found')));
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { url: `http://localhost:${(server.address() as AddressInfo).port}/`, server };
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
