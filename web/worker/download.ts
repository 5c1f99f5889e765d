import type { GuestManifest } from '../protocol.ts';

/** What can't be fetched, and what to do. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError';
}

async function request(url: URL): Promise<Response> {
  const response = await fetch(url).catch((error: Error) => {
    throw new DownloadError(`${url.href} can't be fetched (${error.message}): look at the network, and reload the page`, { cause: error });
  });
  if (!response.ok) throw new DownloadError(`${url.href} can't be fetched: the server answers ${response.status} ${response.statusText}`);
  return response;
}

export async function fetchManifest(base: URL): Promise<GuestManifest> {
  const response = await request(new URL('guest.json', base));
  return response.json() as Promise<GuestManifest>;
}

/** The guest's layer, unpacked while it comes in. `onProgress` gets the packed bytes that have come. */
export async function fetchLayer(base: URL, { file, unpackedSize }: GuestManifest, onProgress: (bytes: number) => void): Promise<Uint8Array> {
  const response = await request(new URL(file, base));
  let loaded = 0;
  const counted = response.body!.pipeThrough(new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(chunk, controller) {
      loaded += chunk.length;
      onProgress(loaded);
      controller.enqueue(chunk);
    },
  }));
  // A server that says what `.gz` files are encoded in has the browser unpack them.
  const isUnpacked = response.headers.get('content-encoding') === 'gzip';
  const stream = isUnpacked ? counted : counted.pipeThrough(new DecompressionStream('gzip'));
  const layer = new Uint8Array(unpackedSize);
  let at = 0;
  try {
    for (const reader = stream.getReader(); ;) {
      const { done, value } = await reader.read();
      if (done) break;
      layer.set(value, at);
      at += value.length;
    }
  } catch (error) {
    throw new DownloadError(`the guest's snapshot broke off after ${loaded} bytes: look at the network, and reload the page`, { cause: error });
  }
  if (at !== unpackedSize) throw new DownloadError(`the guest's snapshot has ${at} bytes, not the ${unpackedSize} of guest.json: the server has files of two builds; deploy the page again`);
  return layer;
}
