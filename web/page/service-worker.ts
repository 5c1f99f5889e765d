/**
 * Lets the page start without a network after the first visit: it has the files of this build, and those of the guests that a visitor has had
 * (web/page/offline.ts keeps them). A new build is a new worker, which takes over when no tab has the old page any more.
 */
import { GUESTS_CACHE, HASHED } from '../protocol/cached.ts';

/** What TypeScript's library for pages lacks. */
interface WaitingEvent extends Event {
  waitUntil(promise: Promise<unknown>): void;
}
interface FetchEvent extends Event {
  readonly request: Request;
  respondWith(response: Promise<Response>): void;
}
interface Worker {
  readonly registration: { readonly scope: string };
  addEventListener(type: 'install' | 'activate', listener: (event: WaitingEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
}

/** Names of this build's files, which webpack puts in here. */
declare const FILES: readonly string[];

const PREFIX = 'v86-virtiofs page ';
const worker = globalThis as unknown as Worker;
/** Names of files have a hash of what is in them: it tells builds apart. */
const cacheName = PREFIX + FILES.join(' ');

worker.addEventListener('install', (event) =>
  event.waitUntil(caches.open(cacheName).then((cache) => cache.addAll(FILES))),
);

worker.addEventListener('activate', (event) =>
  event.waitUntil(
    caches
      .keys()
      .then((names) => names.filter((name) => name.startsWith(PREFIX) && name !== cacheName))
      .then((old) => Promise.all(old.map((name) => caches.delete(name)))),
  ),
);

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  // Parts of files have caches of their own.
  if (request.method !== 'GET' || request.headers.has('range') || !request.url.startsWith(worker.registration.scope))
    return;
  event.respondWith(HASHED.test(pathname) ? fromCache(request) : fromNetwork(request));
});

async function fromCache(request: Request): Promise<Response> {
  return (await kept(request)) ?? fetch(request);
}

async function fromNetwork(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const response = await kept(request);
    if (response) return response;
    throw error;
  }
}

/** What a page's address says behind its path is for the page. */
async function kept(request: Request): Promise<Response | undefined> {
  for (const name of [cacheName, GUESTS_CACHE]) {
    const response = await (await caches.open(name)).match(request, { ignoreSearch: true });
    if (response) return response;
  }
  return undefined;
}
