import { ENOSPC, FsError } from '../errno.ts';

/** The unit of allocation, in bytes: what holes, quotas and `st_blocks` are counted in. */
export const PAGE_SIZE = 4096;

/** What a filesystem may use and does use, and which snapshot its content is shared with. */
export class Space {
  readonly maxPages: number;
  readonly maxInodes: number;
  pages = 0;
  inodes = 0;
  /**
   * Content written in an earlier epoch may belong to a snapshot: it is copied before it changes.
   * One step here shares a whole filesystem, and tells what was written since.
   */
  epoch = 1;

  constructor({ maxPages, maxInodes }: { maxPages: number; maxInodes: number }) {
    this.maxPages = maxPages;
    this.maxInodes = maxInodes;
  }

  get freePages(): number {
    return Math.max(0, this.maxPages - this.pages);
  }

  /** @throws FsError ENOSPC, with nothing taken. */
  takePages(count: number): void {
    if (count > 0 && this.pages + count > this.maxPages) throw FsError.of(ENOSPC);
    this.pages += count;
  }

  givePages(count: number): void {
    this.pages -= count;
  }

  /** @throws FsError ENOSPC, with nothing taken. */
  takeInode(): void {
    if (this.inodes >= this.maxInodes) throw FsError.of(ENOSPC);
    this.inodes++;
  }

  giveInode(): void {
    this.inodes--;
  }
}
