import { isAddress } from '../protocol/address.ts';

/** Before the code of a tab, in the fragment of the page's address: that part is sent to no server. */
const FRAGMENT = '#from=';
/** In the state of the page's place in the history, which no link can set. */
const TYPED = 'v86-virtiofs from';

/** The page, as one that takes the machine of the tab with this code over. */
export function linkTo(code: string): string {
  return new URL(FRAGMENT + encodeURIComponent(code), location.href).href;
}

/** Where this page is to take a machine over from: an address that the visitor has typed, or what a link has. */
function fromOfPage(): { typed?: string; linked?: string } {
  const typed = (history.state as Record<string, unknown> | null)?.[TYPED];
  if (typeof typed === 'string') return { typed };
  if (!location.hash.startsWith(FRAGMENT)) return {};
  const linked = location.hash.slice(FRAGMENT.length);
  try {
    return { linked: decodeURIComponent(linked) };
  } catch {
    // Nobody is found there, and that is told.
    return { linked };
  }
}

/** A reload is to go on with the machine that is here, not to ask for it again. */
export function forgetFrom(): void {
  const { typed, linked } = fromOfPage();
  if ((typed ?? linked) !== undefined) history.replaceState(null, '', location.pathname + location.search);
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
 * What this page is to begin with by its address, or what is wrong with that. A link is not to have a page run what somebody else has made, nor call a server:
 * it names a file beside the page, or another tab.
 */
export function beginningOfPage(): Beginning & { problem?: string } {
  const { typed, linked } = fromOfPage();
  if (linked !== undefined && isAddress(linked))
    return {
      problem:
        'this link names a machine on a server, and the page calls none unasked: if you trust it, paste its address under “Move the guest”, “From Node”',
    };
  const from = typed ?? linked;
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

/** Begins anew, with the machine at an address or one of its own. */
export function startOver(address?: string): void {
  history.replaceState(address === undefined ? null : { [TYPED]: address }, '', location.pathname + location.search);
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
