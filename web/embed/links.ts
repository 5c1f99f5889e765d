/** Before what another machine is found by, in the fragment of the page's address: that part is sent to no server. */
const FRAGMENT = '#from=';
/** The page, as one that takes a machine over from there: a code or an address of `StartOptions.from`. */
export function linkTo(from: string): string {
  return new URL(FRAGMENT + encodeURIComponent(from), location.href).href;
}

/** Where this page is to take a machine over from. */
export function fromOfPage(): string | undefined {
  if (!location.hash.startsWith(FRAGMENT)) return undefined;
  const from = location.hash.slice(FRAGMENT.length);
  try {
    return decodeURIComponent(from);
  } catch {
    // Nobody is found there, and that is told.
    return from;
  }
}

/** A reload is to go on with the machine that is here, not to ask for it again. */
export function forgetFrom(): void {
  if (fromOfPage() !== undefined) history.replaceState(null, '', location.pathname + location.search);
}

/** What names, in the page's address, a file with a snapshot that the page is to begin with. */
const SNAPSHOT = 'snapshot';

/** The page, as one that begins with the snapshot in a file which lies beside it. */
export function linkToSnapshot(file: string): string {
  const url = new URL(location.href);
  url.hash = '';
  url.searchParams.set(SNAPSHOT, file);
  return url.href;
}

/** See `StartOptions`. */
export interface Beginning {
  from?: string;
  snapshot?: string;
  isOfLink?: boolean;
}

/**
 * What this page's address says to begin with, or what is wrong with that. Snapshots come from this page's own server only: a link is not to have a page
 * run what somebody else has made.
 */
export function beginningOfPage(): Beginning & { problem?: string } {
  const from = fromOfPage();
  if (from !== undefined) return { from };
  const snapshot = new URLSearchParams(location.search).get(SNAPSHOT);
  if (snapshot === null) return {};
  if (isOwn(snapshot)) return { snapshot, isOfLink: true };
  return {
    problem: `the snapshot of this link, ${snapshot}, is not on this page’s server: download it, and import it in the timeline`,
  };
}

function isOwn(file: string): boolean {
  try {
    return new URL(file, document.baseURI).origin === location.origin;
  } catch {
    return false;
  }
}

/** A reload is to go on with the guest that is here. */
export function forgetSnapshot(): void {
  const url = new URL(location.href);
  if (!url.searchParams.has(SNAPSHOT)) return;
  url.searchParams.delete(SNAPSHOT);
  history.replaceState(null, '', url);
}

/** Begins anew, with a machine from there or one of its own. */
export function startOver(from?: string): void {
  history.replaceState(null, '', from === undefined ? location.pathname + location.search : linkTo(from));
  location.reload();
}

/** Where a page remembers when its last guest has moved away, in milliseconds since 1970. */
const moved = (store: string) => `v86-virtiofs moved ${store}`;

/** When the last guest of this store has moved away; 0 for never. */
export function movedAt(store: string | undefined): number {
  try {
    return store === undefined ? 0 : Number(localStorage.getItem(moved(store)));
  } catch {
    // Sandboxed frames have none, and keep no snapshots either.
    return 0;
  }
}

export function rememberMove(store: string | undefined, began: number): void {
  try {
    if (store !== undefined) localStorage.setItem(moved(store), String(began));
  } catch {
    // As above.
  }
}
