/** How the files of a filesystem go with snapshots, and come back. */
export interface Persistent<Checked extends CheckedFiles = CheckedFiles> {
  /**
   * Plain data. Bytes in it are borrowed and never change: a later write goes to a copy. If it has a list `ranges`, those are objects that
   * never change either: one that comes again, in this state or a restored one, is kept as it was, so that a snapshot costs what is new.
   */
  state(): object;
  /**
   * Decides whether `state` can come back here, and changes nothing.
   *
   * @throws TypeError that says what is wrong with it, RangeError for more than may be here.
   */
  checkState(state: unknown): Checked;
  /** Becomes what a checked state was. What has no name in it is kept until {@link settle}, for sessions to retain it again. */
  restore(checked: Checked): void;
  /** Frees what has no name and nobody retains. */
  settle(): void;
  /** Bytes that it may hold, what is kept about its inodes included: snapshots with more are refused. */
  readonly capacity: number;
}

/** Files in a state that can come back. */
export interface CheckedFiles {
  readonly uuid: string;
  /** The inode with this number in the snapshot; undefined if there is none. */
  inode(ino: number): { readonly generation: number } | undefined;
}
