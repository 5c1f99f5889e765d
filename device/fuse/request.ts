import type { ByteSink, RewindableSource } from '../bytes.ts';

/** What {@link FuseSession.handle} returns when the reply comes later, through {@link FuseRequest.complete}. */
export const DEFERRED = -1;

/**
 * One FUSE message and the room for its reply, wherever they live. A virtqueue chain is one as it
 * stands; the tests make them from plain buffers.
 */
export interface FuseRequest {
  /** `fuse_in_header` and what follows it. */
  readonly source: RewindableSource;
  /** Room for `fuse_out_header` and what follows it; capacity 0 for requests without a reply. */
  readonly sink: ByteSink;
  /** Set to false by the session when the guest waits for no answer, as with FUSE_FORGET. */
  isAwaited: boolean;
  /** Called once, with the reply's length in bytes, for a request that was answered {@link DEFERRED}. */
  complete(written: number): void;
  /**
   * Calls `serve`, which returns as {@link FuseSession.handle} does, when there is time for one more request: now, or in a later turn. Not if
   * the request is answered or taken back by then. Default: now.
   */
  serveAgain?(serve: () => number): void;
}
