import { GUESTS_CACHE } from '../protocol/cached.ts';
import type { GuestManifest } from '../protocol.ts';

/** Sees to it that the page starts without a network from now on, with the guest at `base`. Where a browser has no such thing, nothing is kept. */
export async function keepForOffline(base: URL): Promise<void> {
  // Undefined also where pages are from neither https nor localhost.
  if (!(await navigator.serviceWorker?.register('service-worker.js'))) return;
  const cache = await caches.open(GUESTS_CACHE);
  const url = new URL('guest.json', base);
  const response = await fetch(url);
  if (!response.ok) return;
  const manifest = (await response.clone().json()) as GuestManifest;
  const snapshot = new URL(manifest.snapshot.file, base);
  if (!(await cache.match(snapshot))) await cache.add(snapshot);
  await cache.put(url, response);
  // Those of a guest that was there before.
  for (const { url: other } of await cache.keys())
    if (new URL('.', other).href === base.href && other !== url.href && other !== snapshot.href)
      await cache.delete(other);
}
